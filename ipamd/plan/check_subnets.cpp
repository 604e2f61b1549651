// The checker's part for subnets: each in its underlay, none over another, sizes that the cloud
// allows, and room in every zone for its part of the nodes, counted again without the planner's
// arithmetic.
#include <algorithm>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

// The nodes that a subnet has room for, one after the other.
std::uint64_t count_nodes(const Prefix& subnet, std::uint64_t enough,
                          const PlannedCluster& planned) {
  const CloudRules& rules = rules_of(planned.cloud);
  const uint128 size = subnet.size();
  if (size <= rules.reserved_first + rules.reserved_last) return 0;
  const uint128 usable = size - rules.reserved_first - rules.reserved_last;
  if (subnet.family() == Family::kV6 || planned.pod_addresses == PodAddresses::kPodRange)
    return static_cast<std::uint64_t>(std::min<uint128>(usable, enough));
  if (planned.pod_addresses == PodAddresses::kUnderlay)
    return static_cast<std::uint64_t>(
        std::min<uint128>(usable / (1 + planned.pods_per_node), enough));
  const std::uint64_t piece = std::uint64_t{1} << (32 - rules.pod_prefix_length);
  std::uint64_t nodes = 0;
  while (nodes < enough) {
    // Pieces that hold an address of a node, of the cloud, or a pod.
    std::uint64_t heads = (rules.reserved_first + nodes + 1 + piece - 1) / piece;
    std::uint64_t tails = (rules.reserved_last + piece - 1) / piece;
    std::uint64_t pods = (nodes + 1) * ((planned.pods_per_node + piece - 1) / piece);
    if ((heads + tails + pods) * piece > size) break;
    ++nodes;
  }
  return nodes;
}

std::uint64_t hosts_of(const Prefix& subnet, const CloudRules& rules) {
  auto size = static_cast<std::uint64_t>(std::min(subnet.size(), uint128{1} << 32));
  std::uint64_t kept = std::uint64_t{rules.reserved_first} + rules.reserved_last;
  return size > kept ? size - kept : 0;
}

std::string wrong_shape(const std::vector<Prefix>& subnets, const Prefix& underlay,
                        const CloudRules& rules) {
  for (std::size_t i = 0; i < subnets.size(); ++i) {
    const Prefix& subnet = subnets[i];
    if (subnet.first() < underlay.first() || underlay.last() < subnet.last())
      return fmt::format("the subnet {} lies outside", subnet);
    if (i > 0 && !(subnets[i - 1].last() < subnet.first()))
      return fmt::format("the subnets {} and {} overlap", subnets[i - 1], subnet);
    bool v4 = subnet.family() == Family::kV4;
    if (v4 &&
        (subnet.length() < rules.underlay_shortest || subnet.length() > rules.underlay_longest))
      return fmt::format("the subnet {}: {} allows /{} to /{}", subnet, rules.name,
                         rules.underlay_shortest, rules.underlay_longest);
  }
  return {};
}

}  // namespace

bool holds(const Prefix& subnet, std::uint64_t nodes, const PlannedCluster& planned) {
  return count_nodes(subnet, nodes, planned) >= nodes;
}

std::string wrong_subnets(const FleetCluster& cluster, const PlannedCluster& planned,
                          const PlannedRange& underlay, std::uint64_t nodes) {
  const bool with_public = cluster.public_hosts > 0 || cluster.public_percent > 0;
  if (cluster.zones.empty() && cluster.private_hosts == 0 && !with_public)
    return planned.subnets.empty() ? "" : "has subnets that nobody asks for";
  const CloudRules& rules = rules_of(planned.cloud);
  std::vector<std::string> zones = cluster.zones;
  if (zones.empty() || !rules.zonal_subnets) zones = {""};
  std::vector<Prefix> all;
  for (const Subnet& subnet : planned.subnets) {
    if (subnet.prefix.family() != underlay.prefix.family()) continue;
    all.push_back(subnet.prefix);
    if (std::ranges::count(zones, subnet.zone) == 0 || (subnet.is_public && !with_public))
      return fmt::format("nobody asks for the {} {}", subnet_name(subnet), subnet.prefix);
  }
  std::ranges::sort(all);
  if (std::string wrong = wrong_shape(all, underlay.prefix, rules); !wrong.empty()) return wrong;
  for (std::size_t i = 0; i < zones.size(); ++i) {
    // The first node is in the first zone, the next in the next.
    std::uint64_t here = nodes / zones.size() + (i < nodes % zones.size() ? 1 : 0);
    std::uint64_t room = 0;
    std::uint64_t of_private = 0;
    std::uint64_t of_public = 0;
    for (const Subnet& subnet : planned.subnets) {
      if (subnet.prefix.family() != underlay.prefix.family() || subnet.zone != zones[i]) continue;
      (subnet.is_public ? of_public : of_private) += hosts_of(subnet.prefix, rules);
      if (!subnet.is_public) room += count_nodes(subnet.prefix, here, planned);
    }
    if (of_private == 0 || room < here || of_private < cluster.private_hosts)
      return fmt::format("zone '{}' has no room for {} nodes", zones[i], here);
    if ((with_public && of_public == 0) || of_public < cluster.public_hosts)
      return fmt::format("the public subnet of zone '{}' is too small", zones[i]);
  }
  return {};
}

}  // namespace tombolo
