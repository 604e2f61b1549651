// The order of events for one family: fixed claims, then everything that the previous plan had and
// that still fits, then growth in place, then new ranges (placement.cpp).
#include "ipamd/plan/planner.h"

#include <algorithm>

namespace tombolo {
namespace {

constexpr int kMostExtraBits = 3;  // by which an underlay may outgrow what it needs from nothing

}  // namespace

FamilyPlanner::FamilyPlanner(const Fleet& fleet, Family family, const Plan* previous)
    : fleet_(fleet), family_(family), previous_(previous), tracts_(fleet.regions.size()) {
  for (const FleetRoot& root : fleet.roots) {
    if (root.prefix.family() != family) continue;
    FreeSpace space(family, root.prefix.length());
    space.add(root.prefix);
    FreeSpace usable = space;
    for (const FleetReserved& range : fleet.reserved) usable.remove(range.prefix);
    for (const Forbidden& range : forbidden_ranges(fleet)) usable.remove(range.prefix);
    Pool pool{&root, static_cast<double>(usable.addresses()), space, space, space, {}, {}};
    pools_.push_back(std::move(pool));
  }
  for (const FleetRegion& region : fleet.regions)
    regions_.emplace(region.name, static_cast<int>(&region - fleet.regions.data()));
  has_former_ = previous != nullptr;
  if (previous != nullptr)
    for (const PlannedCluster& cluster : previous->clusters)
      previous_clusters_.emplace(cluster.name, &cluster);
}

Result<std::vector<Assignment>> FamilyPlanner::run() {
  TRY(fixed, fixed_claims(fleet_, family_));
  for (const Claim& each : fixed) claim(each);
  TRY_OK(collect());
  std::erase_if(requests_, [&](const Request& request) { return keep(request); });
  // What has to grow or move keeps its old addresses off the market until both are decided.
  for (const Request& request : requests_) hold(request);
  std::ranges::sort(requests_, {}, [this](const Request& r) { return order_of(r); });
  std::erase_if(requests_, [&](const Request& request) { return grow(request); });
  find_rooms();
  find_tracts();
  auto missing = place(std::move(requests_));
  if (!missing.empty()) return std::unexpected(explain(missing.front()));
  requests_.clear();
  previous_ = nullptr;
  previous_clusters_.clear();
  has_former_ = true;
  return std::move(assignments_);
}

Result<std::vector<Assignment>> FamilyPlanner::add(std::size_t cluster) {
  requests_.clear();
  assignments_.clear();
  const FleetCluster& joining = fleet_.clusters[cluster];
  for (BlockUse use : kClusterUses)
    if (wants(joining, use, family_)) TRY_OK(want(cluster, use));
  for (const Assignment& given : assignments_) {
    for (const Pool& pool : pools_)
      if (pool.root->prefix.overlaps(given.range.prefix))
        return fail(Code::kFailedPrecondition,
                    "{}: cluster {}: the given range {} needs the whole fleet to be planned again",
                    joining.place, joining.name, given.range.prefix);
  }
  std::ranges::sort(requests_, {}, [this](const Request& r) { return order_of(r); });
  auto missing = place(std::move(requests_));
  requests_.clear();
  if (missing.empty()) return std::move(assignments_);
  Error error = explain(missing.front());
  std::vector<PlannedRange> ranges;
  for (const Assignment& each : assignments_) ranges.push_back(each.range);
  remove(cluster, ranges);
  return std::unexpected(std::move(error));
}

Result<void> FamilyPlanner::collect() {
  if (has_family(fleet_.families, family_)) TRY_OK(want(kNoCluster, BlockUse::kClusterset));
  for (std::size_t i = 0; i < fleet_.clusters.size(); ++i) {
    for (BlockUse use : kClusterUses)
      if (wants(fleet_.clusters[i], use, family_)) TRY_OK(want(i, use));
  }
  return {};
}

Result<void> FamilyPlanner::want(std::size_t cluster, BlockUse use) {
  const auto& given =
      cluster == kNoCluster ? fleet_.clusterset_given : fleet_.clusters[cluster].given;
  for (const GivenRange& range : given) {
    if (range.use != use || range.prefix.family() != family_) continue;
    if (cluster != kNoCluster) TRY_OK(check_given(fleet_, fleet_.clusters[cluster], range));
    if (use == BlockUse::kUnderlay)
      TRY_OK(check_division(fleet_, fleet_.clusters[cluster], range,
                            subnets_before(previous_cluster(cluster), fleet_.clusters[cluster])));
    assignments_.push_back(
        {cluster, {use, range.prefix, range.node_prefix_length, RangeOrigin::kGiven}});
    return {};
  }
  Request request{cluster, use, {}, previous_range(cluster, use)};
  if (cluster == kNoCluster) {
    request.size = clusterset_size(fleet_.clusterset_services, family_);
  } else {
    TRY(size, size_of(fleet_, fleet_.clusters[cluster], use, family_, 0));
    request.size = size;
    // Node blocks that exist stay as large as they are, unless the pods need larger ones.
    if (use == BlockUse::kPod && request.previous != nullptr &&
        request.previous->node_prefix_length <= size.node_prefix_length) {
      auto same = size_of(fleet_, fleet_.clusters[cluster], use, family_,
                          request.previous->node_prefix_length);
      if (same) request.size = *same;
    }
  }
  requests_.push_back(request);
  return {};
}

// True when the previous range does, as it is.
bool FamilyPlanner::keep(const Request& request) {
  const PlannedRange* old = request.previous;
  if (old == nullptr || old->prefix.length() > request.size.length ||
      old->node_prefix_length != request.size.node_prefix_length)
    return false;
  const auto& clusters = fleet_.clusters;
  if (request.cluster != kNoCluster) {
    // Larger than needed is fine, but not larger than a rule allows.
    GivenRange as_given{request.use, old->prefix, old->node_prefix_length, {}};
    if (!check_given(fleet_, clusters[request.cluster], as_given)) return false;
    if (!has_room(request, old->prefix)) return false;
  }
  const Pool* pool = pool_around(old->prefix, request.use, region_of(request.cluster));
  if (pool == nullptr || !pool->free.contains(old->prefix)) return false;
  // One that is larger than it has to be has its room inside.
  const bool grows = old->prefix.length() == request.size.length;
  assign(request.cluster, {request.use, old->prefix, old->node_prefix_length, RangeOrigin::kKept},
         grows);
  return true;
}

// Whether an underlay can be divided as its cluster wants it, around the subnets that there are.
bool FamilyPlanner::has_room(const Request& request, const Prefix& prefix) const {
  if (request.use != BlockUse::kUnderlay) return true;
  const FleetCluster& cluster = fleet_.clusters[request.cluster];
  if (!is_divided(cluster)) return true;
  const FleetRegion& region = fleet_.regions[static_cast<std::size_t>(region_of(request.cluster))];
  return divide(cluster, rules_of(region.cloud), prefix,
                planned_count(cluster.nodes, cluster.growth_percent),
                subnets_before(previous_cluster(request.cluster), cluster))
      .has_value();
}

// True when the previous range can be enlarged around its addresses. An underlay whose subnets stay
// may have to be larger than one that is divided anew.
bool FamilyPlanner::grow(const Request& request) {
  const PlannedRange* old = request.previous;
  if (old == nullptr || old->node_prefix_length != request.size.node_prefix_length) return false;
  int length = request.size.length;
  if (!has_room(request, old->prefix)) length = std::min(length, old->prefix.length() - 1);
  for (int more = 0; more < kMostExtraBits && length - more > 0; ++more)
    if (has_room(request, Prefix(old->prefix.base(), length - more)))
      return grow_to(request, length - more);
  return false;
}

bool FamilyPlanner::grow_to(const Request& request, int length) {
  const PlannedRange* old = request.previous;
  if (old->prefix.length() <= length) return false;
  Prefix grown(old->prefix.base(), length);
  Pool* pool = pool_around(grown, request.use, region_of(request.cluster));
  if (pool == nullptr) return false;
  // The old range itself is held (see hold); everything else up to the new size must be free.
  for (int at = old->prefix.length(); at > grown.length(); --at) {
    Prefix part(old->prefix.base(), at);
    Prefix other(Ip(family_, part.base().value() ^ (uint128{1} << part.host_bits())), at);
    if (!pool->free.contains(other)) return false;
  }
  auto [begin, end] = pool->claims.equal_range(old->prefix.base().value());
  auto held = std::find_if(begin, end,
                           [&](const auto& entry) { return entry.second.prefix == old->prefix; });
  if (held == end || held->second.text != former_text(request)) return false;
  unclaim(*pool, held);
  assign(request.cluster, {request.use, grown, old->node_prefix_length, RangeOrigin::kGrown});
  return true;
}

// The largest first; ids and names rather than places in the file decide between equals.
std::tuple<int, std::uint32_t, BlockUse, std::string> FamilyPlanner::order_of(
    const Request& request) const {
  if (request.cluster == kNoCluster) return {request.size.length, 0, request.use, {}};
  const FleetCluster& cluster = fleet_.clusters[request.cluster];
  return {request.size.length, cluster.id, request.use, cluster.id == 0 ? cluster.name : ""};
}

int FamilyPlanner::region_of(std::size_t cluster) const {
  if (cluster == kNoCluster) return kNobody;
  auto region = regions_.find(fleet_.clusters[cluster].region);
  return region == regions_.end() ? kNobody : region->second;
}

bool FamilyPlanner::admits(const Pool& pool, BlockUse use, int region) const {
  const auto& uses = pool.root->uses;
  const auto& regions = pool.root->regions;
  if (!uses.empty() && std::ranges::find(uses, use) == uses.end()) return false;
  if (regions.empty()) return true;
  return region != kNobody &&
         std::ranges::find(regions, fleet_.regions[static_cast<std::size_t>(region)].name) !=
             regions.end();
}

// The pools open to a request: first those made for the region, then those made for the use, then
// the general ones.
std::vector<std::vector<std::size_t>> FamilyPlanner::tiers_of(const Request& request) const {
  std::array<std::vector<std::size_t>, 4> by_rank;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (!admits(pools_[i], request.use, region_of(request.cluster))) continue;
    const FleetRoot& root = *pools_[i].root;
    by_rank.at((root.regions.empty() ? 2U : 0U) + (root.uses.empty() ? 1U : 0U)).push_back(i);
  }
  std::vector<std::vector<std::size_t>> tiers;
  for (auto& rank : by_rank)
    if (!rank.empty()) tiers.push_back(std::move(rank));
  return tiers;
}

FamilyPlanner::Pool* FamilyPlanner::pool_around(const Prefix& prefix, BlockUse use, int region) {
  for (Pool& pool : pools_)
    if (pool.root->prefix.contains(prefix) && admits(pool, use, region)) return &pool;
  return nullptr;
}

const PlannedRange* FamilyPlanner::previous_range(std::size_t cluster, BlockUse use) const {
  if (previous_ == nullptr) return nullptr;
  if (cluster == kNoCluster) {
    for (const PlannedRange& range : previous_->clusterset)
      if (range.prefix.family() == family_) return &range;
    return nullptr;
  }
  const PlannedCluster* old = previous_cluster(cluster);
  return old == nullptr ? nullptr : find_range(*old, use, family_);
}

const PlannedCluster* FamilyPlanner::previous_cluster(std::size_t cluster) const {
  auto old = previous_clusters_.find(fleet_.clusters[cluster].name);
  return old == previous_clusters_.end() ? nullptr : old->second;
}

}  // namespace tombolo
