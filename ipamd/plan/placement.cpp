// Where new ranges go. First into the tracts that their region has, which costs no route. What is
// left gets as few new tracts as the search for the optimum finds (optimum.h), with room to grow
// where space allows: a tract is a multiple of what it must be, up to its region's fair share, and
// a range has a free neighbour to double into. All is placed largest first: with power-of-two
// requests and blocks any such order finds a place for all whenever one exists, so the choice among
// free blocks is free to serve routes and growth.
#include <algorithm>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

// Shares of the address space that are free. Below them clusters that join or grow are packed
// tighter (tests/bench/run plan: fewer refusals, for a few more routes).
constexpr double kShort = 0.4;
constexpr double kVeryShort = 0.3;
constexpr std::uint32_t kFewLarge = 2;  // of one size
constexpr int kMostGrowth = 6;          // a new tract is at most 2^6 times as large as it must be

std::size_t slot(int region) {
  return static_cast<std::size_t>(region);
}

Sizes doubled(const Sizes& sizes) {
  Sizes result;
  for (int at = 0; at < 127; ++at) result.add(at + 1, sizes.count[static_cast<std::size_t>(at)]);
  return result;
}

}  // namespace

// New tracts by region, and which requests lie outside of them.
struct FamilyPlanner::Layout {
  std::vector<Sizes> tracts;
  std::vector<Sizes> outside;  // by region: unrouted requests for which its tracts have no room
  Sizes shared;
  int growth = 0;
  Sizes items() const {
    Sizes all = shared;
    for (const Sizes& each : tracts) all.add(each);
    for (const Sizes& each : outside) all.add(each);
    return all;
  }
};

std::vector<FamilyPlanner::Request> FamilyPlanner::place(std::vector<Request> requests) {
  // By tier: what does not fit into the most specific address space goes on to the next.
  for (std::size_t tier = 0; !requests.empty(); ++tier) {
    std::map<std::pair<std::size_t, std::vector<std::size_t>>, Batch> batches;
    for (Request& request : requests) {
      auto tiers = tiers_of(request);
      if (tier >= tiers.size()) return {request};
      Batch& batch = batches[{tiers[tier].size(), tiers[tier]}];
      batch.pools = tiers[tier];
      batch.requests.push_back(request);
    }
    requests.clear();
    for (auto& [key, batch] : batches)
      for (Request& left : place_batch(batch, tier)) {
        if (tiers_of(left).size() == tier + 1) return {left};
        requests.push_back(left);
      }
    std::ranges::sort(requests, {}, [this](const Request& r) { return order_of(r); });
  }
  return {};
}

std::vector<FamilyPlanner::Request> FamilyPlanner::place_batch(Batch& batch, std::size_t tier) {
  join_tracts(batch);
  if (batch.requests.empty()) return {};
  // A new tract with room to grow cuts a large block; that is for plans with space.
  const bool lay_tracts = !has_former_ || free_share(batch) >= kVeryShort;
  if (lay_tracts && found_tracts(batch)) return {};
  return place_singly(batch, tier);
}

// Takes the requests out of the batch for which tracts of their region have room.
void FamilyPlanner::join_tracts(Batch& batch) {
  std::erase_if(batch.requests, [&](const Request& request) {
    int region = region_of(request.cluster);
    if (region == kNobody || tracts_[slot(region)].empty()) return false;
    auto prefix = take_in_tracts(batch, request, is_routed(request.use));
    if (prefix)
      assign(request.cluster,
             {request.use, *prefix, request.size.node_prefix_length, RangeOrigin::kAssigned});
    return prefix.has_value();
  });
}

double FamilyPlanner::free_share(const Batch& batch) const {
  double space = 0;
  for (std::size_t index : batch.pools)
    space += static_cast<double>(pools_[index].root->prefix.size());
  return static_cast<double>(supply_of(batch, &Pool::free).total()) / space;
}

// How often a new range can be given room to double: less as the address space fills up.
int FamilyPlanner::doublings(const Batch& batch) const {
  const double free = free_share(batch);
  return free > 0.6 ? 3 : free > 0.45 ? 2 : free > 0.3 ? 1 : 0;
}

// The smallest hole in which the range can grow, else one that is nobody's room to double, else
// any (`last_resort`).
std::optional<Prefix> FamilyPlanner::take_in_tracts(const Batch& batch, const Request& request,
                                                    bool last_resort) {
  const int length = request.size.length;
  auto hole_in = [&](FreeSpace Pool::* space, int wanted) -> std::optional<Prefix> {
    for (const Tract& tract : tracts_[slot(region_of(request.cluster))]) {
      if (std::ranges::find(batch.pools, tract.pool) == batch.pools.end()) continue;
      auto hole = (pools_[tract.pool].*space).best_fit_inside(wanted, tract.wide);
      if (hole) return Prefix(hole->base(), length);
    }
    return std::nullopt;
  };
  std::optional<Prefix> found;
  for (int room = doublings(batch); room >= 0 && !found; --room)
    found = hole_in(&Pool::open, length - room);
  if (!found && last_resort) found = hole_in(&Pool::free, length);
  if (!found || free_share(batch) >= kShort) return found;
  return spared(batch, request, *found);
}

