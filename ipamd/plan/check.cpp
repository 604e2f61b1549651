// The checker: says whether a plan is right for a fleet. Deliberately plain, with nothing of the
// planner but the rules' data: in order of their first addresses each range must end before the
// next begins, and all sizes are counted again.
#include <algorithm>
#include <unordered_map>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostViolations = 10;

class Violations {
 public:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    if (++count_ <= kMostViolations)
      text_ += fmt::format("{}{}", count_ == 1 ? "" : "; ",
                           fmt::format(format, std::forward<Args>(args)...));
  }
  Result<void> result() const {
    if (count_ == 0) return {};
    if (count_ <= kMostViolations) return fail(Code::kFailedPrecondition, "{}", text_);
    return fail(Code::kFailedPrecondition, "{}; and {} more", text_, count_ - kMostViolations);
  }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

struct Named {
  Prefix prefix;
  const PlannedCluster* cluster = nullptr;  // none: the clusterset's
  BlockUse use = BlockUse::kPod;
  bool reserved = false;
  std::string name() const {
    if (reserved) return "the reserved range";
    return cluster == nullptr ? "clusterset" : fmt::format("{}, {}", cluster->name, to_string(use));
  }
};

// Of ranges in order of their first addresses, one that overlaps an earlier one overlaps the one
// that reaches furthest, too. Reserved ranges may overlap each other.
void compare_neighbours(const Plan& plan, Violations& violations) {
  std::vector<Named> all;
  for (const PlannedRange& range : plan.clusterset)
    all.push_back({range.prefix, nullptr, range.use});
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges)
      all.push_back({range.prefix, &cluster, range.use});
  for (const PlannedReserve& range : plan.reserved)
    all.push_back({range.prefix, nullptr, {}, true});
  auto key = [](const Named& each) { return std::pair(each.prefix.first(), each.reserved); };
  std::ranges::sort(all, [&](const Named& a, const Named& b) { return key(a) < key(b); });
  const Named* planned = nullptr;  // those that reach furthest so far
  const Named* reserved = nullptr;
  for (const Named& each : all) {
    for (const Named* before : {planned, reserved}) {
      if (before == nullptr || before->prefix.last() < each.prefix.first()) continue;
      if (before->reserved && each.reserved) continue;
      violations.add("{} {} overlaps {} {}", each.name(), each.prefix, before->name(),
                     before->prefix);
    }
    const Named*& furthest = each.reserved ? reserved : planned;
    if (furthest == nullptr || furthest->prefix.last() < each.prefix.last()) furthest = &each;
  }
}

const GivenRange* given_for(const std::vector<GivenRange>& given, const PlannedRange& range) {
  for (const GivenRange& each : given)
    if (each.use == range.use && each.prefix.family() == range.prefix.family()) return &each;
  return nullptr;
}

// Inside a root that is meant for it, clear of forbidden ranges; or exactly as given.
void check_place(const Fleet& fleet, const std::vector<Forbidden>& never,
                 const std::vector<GivenRange>& given, std::string_view name,
                 const std::string& region, const PlannedRange& range, Violations& violations) {
  for (const Forbidden& forbidden : never)
    if (!(range.prefix.last() < forbidden.prefix.first() ||
          forbidden.prefix.last() < range.prefix.first()))
      violations.add("{} {} overlaps {}: {}", name, range.prefix, forbidden.prefix,
                     forbidden.reason);
  if (const GivenRange* exact = given_for(given, range)) {
    if (exact->prefix != range.prefix || exact->node_prefix_length != range.node_prefix_length)
      violations.add("{} {} is not the given {}", name, range.prefix, exact->prefix);
    return;
  }
  for (const FleetRoot& root : fleet.roots) {
    bool use_ok = root.uses.empty();
    for (BlockUse use : root.uses) use_ok = use_ok || use == range.use;
    bool region_ok = root.regions.empty();
    for (const std::string& each : root.regions) region_ok = region_ok || each == region;
    if (use_ok && region_ok && root.prefix.family() == range.prefix.family() &&
        root.prefix.first() <= range.prefix.first() && range.prefix.last() <= root.prefix.last())
      return;
  }
  violations.add("{} {} lies in no address space meant for it", name, range.prefix);
}

