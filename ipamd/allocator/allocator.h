// All pools of a node, and transactions over them. Pure and in memory: the lease book
// (lease_book.h) knows who holds what and makes the answers durable. Control thread.
//
// A transaction is all or nothing: every address of every interface that was asked for, or none.
// Each grant has a sequence number that is never used again, so that a late release of an earlier
// owner cannot free what a newer one holds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/ip.h"
#include "ipamd/allocator/address_pool.h"

namespace tombolo {

// The pool that a node's own blocks make up.
inline constexpr std::string_view kNodePool = "node";

struct PooledIp {
  std::string pool;
  Ip ip;
  auto operator<=>(const PooledIp&) const = default;
};

// One address that is wanted: of the first of `pools` that has one which has rested; else of the
// first that has any.
struct AddressWish {
  Family family = Family::kV4;
  std::vector<std::string> pools;  // in the order in which they are asked
  std::optional<Ip> exact;         // this address and no other
};

class Allocator {
 public:
  using Pools = std::map<std::string, AddressPool, std::less<>>;

  // Makes the pool of that name have these blocks (ranges); creates it. kInvalidArgument when they
  // overlap.
  Result<void> set_blocks(std::string_view pool, const std::vector<Prefix>& blocks);
  Result<void> set_ranges(std::string_view pool, std::vector<IpRange> ranges);
  void set_rest(std::string_view pool, Rest rest);
  // nullptr when there is none.
  const AddressPool* pool(std::string_view name) const;
  const Pools& pools() const { return pools_; }

  // The wishes for one interface in one pool: one address of each of `families`; with an empty
  // list, of each family that the pool has. kFailedPrecondition when the pool has no block (of a
  // wanted family).
  Result<std::vector<AddressWish>> wishes(std::string_view pool,
                                          const std::vector<Family>& families) const;
  // One address per wish, in their order. kResourceExhausted when a wish's pools have run out,
  // kFailedPrecondition when none of them has a block of the family, kAlreadyExists and kOutOfRange
  // for an exact one. Nothing is taken then.
  Result<std::vector<PooledIp>> take(std::span<const AddressWish> wishes, std::int64_t now_ms = 0);
  // ENSUREs that they are in use.
  void give_back(std::span<const PooledIp> addresses, std::int64_t now_ms = 0);

  // Never answered before.
  std::uint64_t next_sequence() { return ++last_sequence_; }
  std::uint64_t last_sequence() const { return last_sequence_; }

  // From an earlier life; before the first take. kAlreadyExists when one of the addresses is in
  // use: nothing is restored then.
  Result<void> restore(std::span<const PooledIp> addresses);
  void restore_freed(std::string_view pool, Ip ip, std::int64_t released_ms = 0);
  // Sequence numbers go on after the greatest one.
  void restore_sequence(std::uint64_t last);

 private:
  AddressPool& pool_named(std::string_view name);
  Result<PooledIp> take_one(const AddressWish& wish, std::int64_t now_ms);

  Pools pools_;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace tombolo
