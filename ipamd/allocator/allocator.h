// Which addresses of this node belong to whom. Pure and in memory: the lease book (lease_book.h)
// makes its answers durable. Control thread.
//
// A grant is all or nothing over the wanted families. Each has a sequence number that is never
// used again, so that a late release of an earlier owner cannot free what a newer one holds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/ip.h"
#include "ipamd/allocator/address_pool.h"

namespace tombolo {

// The pool that a node's own blocks make up.
inline constexpr std::string_view kNodePool = "node";

struct Grant {
  std::uint64_t sequence = 0;
  std::string pool;
  std::vector<Ip> ips;  // one per family, IPv4 first
  bool operator==(const Grant&) const = default;
};

class Allocator {
 public:
  // Makes the pool of that name have these blocks; creates it. kInvalidArgument when they overlap.
  Result<void> set_blocks(std::string_view pool, const std::vector<Prefix>& blocks);
  // nullptr when there is none.
  const AddressPool* pool(std::string_view name) const;
  const std::map<std::string, AddressPool, std::less<>>& pools() const { return pools_; }

  // One address of each of `families`; with an empty list, of each family that the pool has.
  // kAlreadyExists when the owner holds a grant, kFailedPrecondition when the pool has no block
  // (of a wanted family), kResourceExhausted when a family has run out. Nothing is taken then.
  Result<Grant> allocate(const std::string& owner, std::string_view pool,
                         const std::vector<Family>& families);
  // Frees what `owner` holds under `sequence` and returns it. kNotFound when the owner holds
  // nothing, kAborted when it holds another grant by now.
  Result<Grant> release(const std::string& owner, std::uint64_t sequence);
  // nullptr when the owner holds nothing. Valid until the next change.
  const Grant* find(const std::string& owner) const;

  // From an earlier life; before the first allocate. Sequence numbers go on after the greatest one
  // seen. kAlreadyExists when the owner or one of the addresses is taken: nothing is restored then.
  Result<void> restore(const std::string& owner, Grant grant);
  void restore_freed(std::string_view pool, Ip ip);
  void restore_sequence(std::uint64_t last);

  std::size_t size() const { return grants_.size(); }
  std::uint64_t last_sequence() const { return last_sequence_; }

 private:
  std::map<std::string, AddressPool, std::less<>> pools_;
  std::unordered_map<std::string, Grant> grants_;  // by owner
  std::uint64_t last_sequence_ = 0;
};

}  // namespace tombolo