// Exponent of the free block around a hole.
int FamilyPlanner::room_around(const Batch& batch, const Prefix& hole) const {
  int length = hole.length();
  for (std::size_t index : batch.pools)
    while (length > 0 && pools_[index].free.contains(Prefix(hole.base(), length - 1))) --length;
  return bits_of(family_) - length;
}

// Where space is short the last large free blocks are what a cluster that grows cannot do without:
// a hole that would cut one of them gives way to one in a smaller block, even beyond the region's
// tracts, at the price of a route.
Prefix FamilyPlanner::spared(const Batch& batch, const Request& request, const Prefix& hole) const {
  const Sizes supply = supply_of(batch, &Pool::free);
  const int room = room_around(batch, hole);
  if (room < supply.largest() - 1 || room == hole.host_bits() ||
      supply.count[static_cast<std::size_t>(room)] > kFewLarge)
    return hole;
  auto is_smaller = [&](const std::optional<Prefix>& other) {
    return other && room_around(batch, *other) < room;
  };
  for (const Tract& tract : tracts_[slot(region_of(request.cluster))]) {
    if (std::ranges::find(batch.pools, tract.pool) == batch.pools.end()) continue;
    auto own = pools_[tract.pool].free.best_fit_inside(hole.length(), tract.wide);
    if (is_smaller(own)) return *own;
  }
  auto any = smallest_hole(batch, &Pool::free, hole.length());
  return is_smaller(any) ? *any : hole;
}

Sizes FamilyPlanner::supply_of(const Batch& batch, FreeSpace Pool::* space) const {
  Sizes supply;
  for (std::size_t index : batch.pools) supply.add((pools_[index].*space).sizes());
  return supply;
}

// Exponent of what a region may take of the pools so that as much is left as all regions together
// take: half of an equal part.
int FamilyPlanner::fair_share(const Batch& batch) const {
  int largest = 0;
  for (std::size_t index : batch.pools)
    largest = std::max(largest, pools_[index].root->prefix.host_bits());
  return std::max(0, largest - bits_for(fleet_.regions.size()) - 1);
}

// Lays all requests out in as few new tracts as there can be. False when they do not fit at all.
bool FamilyPlanner::found_tracts(const Batch& batch) {
  std::vector<RegionDemand> regions(tracts_.size());
  Layout layout;
  for (const Request& request : batch.requests) {
    int exponent = bits_of(family_) - request.size.length;
    int region = region_of(request.cluster);
    if (region == kNobody)
      layout.shared.add(exponent);
    else
      (is_routed(request.use) ? regions[slot(region)].routed : regions[slot(region)].unrouted)
          .add(exponent);
  }
  Optimum best = fewest_routes(regions, layout.shared, supply_of(batch, &Pool::free));
  if (!best.feasible) return false;
  const int share = fair_share(batch);
  // Between the ranges of other regions nothing is taken as long as there is space elsewhere.
  for (FreeSpace Pool::* space : {&Pool::outside, &Pool::free}) {
    const Sizes supply = supply_of(batch, space);
    Optimum here = space == &Pool::free ? best : fewest_routes(regions, layout.shared, supply);
    if (!here.feasible || here.routes > best.routes) continue;
    for (int growth = kMostGrowth; growth >= -1; --growth) {
      layout.growth = growth;
      layout.tracts.assign(regions.size(), {});
      layout.outside.assign(regions.size(), {});
      for (std::size_t i = 0; i < regions.size(); ++i) {
        const Sizes& least = here.blocks[i];
        for (int at = 0; at < 128; ++at)
          if (std::uint32_t count = least.count[static_cast<std::size_t>(at)]; count > 0)
            layout.tracts[i].add(std::max(at, std::min(at + std::max(growth, 0), share)), count);
        Sizes everything = regions[i].routed;
        everything.add(regions[i].unrouted);
        // Without growth: services beside the tracts (0), or in what tracts leave (-1).
        bool inside = growth > 0 && fits(doubled(everything), layout.tracts[i]);
        if (inside) continue;
        layout.outside[i] = regions[i].unrouted;
        if (growth >= 0) continue;
        Sizes left = layout.tracts[i];
        pack(regions[i].routed, left);
        layout.outside[i] = pack(regions[i].unrouted, left);
      }
      if (!fits(layout.items(), supply)) continue;
      lay_out(batch, layout, space);
      return true;
    }
  }
  ENSURE(false, "the blocks of the optimum do not fit");
  return false;
}