// Enough addresses, counted: growth is asked of what the planner assigned, not of what was given.
void check_size(const FleetCluster& cluster, const PlannedCluster& planned,
                const PlannedRange& range, bool given, Violations& violations) {
  std::uint64_t growth = given ? 100 : cluster.growth_percent;
  auto grown = [&](std::uint64_t count) { return (count * growth + 99) / 100; };
  uint128 size = range.prefix.size();
  const CloudRules& rules = rules_of(planned.cloud);
  if (range.use == BlockUse::kUnderlay) {
    std::string divided = wrong_subnets(cluster, planned, range, grown(cluster.nodes));
    if (!divided.empty())
      violations.add("{}, underlay {}: {}", cluster.name, range.prefix, divided);
    if (planned.subnets.empty() && !holds(range.prefix, grown(cluster.nodes), planned))
      violations.add("{}, underlay {}: too small for {} nodes", cluster.name, range.prefix,
                     grown(cluster.nodes));
    bool v4 = range.prefix.family() == Family::kV4;
    if (v4 && (range.prefix.length() < rules.underlay_shortest ||
               range.prefix.length() > rules.underlay_longest))
      violations.add("{}, underlay {}: {} allows /{} to /{}", cluster.name, range.prefix,
                     rules.name, rules.underlay_shortest, rules.underlay_longest);
  } else if (range.use == BlockUse::kService) {
    if (size < grown(cluster.services) + kubernetes_rules().service_own)
      violations.add("{}, service {}: too small for {} services", cluster.name, range.prefix,
                     grown(cluster.services));
    if (range.prefix.host_bits() > kubernetes_rules().service_host_bits)
      violations.add("{}, service {}: larger than Kubernetes allows", cluster.name, range.prefix);
  } else if (range.use == BlockUse::kLoadBalancer) {
    if (size < grown(cluster.load_balancer_services) + kubernetes_rules().load_balancer_own)
      violations.add("{}, load-balancer {}: too small for {} services", cluster.name, range.prefix,
                     grown(cluster.load_balancer_services));
  } else if (range.use == BlockUse::kTunnel) {
    if (size < grown(cluster.nodes) * cluster.tunnels_per_node)
      violations.add("{}, tunnel {}: too small for {} nodes", cluster.name, range.prefix,
                     grown(cluster.nodes));
  } else {
    int node_bits = range.node_prefix_length - range.prefix.length();
    if (node_bits < 0 || node_bits > kubernetes_rules().node_block_bits ||
        range.node_prefix_length > bits_of(range.prefix.family())) {
      violations.add("{}, pod {}: a /{} per node is not possible", cluster.name, range.prefix,
                     range.node_prefix_length);
      return;
    }
    if ((std::uint64_t{1} << node_bits) < grown(cluster.nodes))
      violations.add("{}, pod {}: too small for {} nodes with a /{} each", cluster.name,
                     range.prefix, grown(cluster.nodes), range.node_prefix_length);
    if (Prefix(range.prefix.base(), range.node_prefix_length).size() <
        cluster.pods_per_node + kubernetes_rules().node_block_own)
      violations.add("{}, pod {}: a node's /{} is too small for {} pods", cluster.name,
                     range.prefix, range.node_prefix_length, cluster.pods_per_node);
  }
}

void check_entry(const PlannedCluster& planned, const FleetCluster& cluster,
                 Violations& violations) {
  for (Family family : cluster.families) {
    bool any = false;
    for (Ip ip : planned.entry) {
      if (ip.family() != family) continue;
      any = true;
      const PlannedRange* underlay = find_range(planned, BlockUse::kUnderlay, family);
      if (underlay == nullptr || ip <= underlay->prefix.first() || underlay->prefix.last() < ip)
        violations.add("{}: the entry {} is not in its underlay", planned.name, ip);
    }
    if (!any) violations.add("{}: no {} entry", planned.name, to_string(family));
  }
}

bool has_range(const FleetCluster& cluster, BlockUse use, Family family) {
  for (const GivenRange& given : cluster.given)
    if (given.use == use && given.prefix.family() == family) return true;
  if (use == BlockUse::kLoadBalancer) return cluster.load_balancer_services > 0;
  if (use == BlockUse::kTunnel) return cluster.tunnels_per_node > 0;
  if (use == BlockUse::kPod) return cluster.pod_addresses == PodAddresses::kPodRange;
  return true;
}

