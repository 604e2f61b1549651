// Where new ranges go. First into the tracts that their region has, which costs no route. What is
// left gets new tracts (layout.cpp), or where space is too short for them a hole each. All is
// placed largest first: with power-of-two requests and blocks any such order finds a place for all
// whenever one exists, so the choice among free blocks is free to serve routes and growth.
#include <algorithm>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

// Shares of the address space that are free of what is not reserved. Below them clusters that join
// or grow are packed tighter (tests/bench/run plan: fewer refusals, for a few more routes).
constexpr double kShort = 0.45;
constexpr double kVeryShort = 0.35;
constexpr std::uint32_t kFewLarge = 2;  // of one size

std::size_t slot(int region) {
  return static_cast<std::size_t>(region);
}

}  // namespace

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
  double usable = 0;
  for (std::size_t index : batch.pools) usable += pools_[index].usable;
  return static_cast<double>(supply_of(batch, &Pool::free).total()) / std::max(usable, 1.0);
}

// How often a new range can be given room to double: less as the address space fills up.
int FamilyPlanner::doublings(const Batch& batch) const {
  const double free = free_share(batch);
  return free > 0.65 ? 3 : free > 0.5 ? 2 : free > kVeryShort ? 1 : 0;
}

// The smallest hole in which the range can grow, else one that is nobody's room to double, else
// any (`last_resort`).
std::optional<Prefix> FamilyPlanner::take_in_tracts(const Batch& batch, const Request& request,
                                                    bool last_resort) {
  const int length = request.size.length;
  auto hole_in = [&](FreeSpace Pool::* space, int wanted) -> std::optional<Prefix> {
    std::optional<Prefix> best;
    int best_around = -1;
    for (const Tract& tract : tracts_[slot(region_of(request.cluster))]) {
      if (std::ranges::find(batch.pools, tract.pool) == batch.pools.end()) continue;
      const FreeSpace& within = pools_[tract.pool].*space;
      auto hole = within.best_fit_inside(wanted, tract.wide);
      if (!hole) continue;
      int around = wanted;
      while (around > tract.wide.length() && within.contains(Prefix(hole->base(), around - 1)))
        --around;
      if (around <= best_around) continue;
      best_around = around;
      best = Prefix(hole->base(), length);
    }
    return best;
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
