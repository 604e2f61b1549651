// Which rule made a range other than its cluster alone would need: lines for people who wonder.
#include <map>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostNamed = 6;

using Reasons = std::map<std::string, std::vector<std::string>>;  // rule -> clusters

void add_reasons(const FleetCluster& cluster, const PlannedRange& range, Cloud cloud,
                 Reasons& reasons) {
  if (range.origin == RangeOrigin::kGiven) return;
  const CloudRules& rules = rules_of(cloud);
  const KubernetesRules& kubernetes = kubernetes_rules();
  const bool v4 = range.prefix.family() == Family::kV4;
  if (range.use == BlockUse::kUnderlay && v4) {
    std::uint64_t nodes = planned_count(cluster.nodes, cluster.growth_percent);
    if (is_divided(cluster) && rules.zonal_subnets)
      nodes /= std::max<std::size_t>(cluster.zones.size(), 1);
    int bits = bits_for(underlay_addresses(nodes, load_of(cluster, rules), rules));
    if (32 - bits > rules.underlay_longest)
      reasons[fmt::format("{} has no subnet smaller than /{}", rules.name, rules.underlay_longest)]
          .push_back(cluster.name);
  }
  if (range.use == BlockUse::kUnderlay && !v4 && is_divided(cluster) &&
      rules.network_longest_v6 > 0)
    reasons[fmt::format("{} divides IPv6 networks of /{} and, in steps of {}, larger ones",
                        rules.name, rules.network_longest_v6, rules.network_step_v6)]
        .push_back(cluster.name);
  if (range.use == BlockUse::kUnderlay && v4 && !cluster.zones.empty() && !rules.zonal_subnets)
    reasons[fmt::format("{} has subnets that span zones", rules.name)].push_back(cluster.name);
  if (range.use == BlockUse::kPod && v4 && rules.node_block_factor > 1 &&
      bits_for(cluster.pods_per_node * rules.node_block_factor) >
          bits_for(cluster.pods_per_node + kubernetes.node_block_own))
    reasons[fmt::format("{} gives a node a block of {} times its pods", rules.name,
                        rules.node_block_factor)]
        .push_back(cluster.name);
  if ((range.use == BlockUse::kLoadBalancer || range.use == BlockUse::kTunnel) && !v4 &&
      range.prefix.host_bits() == kubernetes.service_host_bits_v6)
    reasons[fmt::format("IPv6 {} ranges are /{} at least", to_string(range.use),
                        128 - kubernetes.service_host_bits_v6)]
        .push_back(cluster.name);
  if (range.use == BlockUse::kService && !v4 &&
      bits_for(std::uint64_t{planned_count(cluster.services, cluster.growth_percent)} +
               kubernetes.service_own) < kubernetes.service_host_bits_v6)
    reasons[fmt::format("IPv6 service ranges are /{} at least",
                        128 - kubernetes.service_host_bits_v6)]
        .push_back(cluster.name);
}

}  // namespace

std::vector<std::string> rule_lines(const Plan& plan, const Fleet& fleet) {
  Reasons reasons;
  std::map<std::string_view, const PlannedCluster*> planned;
  for (const PlannedCluster& cluster : plan.clusters) planned.emplace(cluster.name, &cluster);
  for (const FleetCluster& cluster : fleet.clusters) {
    auto found = planned.find(cluster.name);
    if (found == planned.end()) continue;
    for (const PlannedRange& range : found->second->ranges)
      add_reasons(cluster, range, found->second->cloud, reasons);
  }
  std::vector<std::string> lines;
  for (const auto& [rule, clusters] : reasons) {
    std::string line = fmt::format("rule: {}:", rule);
    for (std::size_t i = 0; i < clusters.size() && i < kMostNamed; ++i)
      line += fmt::format("{} {}", i == 0 ? "" : ",", clusters[i]);
    if (clusters.size() > kMostNamed)
      line += fmt::format(" and {} more", clusters.size() - kMostNamed);
    lines.push_back(std::move(line));
  }
  for (const Forbidden& range : forbidden_ranges(fleet))
    for (const FleetRoot& root : fleet.roots)
      if (root.prefix.overlaps(range.prefix))
        lines.push_back(fmt::format("rule: {} of {} is not assigned: {}", range.prefix, root.prefix,
                                    range.reason));
  return lines;
}

}  // namespace tombolo
