// The families' searches put together into one plan, which the checker has to accept.
#include <algorithm>
#include <set>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

void sort_ranges(std::vector<PlannedRange>& ranges) {
  std::ranges::sort(ranges, {}, [](const PlannedRange& range) {
    return std::pair(range.prefix.family(), range.use);
  });
}

Result<PlannedCluster> planned_cluster(const Fleet& fleet, const FleetCluster& cluster) {
  PlannedCluster planned;
  planned.name = cluster.name;
  planned.id = cluster.id;
  planned.region = cluster.region;
  const FleetRegion* region = find_region(fleet, cluster.region);
  if (region == nullptr)
    return fail(Code::kFailedPrecondition, "{}: cluster {}: there is no region '{}'", cluster.place,
                cluster.name, cluster.region);
  planned.cloud = region->cloud;
  planned.nodes = cluster.nodes;
  planned.pods_per_node = cluster.pods_per_node;
  planned.pod_addresses = cluster.pod_addresses;
  return planned;
}

// `previous` is what an earlier plan has of the cluster; null: nothing.
Result<void> complete(const FleetCluster& cluster, const PlannedCluster* previous,
                      PlannedCluster& planned) {
  sort_ranges(planned.ranges);
  TRY_OK(divide_underlays(cluster, previous, planned));
  TRY(entry, entry_of(cluster, planned));
  planned.entry = std::move(entry);
  return {};
}

}  // namespace

// The families' planners refer to the fleet, so the state stays where it is.
struct FleetPlanner::State {
  Fleet fleet;
  Plan plan;
  std::vector<FamilyPlanner> families;
  std::set<std::string, std::less<>> names;
  std::set<std::uint32_t> ids;
  std::map<Ip, Ip> ranges;  // first to last address of every planned range

  Result<void> search(const Plan* previous);
  Result<void> prove_free(const PlannedCluster& planned) const;
};

Result<void> FleetPlanner::State::search(const Plan* previous) {
  plan.fleet = fleet.name;
  for (const FleetRoot& root : fleet.roots) plan.roots.push_back(root.prefix);
  for (const FleetReserved& range : fleet.reserved)
    plan.reserved.push_back({range.prefix, range.note});
  for (const FleetCluster& cluster : fleet.clusters) {
    TRY(planned, planned_cluster(fleet, cluster));
    plan.clusters.push_back(std::move(planned));
  }
  for (Family family : fleet.families) {
    families.emplace_back(fleet, family, previous);
    auto assignments = families.back().run();
    if (!assignments) {
      Error error = std::move(assignments).error();
      if (error.code == Code::kResourceExhausted) error.what += conflict_text(fleet, family);
      return std::unexpected(std::move(error));
    }
    for (const Assignment& each : *assignments)
      (each.cluster == kNoCluster ? plan.clusterset : plan.clusters[each.cluster].ranges)
          .push_back(each.range);
  }
  sort_ranges(plan.clusterset);
  std::map<std::string_view, const PlannedCluster*> before;
  if (previous != nullptr)
    for (const PlannedCluster& cluster : previous->clusters) before.emplace(cluster.name, &cluster);
  for (std::size_t i = 0; i < fleet.clusters.size(); ++i) {
    auto old = before.find(fleet.clusters[i].name);
    TRY_OK(
        complete(fleet.clusters[i], old == before.end() ? nullptr : old->second, plan.clusters[i]));
  }
  std::ranges::sort(plan.clusters, {}, &PlannedCluster::name);
  return {};
}

// Each range between its neighbours, and clear of what is reserved.
Result<void> FleetPlanner::State::prove_free(const PlannedCluster& planned) const {
  for (const PlannedRange& range : planned.ranges) {
    auto after = ranges.lower_bound(range.prefix.first());
    bool meets = after != ranges.end() && !(range.prefix.last() < after->first);
    if (after != ranges.begin())
      meets = meets || !(std::prev(after)->second < range.prefix.first());
    for (const PlannedReserve& reserved : plan.reserved)
      meets = meets || reserved.prefix.overlaps(range.prefix);
    if (meets)
      return fail(Code::kInternal, "the planner made a wrong plan: {}, {} {} overlaps another",
                  planned.name, to_string(range.use), range.prefix);
  }
  return {};
}

FleetPlanner::FleetPlanner(std::unique_ptr<State> state) : state_(std::move(state)) {}
FleetPlanner::~FleetPlanner() = default;

const Plan& FleetPlanner::plan() const {
  return state_->plan;
}