void check_cluster(const Fleet& fleet, const std::vector<Forbidden>& never,
                   const FleetCluster& cluster, const PlannedCluster& planned,
                   Violations& violations) {
  const FleetRegion* region = find_region(fleet, cluster.region);
  if (planned.id != cluster.id || planned.region != cluster.region || region == nullptr ||
      planned.cloud != region->cloud || planned.nodes != cluster.nodes ||
      planned.pods_per_node != cluster.pods_per_node ||
      planned.pod_addresses != cluster.pod_addresses)
    violations.add("{}: id, region, nodes or pods per node are not the fleet's", cluster.name);
  std::size_t needed = 0;
  for (Family family : cluster.families)
    for (BlockUse use : kClusterUses) needed += has_range(cluster, use, family) ? 1 : 0;
  if (planned.ranges.size() != needed)
    violations.add("{}: {} ranges where {} are needed", cluster.name, planned.ranges.size(),
                   needed);
  for (Family family : cluster.families)
    for (BlockUse use : kClusterUses)
      if (has_range(cluster, use, family) && find_range(planned, use, family) == nullptr)
        violations.add("{}: no {} {} range", cluster.name, to_string(family), to_string(use));
  for (const PlannedRange& range : planned.ranges) {
    std::string name = fmt::format("{}, {}", cluster.name, to_string(range.use));
    check_place(fleet, never, cluster.given, name, cluster.region, range, violations);
    check_size(cluster, planned, range, given_for(cluster.given, range) != nullptr, violations);
  }
  for (const Subnet& subnet : planned.subnets)
    if (find_range(planned, BlockUse::kUnderlay, subnet.prefix.family()) == nullptr)
      violations.add("{}: the subnet {} is in no underlay", cluster.name, subnet.prefix);
  check_entry(planned, cluster, violations);
}

}  // namespace

Result<void> check_disjoint(const Plan& plan) {
  Violations violations;
  compare_neighbours(plan, violations);
  return violations.result();
}

Result<void> check_planned_cluster(const Fleet& fleet, const FleetCluster& cluster,
                                   const PlannedCluster& planned) {
  Violations violations;
  check_cluster(fleet, forbidden_ranges(fleet), cluster, planned, violations);
  return violations.result();
}

Result<void> check_plan(const Plan& plan, const Fleet& fleet) {
  Violations violations;
  compare_neighbours(plan, violations);
  const std::vector<Forbidden> never = forbidden_ranges(fleet);
  bool same_reserves = plan.reserved.size() == fleet.reserved.size();
  for (std::size_t i = 0; same_reserves && i < plan.reserved.size(); ++i)
    same_reserves = plan.reserved[i].prefix == fleet.reserved[i].prefix;
  if (!same_reserves) violations.add("the plan's reserved ranges are not the fleet's");
  if (plan.clusterset.size() != fleet.families.size())
    violations.add("{} clusterset ranges where {} are needed", plan.clusterset.size(),
                   fleet.families.size());
  for (const PlannedRange& range : plan.clusterset) {
    check_place(fleet, never, fleet.clusterset_given, "clusterset", "", range, violations);
    if (range.prefix.size() < uint128{fleet.clusterset_services} + kubernetes_rules().service_own)
      violations.add("clusterset {}: too small for {} services", range.prefix,
                     fleet.clusterset_services);
  }
  if (plan.clusters.size() != fleet.clusters.size())
    violations.add("{} clusters where {} are needed", plan.clusters.size(), fleet.clusters.size());
  std::unordered_map<std::string_view, const PlannedCluster*> by_name;
  for (const PlannedCluster& cluster : plan.clusters) by_name.emplace(cluster.name, &cluster);
  for (const FleetCluster& cluster : fleet.clusters) {
    auto planned = by_name.find(cluster.name);
    if (planned == by_name.end())
      violations.add("cluster {} is not planned", cluster.name);
    else
      check_cluster(fleet, never, cluster, *planned->second, violations);
  }
  return violations.result();
}

}  // namespace tombolo
