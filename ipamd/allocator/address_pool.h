// The addresses of one pool: ranges of both families, who is in use, and in which order free ones
// are given out. Pure, no I/O; control thread. Taking and giving back are O(1), whatever the size
// of the pool; memory is 0.4 bytes per address that was ever used and 32 per range of freed ones.
//
// Order: an address that was never used first, lowest first; then the one that has been free for
// the longest time. A freed address should rest for a while (its last owner's connections, ARP
// entries and DNS answers live on): Rest says how long. The wanted rest shrinks as the pool gets
// short, and nobody is refused for it: it only decides which of several pools is asked first. The
// least rest is kept always, also when that means to refuse.
//
// Of blocks, never given out: the first address (the network address of IPv4; the subnet-router
// anycast address of IPv6, RFC 4291 section 2.6.1) and the last one of an IPv4 block (broadcast),
// because firewalls and old stacks drop them, although pods get /32 and /128. Blocks of one or two
// IPv4 addresses are used whole (RFC 3021).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/ip.h"
#include "ipamd/allocator/address_bits.h"
#include "ipamd/allocator/freed_queue.h"

namespace tombolo {

struct FamilyUsage {
  std::uint64_t total = 0;  // that may be given out; at most 2^64 - 1
  std::uint64_t in_use = 0;
  std::uint64_t free() const { return total > in_use ? total - in_use : 0; }
};

// Both ends belong to it, both are of one family, first <= last.
struct IpRange {
  Ip first;
  Ip last;
  bool contains(Ip ip) const { return first <= ip && ip <= last; }
  auto operator<=>(const IpRange&) const = default;
};

// The addresses of a block that may be given out.
IpRange usable_range(const Prefix& block);

struct Rest {
  std::int64_t wanted_ms = 60'000;
  std::int64_t least_ms = 0;
  // The wanted rest at this usage: all of it while a quarter of the addresses is free, then less in
  // proportion, and nothing when none is. Never below least_ms.
  std::int64_t wanted_at(const FamilyUsage& usage) const;
};

class AddressPool {
 public:
  // Above this many freed addresses of a family they are used again before fresh ones, so that a
  // /64 does not collect them without end.
  static constexpr std::size_t kFreedLimit = 65'536;
  // Of more freed ones of a family the longest-free count as never used, also where somebody else
  // chooses the addresses (take_exact) and always takes new ones.
  static constexpr std::size_t kMostFreed = 1'048'576;

  explicit AddressPool(std::size_t most_freed = kMostFreed) : most_freed_(most_freed) {}

  // Makes these the blocks (or ranges) to give out from. What is in use outside of them stays in
  // use until it is given back; what is free outside of them is forgotten. kInvalidArgument when
  // two of them overlap: then nothing changes.
  Result<void> set_blocks(std::vector<Prefix> blocks);
  Result<void> set_ranges(std::vector<IpRange> ranges);
  const std::vector<Prefix>& blocks() const { return blocks_; }  // of set_blocks, ascending

  void set_rest(Rest rest) { rest_ = rest; }
  const Rest& rest() const { return rest_; }

  enum class Patience {
    kRested,  // only an address that is fresh or has rested as wanted
    kNone,    // any that has had the least rest
  };
  // kResourceExhausted when no address of the family is free, or none has rested enough: then the
  // error says in how many milliseconds the next one will have. `now_ms`: Unix time.
  Result<Ip> take(Family family, std::int64_t now_ms = 0, Patience patience = Patience::kNone);
  // This one, rested or not. kAlreadyExists when it is in use, kOutOfRange when it is not of this
  // pool.
  Result<void> take_exact(Ip ip);
  // ENSUREs that it is in use.
  void give_back(Ip ip, std::int64_t now_ms = 0);

  // From an earlier life, before restore_freed: marks as in use; kAlreadyExists when it is. An
  // address outside of all ranges is kept as well.
  Result<void> restore_in_use(Ip ip);
  // From an earlier life: free, longest-free first. Ignored when in use, known or in no range; but
  // while the pool has no ranges of the family it waits for the first ones.
  void restore_freed(Ip ip, std::int64_t released_ms = 0);

  bool in_use(Ip ip) const { return bits_.in_use(ip); }
  bool contains(Ip ip) const { return range_of(ip) != nullptr; }
  FamilyUsage usage(Family family) const;
  bool has(Family family) const { return !of(family).ranges.empty(); }

 private:
  struct Range {
    IpRange all;
    Ip next_fresh;  // every address before it is known to be used
    bool fresh_left = true;
  };
  struct PerFamily {
    explicit PerFamily(Family family) : freed(family) {}
    std::vector<Range> ranges;   // ascending, apart
    std::size_t fresh_from = 0;  // no range before this one has a fresh address
    FreedQueue freed;
    std::vector<std::pair<Ip, std::int64_t>> freed_early;  // restored before there were ranges
    std::uint64_t total = 0;
    std::uint64_t in_use = 0;  // inside of `ranges`
  };

  PerFamily& of(Family family) { return families_[family == Family::kV4 ? 0 : 1]; }
  const PerFamily& of(Family family) const { return families_[family == Family::kV4 ? 0 : 1]; }
  const Range* range_of(Ip ip) const;
  std::optional<Ip> find_fresh(PerFamily& addresses);
  void forget_oldest(PerFamily& addresses, std::int64_t now_ms);

  std::size_t most_freed_;
  std::array<PerFamily, 2> families_{PerFamily(Family::kV4), PerFamily(Family::kV6)};
  std::vector<Prefix> blocks_;
  AddressBits bits_;
  Rest rest_;
};

}  // namespace tombolo
