// The fewest summary routes that a fleet can have, and the blocks that reach them: exact where the
// search ends, a proven lower bound always. Private to this folder; pure, and without addresses:
// all sizes are powers of two, so requests and free blocks are counts per exponent.
//
// What is used of it: aligned power-of-two requests fit into aligned power-of-two blocks exactly
// when, for every size, the requests of at least that size are no larger than the blocks of at
// least that size (Kraft's inequality for several roots); a demand D takes at least the space
// S_k(D) when k prefixes cover it: D itself when k of its binary digits are set, else D cut after
// the k-th digit that is set, plus one there. The routes of all regions together are a knapsack
// with one choice per region.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/ip.h"

namespace tombolo {

// How many blocks (or requests) there are of 2^exponent addresses.
struct Sizes {
  std::array<std::uint32_t, 128> count{};

  void add(int exponent, std::uint32_t more = 1);
  void add(const Sizes& other);
  uint128 total() const;
  int largest() const;  // exponent; -1 when there is nothing
  std::uint32_t number() const;
  bool empty() const { return largest() < 0; }
  bool operator==(const Sizes&) const = default;
};

// Whether all of `items` find room in `bins` (see above). No search is needed.
bool fits(const Sizes& items, const Sizes& bins);
// Packs the largest first and takes them out of `bins`; what had no room is returned. As much as
// possible is packed, and what is left of the bins is as whole as possible.
Sizes pack(const Sizes& items, Sizes& bins);
// S_k(D) as blocks, none larger than 2^most: the fewest addresses that `pieces` blocks can cover
// `demand` with. Empty when they cannot.
Sizes split_demand(uint128 demand, int pieces, int most);

// What a region asks for. Its routed ranges (underlay, pod) need a summary route for each block
// that they are spread over; the others (service) need none, and may lie in what such a block
// leaves.
struct RegionDemand {
  Sizes routed;
  Sizes unrouted;
};

struct Optimum {
  bool feasible = false;
  bool exact = true;          // false: the search was given up, `bound` is still true
  std::uint32_t routes = 0;   // of `blocks`
  std::uint32_t bound = 0;    // no plan has fewer routes
  std::string_view reason;    // why `bound` holds
  std::vector<Sizes> blocks;  // per region: where its routed ranges go
};

// The fewest routes for `regions` in free blocks `supply`, with `shared` requests of nobody's
// region. Where `feasible` is false nothing fits in any way.
Optimum fewest_routes(const std::vector<RegionDemand>& regions, const Sizes& shared,
                      const Sizes& supply);

}  // namespace tombolo