const Fleet& FleetPlanner::fleet() const {
  return state_->fleet;
}

Result<std::unique_ptr<FleetPlanner>> FleetPlanner::start(Fleet fleet, const Plan* previous) {
  auto state = std::make_unique<State>();
  state->fleet = std::move(fleet);
  if (auto searched = state->search(previous); !searched) {
    Error error = std::move(searched).error();
    State anew;
    anew.fleet = state->fleet;
    if (error.code == Code::kResourceExhausted && previous != nullptr && anew.search(nullptr))
      error.what +=
          "; it would fit if clusters that have addresses already were given others "
          "(a plan from nothing)";
    return std::unexpected(std::move(error));
  }
  if (auto proof = check_plan(state->plan, state->fleet); !proof)
    return fail(Code::kInternal, "the planner made a wrong plan: {}", proof.error().what);
  state->plan.certificate = certify(state->plan, state->fleet);
  for (const FleetCluster& cluster : state->fleet.clusters) {
    state->names.insert(cluster.name);
    if (cluster.id != 0) state->ids.insert(cluster.id);
  }
  for (const PlanBlock& block : blocks_of(state->plan))
    state->ranges.emplace(block.prefix.first(), block.prefix.last());
  return std::unique_ptr<FleetPlanner>(new FleetPlanner(std::move(state)));
}

Result<const PlannedCluster*> FleetPlanner::join(FleetCluster cluster) {
  State& state = *state_;
  if (state.names.contains(cluster.name))
    return fail(Code::kAlreadyExists, "{}: the cluster '{}' stands twice", cluster.place,
                cluster.name);
  if (state.ids.contains(cluster.id))
    return fail(Code::kAlreadyExists, "{}: {} is the id of another cluster", cluster.place,
                cluster.id);
  TRY(planned, planned_cluster(state.fleet, cluster));
  state.fleet.clusters.push_back(std::move(cluster));
  const FleetCluster& joined = state.fleet.clusters.back();
  std::size_t index = state.fleet.clusters.size() - 1;
  auto work = [&]() -> Result<void> {
    for (FamilyPlanner& family : state.families) {
      TRY(assignments, family.add(index));
      for (const Assignment& each : assignments) planned.ranges.push_back(each.range);
    }
    TRY_OK(complete(joined, nullptr, planned));
    TRY_OK(check_planned_cluster(state.fleet, joined, planned));
    return state.prove_free(planned);
  };
  if (auto done = work(); !done) {
    for (FamilyPlanner& family : state.families) family.remove(index, planned.ranges);
    state.fleet.clusters.pop_back();
    return std::unexpected(std::move(done).error());
  }
  state.names.insert(joined.name);
  if (joined.id != 0) state.ids.insert(joined.id);
  for (const PlannedRange& range : planned.ranges)
    state.ranges.emplace(range.prefix.first(), range.prefix.last());
  state.plan.certificate.clear();
  auto& clusters = state.plan.clusters;
  auto at = std::ranges::lower_bound(clusters, planned.name, {}, &PlannedCluster::name);
  return &*clusters.insert(at, std::move(planned));
}

std::string_view to_string(RangeOrigin origin) {
  switch (origin) {
    case RangeOrigin::kAssigned:
      return "assigned";
    case RangeOrigin::kKept:
      return "kept";
    case RangeOrigin::kGrown:
      return "grown";
    case RangeOrigin::kGiven:
      return "given";
  }
  return "?";
}

Result<Plan> make_plan(const Fleet& fleet, const Plan* previous) {
  TRY(planner, FleetPlanner::start(fleet, previous));
  return planner->plan();
}

std::vector<PlanBlock> blocks_of(const Plan& plan) {
  std::vector<PlanBlock> blocks;
  for (const PlannedRange& range : plan.clusterset)
    blocks.push_back({"", range.use, range.prefix, range.node_prefix_length});
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges)
      blocks.push_back({cluster.name, range.use, range.prefix, range.node_prefix_length});
  return blocks;
}

const PlannedCluster* find_cluster(const Plan& plan, std::string_view name) {
  for (const PlannedCluster& cluster : plan.clusters)
    if (cluster.name == name) return &cluster;
  return nullptr;
}

const PlannedRange* find_range(const PlannedCluster& cluster, BlockUse use, Family family) {
  for (const PlannedRange& range : cluster.ranges)
    if (range.use == use && range.prefix.family() == family) return &range;
  return nullptr;
}

}  // namespace tombolo
