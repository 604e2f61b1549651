// make_plan: the families' searches put together into one plan, which the checker has to accept.
#include <algorithm>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

constexpr std::uint32_t kDefaultEntryNodes = 2;

// The next hops towards a cluster's pods: the addresses or nodes that the fleet file names, else
// its first two nodes.
Result<std::vector<Ip>> entry_of(const FleetCluster& wanted, const PlannedCluster& planned) {
  std::vector<Ip> entry;
  for (Family family : wanted.families) {
    std::size_t before = entry.size();
    for (Ip ip : wanted.entry_ips) {
      if (ip.family() != family) continue;
      const PlannedRange* underlay = find_range(planned, BlockUse::kUnderlay, family);
      TRY(gateway, gateway_address(planned, family));
      if (!underlay->prefix.contains(ip) || ip == gateway || ip == underlay->prefix.base())
        return fail(Code::kFailedPrecondition,
                    "{}: cluster {}: entry {} is no node's address in the underlay {}",
                    wanted.place, wanted.name, ip, underlay->prefix);
      entry.push_back(ip);
    }
    if (!wanted.entry_ips.empty()) {
      if (entry.size() == before)
        return fail(Code::kFailedPrecondition, "{}: cluster {}: entry has no {} address",
                    wanted.place, wanted.name, to_string(family));
      continue;
    }
    std::vector<std::uint32_t> indices = wanted.entry_nodes;
    if (indices.empty())
      for (std::uint32_t i = 0; i < std::min(kDefaultEntryNodes, wanted.nodes); ++i)
        indices.push_back(i);
    for (std::uint32_t index : indices) {
      TRY(ip, node_address(planned, family, index));
      entry.push_back(ip);
    }
  }
  for (Ip ip : wanted.entry_ips)
    if (!has_family(wanted.families, ip.family()))
      return fail(Code::kFailedPrecondition,
                  "{}: cluster {}: entry {} is of a family that the cluster does not have",
                  wanted.place, wanted.name, ip);
  return entry;
}

void sort_ranges(std::vector<PlannedRange>& ranges) {
  std::ranges::sort(ranges, {}, [](const PlannedRange& range) {
    return std::pair(range.prefix.family(), range.use);
  });
}

Result<Plan> search(const Fleet& fleet, const Plan* previous) {
  Plan plan;
  plan.fleet = fleet.name;
  for (const FleetRoot& root : fleet.roots) plan.roots.push_back(root.prefix);
  for (const FleetReserved& range : fleet.reserved)
    plan.reserved.push_back({range.prefix, range.note});
  for (const FleetCluster& cluster : fleet.clusters) {
    PlannedCluster planned;
    planned.name = cluster.name;
    planned.id = cluster.id;
    planned.region = cluster.region;
    const FleetRegion* region = find_region(fleet, cluster.region);
    if (region == nullptr)
      return fail(Code::kFailedPrecondition, "{}: cluster {}: there is no region '{}'",
                  cluster.place, cluster.name, cluster.region);
    planned.cloud = region->cloud;
    planned.nodes = cluster.nodes;
    planned.pods_per_node = cluster.pods_per_node;
    plan.clusters.push_back(std::move(planned));
  }
  for (Family family : fleet.families) {
    TRY(assignments, FamilyPlanner(fleet, family, previous).run());
    for (const Assignment& each : assignments)
      (each.cluster == kNoCluster ? plan.clusterset : plan.clusters[each.cluster].ranges)
          .push_back(each.range);
  }
  sort_ranges(plan.clusterset);
  for (std::size_t i = 0; i < fleet.clusters.size(); ++i) {
    sort_ranges(plan.clusters[i].ranges);
    TRY(entry, entry_of(fleet.clusters[i], plan.clusters[i]));
    plan.clusters[i].entry = std::move(entry);
  }
  std::ranges::sort(plan.clusters, {}, &PlannedCluster::name);
  return plan;
}

}  // namespace

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
  auto plan = search(fleet, previous);
  if (!plan) {
    Error error = std::move(plan).error();
    if (error.code == Code::kResourceExhausted && previous != nullptr && search(fleet, nullptr))
      error.what +=
          "; it would fit if clusters that have addresses already were given others "
          "(a plan from nothing)";
    return std::unexpected(std::move(error));
  }
  if (auto proof = check_plan(*plan, fleet); !proof)
    return fail(Code::kInternal, "the planner made a wrong plan: {}", proof.error().what);
  return plan;
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
