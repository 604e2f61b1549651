// The fewest routes against brute force: every placement of a few requests in a small space, with
// the routes of each counted by definition.
#include "ipamd/plan/optimum.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <set>

namespace tombolo {
namespace {

constexpr int kShared = -1;
constexpr int kReserved = -2;
constexpr int kFree = -3;

struct Item {
  int size;    // a power of two
  int region;  // or kShared
  bool routed;
};

// A space of `owner.size()` addresses; what each holds.
struct Space {
  std::vector<int> owner;
  std::vector<bool> routed;
};

// For each routed address the widest aligned block around it that holds nothing foreign; different
// blocks are different routes.
int count_routes(const Space& space) {
  std::set<std::pair<std::size_t, std::size_t>> widest;
  for (std::size_t at = 0; at < space.owner.size(); ++at) {
    if (!space.routed[at]) continue;
    std::pair<std::size_t, std::size_t> best{at, 1};
    for (std::size_t size = 1; size <= space.owner.size(); size *= 2) {
      std::size_t begin = at / size * size;
      bool own = true;
      for (std::size_t i = begin; i < begin + size; ++i)
        own = own && (space.owner[i] == kFree || space.owner[i] == space.owner[at]);
      if (own) best = {begin, size};
    }
    widest.insert(best);
  }
  return static_cast<int>(widest.size());
}

void try_all(Space& space, const std::vector<Item>& items, std::size_t next, int& best) {
  if (next == items.size()) {
    best = std::min(best, count_routes(space));
    return;
  }
  const Item& item = items[next];
  auto size = static_cast<std::size_t>(item.size);
  for (std::size_t begin = 0; begin < space.owner.size(); begin += size) {
    auto owner = space.owner.begin() + static_cast<long>(begin);
    if (!std::all_of(owner, owner + item.size, [](int o) { return o == kFree; })) continue;
    std::fill(owner, owner + item.size, item.region);
    for (std::size_t i = begin; i < begin + size; ++i) space.routed[i] = item.routed;
    try_all(space, items, next + 1, best);
    std::fill(owner, owner + item.size, kFree);
    for (std::size_t i = begin; i < begin + size; ++i) space.routed[i] = false;
  }
}

int number(int low, int high) {
  return *rc::gen::resize(100, rc::gen::inRange(low, high + 1));
}

int exponent_of(int size) {
  int exponent = 0;
  while ((1 << exponent) < size) ++exponent;
  return exponent;
}

// The free part of [begin, begin + size) as maximal aligned blocks.
void add_free(const Space& space, std::size_t begin, std::size_t size, Sizes& supply) {
  auto is_free = [&](std::size_t i) { return space.owner[i] == kFree; };
  std::size_t free = 0;
  for (std::size_t i = begin; i < begin + size; ++i) free += is_free(i) ? 1U : 0U;
  if (free == 0) return;
  if (free == size) return supply.add(exponent_of(static_cast<int>(size)));
  add_free(space, begin, size / 2, supply);
  add_free(space, begin + size / 2, size / 2, supply);
}

struct Seen {
  int tight = 0;
  int holed = 0;
};

void compare_one(Seen& seen) {
  bool wide = number(0, 3) == 0;
  std::size_t size = wide ? 16 : 8;
  Space space{std::vector<int>(size, kFree), std::vector<bool>(size, false)};
  for (int i = number(0, 2); i > 0; --i)
    space.owner[static_cast<std::size_t>(number(0, static_cast<int>(size) - 1))] = kReserved;
  Sizes supply;
  add_free(space, 0, size, supply);
  std::vector<RegionDemand> regions(3);
  Sizes shared;
  std::vector<Item> items;
  // As many as about fill the space, so that tight cases and refusals are common.
  int left = static_cast<int>(supply.total()) + 1;
  for (std::size_t i = 0; i < (wide ? 5U : 7U) && left > 0; ++i) {
    Item item{1 << number(0, wide ? 3 : 2), number(kShared, 2), true};
    left -= item.size;
    item.routed = item.region != kShared && number(0, 3) > 0;
    items.push_back(item);
    int exponent = exponent_of(item.size);
    if (item.region == kShared) {
      shared.add(exponent);
    } else {
      RegionDemand& region = regions[static_cast<std::size_t>(item.region)];
      (item.routed ? region.routed : region.unrouted).add(exponent);
    }
  }
  std::ranges::sort(items, std::greater<>(), &Item::size);
  constexpr int kNone = 1000;
  int best = kNone;
  try_all(space, items, 0, best);
  Optimum optimum = fewest_routes(regions, shared, supply);
  RC_ASSERT(optimum.feasible == (best != kNone));
  if (!optimum.feasible) return;
  RC_ASSERT(optimum.bound <= optimum.routes);
  RC_ASSERT(optimum.exact == (optimum.bound == optimum.routes));
  RC_ASSERT(optimum.routes == static_cast<std::uint32_t>(best));
  std::uint32_t alone = 0;
  for (const RegionDemand& region : regions) alone += region.routed.empty() ? 0 : 1;
  if (optimum.routes > alone) ++seen.tight;
  if (supply.number() > 1) ++seen.holed;
}

TEST_CASE("the fewest routes are those that brute force finds") {
  Seen seen;
  REQUIRE(rc::check("optimum", [&] {
    for (int i = 0; i < 20; ++i) compare_one(seen);
  }));
  REQUIRE(seen.tight > 0);
  REQUIRE(seen.holed > 0);
}

// Found by the property above: the service fits beside the routed ranges in one block of 4, which
// is needed by others; without it two smaller blocks do.
TEST_CASE("services stay outside where that saves a route") {
  Sizes supply;
  supply.add(3);
  supply.add(2);
  supply.add(0, 2);
  Sizes shared;
  shared.add(3);
  shared.add(1);
  RegionDemand region;
  region.routed.add(1);
  region.routed.add(0);
  region.unrouted.add(0);
  REQUIRE(fewest_routes({region}, shared, supply).routes == 2);
}

TEST_CASE("S_k: the least space that k prefixes cover a demand with") {
  struct Case {
    int demand;
    int pieces;
    int most;
    int space;
  };
  auto [demand, pieces, most, space] = GENERATE(values<Case>({
      {5, 1, 7, 8},
      {5, 2, 7, 5},
      {7, 2, 7, 8},
      {7, 3, 7, 7},
      {21, 1, 7, 32},
      {21, 2, 7, 24},
      {21, 3, 7, 21},
      {8, 1, 7, 8},
      {5, 1, 2, 0},  // no block of 8
      {5, 2, 1, 0},
      {5, 3, 1, 5},
  }));
  CAPTURE(demand, pieces, most);
  Sizes blocks = split_demand(static_cast<uint128>(demand), pieces, most);
  REQUIRE(blocks.total() == static_cast<uint128>(space));
}

TEST_CASE("a thousand regions are no burden, and a split is made only where it must be") {
  std::vector<RegionDemand> regions(1000);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    regions[i].routed.add(8, static_cast<std::uint32_t>(i % 7 + 1));
    regions[i].unrouted.add(6, 2);
  }
  Sizes roomy;
  roomy.add(24);
  Optimum one_each = fewest_routes(regions, {}, roomy);
  REQUIRE(one_each.routes == 1000);
  REQUIRE(one_each.exact);
  Sizes tight;
  tight.add(20);
  tight.add(17);
  Optimum split = fewest_routes(regions, {}, tight);
  REQUIRE(split.feasible);
  REQUIRE(split.routes > 1000);
  REQUIRE(split.bound <= split.routes);
  Sizes none;
  none.add(19);
  REQUIRE_FALSE(fewest_routes(regions, {}, none).feasible);
}

}  // namespace
}  // namespace tombolo