// The lowest place in the smallest hole of all pools.
std::optional<Prefix> FamilyPlanner::smallest_hole(const Batch& batch, FreeSpace Pool::* space,
                                                   int length) const {
  std::optional<Prefix> found;
  int best_length = -1;
  for (std::size_t index : batch.pools) {
    const FreeSpace& candidate = pools_[index].*space;
    auto fit = candidate.best_fit_length(length);
    if (!fit || *fit <= best_length) continue;
    best_length = *fit;
    found = candidate.best_fit(length);
  }
  return found;
}

// Tracts and what lies outside of them, the largest first; then the ranges in each region's tracts.
void FamilyPlanner::lay_out(const Batch& batch, const Layout& layout, FreeSpace Pool::* space) {
  const int bits = bits_of(family_);
  const int doublings_left = doublings(batch);
  struct Rooms {
    FreeSpace free;
    FreeSpace open;
  };
  std::vector<Rooms> rooms(layout.tracts.size(),
                           {FreeSpace(family_, bits), FreeSpace(family_, bits)});
  std::vector<Sizes> outside = layout.outside;
  std::vector<std::vector<Request>> inside(layout.tracts.size());
  std::vector<Request> alone;
  for (const Request& request : batch.requests) {
    int region = region_of(request.cluster);
    auto exponent = static_cast<std::size_t>(bits - request.size.length);
    bool is_alone = region == kNobody;
    if (!is_alone && !is_routed(request.use) && outside[slot(region)].count[exponent] > 0) {
      --outside[slot(region)].count[exponent];
      is_alone = true;
    }
    (is_alone ? alone : inside[slot(region)]).push_back(request);
  }
  auto next = alone.begin();
  for (int at = bits - 1; at >= 0; --at) {
    for (std::size_t region = 0; region < rooms.size(); ++region)
      for (std::uint32_t i = 0; i < layout.tracts[region].count[static_cast<std::size_t>(at)];
           ++i) {
        auto tract = smallest_hole(batch, space, bits - at);
        ENSURE(tract.has_value(), "no room for a tract that fits");
        // Off the market until all tracts are taken; free again below.
        for (std::size_t index : batch.pools) (pools_[index].*space).remove(*tract);
        rooms[region].free.add(*tract);
        rooms[region].open.add(*tract);
      }
    for (; next != alone.end() && next->size.length == bits - at; ++next) {
      auto hole = smallest_hole(batch, space, next->size.length);
      ENSURE(hole.has_value(), "no room for a range that fits");
      for (std::size_t index : batch.pools) (pools_[index].*space).remove(*hole);
      assign(next->cluster,
             {next->use, *hole, next->size.node_prefix_length, RangeOrigin::kAssigned});
    }
  }
  for (std::size_t region = 0; region < rooms.size(); ++region) {
    auto& [free, open] = rooms[region];
    for (const Prefix& tract : free.blocks())
      for (std::size_t index : batch.pools)
        if (pools_[index].root->prefix.contains(tract)) (pools_[index].*space).add(tract);
    for (const Request& request : inside[region]) {
      std::optional<Prefix> hole;
      for (int room = doublings_left; room >= 0 && !hole; --room)
        hole = open.best_fit(request.size.length - room);
      if (!hole) hole = free.best_fit(request.size.length);
      ENSURE(hole.has_value(), "no room in a tract that fits: {}", request_text(request));
      Prefix prefix(hole->base(), request.size.length);
      free.remove(prefix);
      open.remove(prefix);
      open.remove(sibling_of(prefix));
      assign(request.cluster,
             {request.use, prefix, request.size.node_prefix_length, RangeOrigin::kAssigned});
    }
  }
}

// When not everything fits: as much as possible, the largest first. Returns what is left for the
// next tier, or the first that has none: the search ends with it.
std::vector<FamilyPlanner::Request> FamilyPlanner::place_singly(const Batch& batch,
                                                                std::size_t tier) {
  std::vector<Request> rest;
  for (const Request& request : batch.requests) {
    std::optional<Prefix> hole;
    if (region_of(request.cluster) != kNobody) hole = take_in_tracts(batch, request, true);
    for (FreeSpace Pool::* space : {&Pool::outside, &Pool::free})
      if (!hole) hole = smallest_hole(batch, space, request.size.length);
    if (!hole) {
      if (tiers_of(request).size() == tier + 1) return {request};
      rest.push_back(request);
      continue;
    }
    assign(request.cluster,
           {request.use, *hole, request.size.node_prefix_length, RangeOrigin::kAssigned});
  }
  return rest;
}

}  // namespace tombolo
