// The addresses of one pool: blocks of both families, who is in use, and in which order free ones
// are given out. Pure, no I/O; control thread. Taking and giving back cost O(log blocks), whatever
// the size of a block.
//
// Order: an address that was never used first, lowest first; then the one that has been free for
// the longest time. So a freed address rests as long as the pool allows, without a timer: the rest
// shrinks by itself when the pool gets short. Never given out: the first address of a block (the
// network address of IPv4; the subnet-router anycast address of IPv6, RFC 4291 section 2.6.1) and
// the last one of an IPv4 block (broadcast), because firewalls and old stacks drop them, although
// pods get /32 and /128. Blocks of one or two IPv4 addresses are used whole (RFC 3021).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/error.h"
#include "core/ip.h"

namespace tombolo {

struct FamilyUsage {
  std::uint64_t total = 0;  // that may be given out; at most 2^64 - 1
  std::uint64_t in_use = 0;
  std::uint64_t free() const { return total > in_use ? total - in_use : 0; }
};

class AddressPool {
 public:
  // Above this many freed addresses of a family they are used again before fresh ones, so that a
  // /64 does not collect them without end.
  static constexpr std::size_t kFreedLimit = 65'536;

  // Makes these the blocks to give out from. What is in use in a block that is no longer named
  // stays in use until it is given back. kInvalidArgument when two of them overlap: then nothing
  // changes.
  Result<void> set_blocks(const std::vector<Prefix>& blocks);
  std::vector<Prefix> blocks() const;

  // kResourceExhausted when no address of the family is free.
  Result<Ip> take(Family family);
  // ENSUREs that it is in use.
  void give_back(Ip ip);

  // From an earlier life, before the first take and before restore_freed: marks as in use;
  // kAlreadyExists when it is. An address outside of all blocks is kept as well.
  Result<void> restore_in_use(Ip ip);
  // From an earlier life: free, longest-free first. Ignored when in use, known or in no block.
  void restore_freed(Ip ip);

  bool in_use(Ip ip) const { return in_use_.contains(ip); }
  FamilyUsage usage(Family family) const;
  bool has(Family family) const;  // any block of the family

 private:
  struct Block {
    Prefix prefix;
    Ip next_fresh;  // every address before it was given out at least once
    Ip last;        // the last one that may be given out
    bool fresh_left = true;
  };
  struct PerFamily {
    std::map<Ip, Block> blocks;  // by base
    std::deque<Ip> freed;        // longest free first
    std::uint64_t in_use = 0;    // inside of `blocks`
  };

  PerFamily& of(Family family) { return families_[family == Family::kV4 ? 0 : 1]; }
  const PerFamily& of(Family family) const { return families_[family == Family::kV4 ? 0 : 1]; }
  Block* block_of(Ip ip);
  std::optional<Ip> next_fresh(PerFamily& addresses);
  void pass(Block& block);
  void add_block(PerFamily& addresses, const Prefix& prefix);
  void remove_block(PerFamily& addresses, const Prefix& prefix);

  std::array<PerFamily, 2> families_;
  std::unordered_set<Ip> in_use_;
  // Addresses that are in use or freed though no block's next_fresh has passed them yet (restored).
  std::unordered_set<Ip> used_ahead_;
};

}  // namespace tombolo
