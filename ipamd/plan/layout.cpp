// New tracts: as few as the search for the optimum finds (optimum.h), with room to grow where space
// allows. A tract is a multiple of what it must be, up to its region's fair share, and a range has
// a free neighbour to double into.
#include <algorithm>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

constexpr int kMostGrowth = 6;  // a new tract is at most 2^6 times as large as it must be

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

}  // namespace tombolo
