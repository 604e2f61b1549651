// Sizes that follow from the rules of clouds and of Kubernetes (providers.cpp), and whether ranges
// that exist keep to them.
#include <bit>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

std::unexpected<Error> refuse(const FleetCluster& cluster, std::string_view what) {
  return fail(Code::kFailedPrecondition, "{}: cluster {}: {}", cluster.place, cluster.name, what);
}

int node_host_bits(const FleetCluster& cluster, const CloudRules& rules) {
  std::uint32_t pods = cluster.pods_per_node * rules.node_block_factor;
  return bits_for(std::max(pods, cluster.pods_per_node + kubernetes_rules().node_block_own));
}

Result<RangeSize> underlay_size(const FleetCluster& cluster, const CloudRules& rules,
                                Family family) {
  const std::uint32_t nodes = planned_count(cluster.nodes, cluster.growth_percent);
  if (rules.pod_prefix_length == 0 && cluster.pod_addresses == PodAddresses::kUnderlayPrefixes)
    return refuse(cluster, fmt::format("{} gives nodes no prefixes for pods", rules.name));
  if (family == Family::kV6) {
    if (is_divided(cluster)) return RangeSize{divided_length(cluster, rules, family, nodes), 0};
    return RangeSize{64, 0};  // SLAAC, and every cloud's subnet size
  }
  int length = 32 - bits_for(underlay_addresses(nodes, load_of(cluster, rules), rules));
  if (is_divided(cluster)) length = divided_length(cluster, rules, family, nodes);
  if (length < rules.underlay_shortest)
    return refuse(
        cluster, fmt::format("{} nodes{} need an underlay of /{}, but {} allows no larger than /{}",
                             nodes, load_of(cluster, rules).pods > 0 ? " with their pods" : "",
                             length, rules.name, rules.underlay_shortest));
  return RangeSize{std::min(length, rules.underlay_longest), 0};
}

Result<RangeSize> pod_size(const FleetCluster& cluster, const CloudRules& rules, Family family,
                           int node_prefix_length) {
  std::uint32_t nodes = planned_count(cluster.nodes, cluster.growth_percent);
  int node_bits = bits_for(nodes);
  if (node_bits > kubernetes_rules().node_block_bits)
    return refuse(cluster,
                  fmt::format("{} nodes: Kubernetes allows at most {} node blocks in a pod range",
                              nodes, 1U << kubernetes_rules().node_block_bits));
  int node_length = node_prefix_length;
  if (node_length == 0)
    node_length = family == Family::kV6 ? kubernetes_rules().node_prefix_length_v6
                                        : 32 - node_host_bits(cluster, rules);
  if (node_length - node_bits < 1)
    return refuse(cluster, fmt::format("{} nodes with {} pods each do not fit into {}", nodes,
                                       cluster.pods_per_node, to_string(family)));
  return RangeSize{node_length - node_bits, node_length};
}

Result<RangeSize> service_size(const FleetCluster& cluster, Family family) {
  std::uint32_t services = planned_count(cluster.services, cluster.growth_percent);
  int bits = bits_for(std::uint64_t{services} + kubernetes_rules().service_own);
  if (family == Family::kV6) bits = std::max(bits, kubernetes_rules().service_host_bits_v6);
  if (bits > kubernetes_rules().service_host_bits)
    return refuse(cluster, fmt::format("{} services need {} host bits; Kubernetes allows {} in a "
                                       "service range",
                                       services, bits, kubernetes_rules().service_host_bits));
  return RangeSize{bits_of(family) - bits, 0};
}

// Ranges of single addresses: an IPv6 one is no smaller than a service range.
Result<RangeSize> small_size(const FleetCluster& cluster, std::uint64_t addresses, Family family) {
  int bits = bits_for(addresses);
  if (family == Family::kV6) bits = std::max(bits, kubernetes_rules().service_host_bits_v6);
  if (bits >= bits_of(family))
    return refuse(cluster,
                  fmt::format("{} addresses do not fit into {}", addresses, to_string(family)));
  return RangeSize{bits_of(family) - bits, 0};
}

std::uint64_t load_balancer_addresses(const FleetCluster& cluster) {
  return std::uint64_t{planned_count(cluster.load_balancer_services, cluster.growth_percent)} +
         kubernetes_rules().load_balancer_own;
}

std::uint64_t tunnel_addresses(const FleetCluster& cluster) {
  return std::uint64_t{planned_count(cluster.nodes, cluster.growth_percent)} *
         std::max(cluster.tunnels_per_node, 1U);
}

}  // namespace

bool wants(const FleetCluster& cluster, BlockUse use, Family family) {
  if (!has_family(cluster.families, family)) return false;
  for (const GivenRange& range : cluster.given)
    if (range.use == use && range.prefix.family() == family) return true;
  switch (use) {
    case BlockUse::kUnderlay:
    case BlockUse::kService:
      return true;
    case BlockUse::kPod:
      return cluster.pod_addresses == PodAddresses::kPodRange;
    case BlockUse::kLoadBalancer:
      return cluster.load_balancer_services > 0;
    case BlockUse::kTunnel:
      return cluster.tunnels_per_node > 0;
    case BlockUse::kClusterset:
      break;
  }
  return false;
}

std::vector<Forbidden> forbidden_ranges(const Fleet& fleet) {
  std::vector<Forbidden> result;
  for (const ForbiddenRange& range : all_forbidden()) {
    bool any = false;
    bool all = !fleet.regions.empty();
    for (const FleetRegion& region : fleet.regions) {
      any = any || !range.only_with || region.cloud == *range.only_with;
      all = all && range.unless_all && region.cloud == *range.unless_all;
    }
    if (any && !all) result.push_back({range.prefix, range.why});
  }
  return result;
}

std::uint32_t planned_count(std::uint32_t count, std::uint32_t growth_percent) {
  return static_cast<std::uint32_t>((std::uint64_t{count} * growth_percent + 99) / 100);
}

int bits_for(std::uint64_t count) {
  return count <= 1 ? 0 : static_cast<int>(std::bit_width(count - 1));
}

const FleetRegion* find_region(const Fleet& fleet, std::string_view name) {
  for (const FleetRegion& region : fleet.regions)
    if (region.name == name) return &region;
  return nullptr;
}

bool has_family(const std::vector<Family>& families, Family family) {
  for (Family each : families)
    if (each == family) return true;
  return false;
}

Result<RangeSize> size_of(const Fleet& fleet, const FleetCluster& cluster, BlockUse use,
                          Family family, int node_prefix_length) {
  const FleetRegion* region = find_region(fleet, cluster.region);
  if (region == nullptr)
    return refuse(cluster, fmt::format("there is no region '{}'", cluster.region));
  const CloudRules& rules = rules_of(region->cloud);
  switch (use) {
    case BlockUse::kUnderlay:
      return underlay_size(cluster, rules, family);
    case BlockUse::kPod:
      return pod_size(cluster, rules, family, node_prefix_length);
    case BlockUse::kService:
      return service_size(cluster, family);
    case BlockUse::kLoadBalancer:
      return small_size(cluster, load_balancer_addresses(cluster), family);
    case BlockUse::kTunnel:
      return small_size(cluster, tunnel_addresses(cluster), family);
    case BlockUse::kClusterset:
      break;
  }
  return fail(Code::kInternal, "no cluster has a {} range", to_string(use));
}

RangeSize clusterset_size(std::uint32_t services, Family family) {
  int bits = bits_for(std::uint64_t{services} + kubernetes_rules().service_own);
  if (family == Family::kV6) bits = std::max(bits, kubernetes_rules().service_host_bits_v6);
  return {bits_of(family) - bits, 0};
}

Result<void> check_given(const Fleet& fleet, const FleetCluster& cluster, const GivenRange& given) {
  FleetCluster now = cluster;
  now.growth_percent = 100;
  int node_length = given.node_prefix_length;
  Family family = given.prefix.family();
  TRY(size, size_of(fleet, now, given.use, family, node_length));
  auto too_small = [&](std::string_view need) {
    return fail(Code::kFailedPrecondition, "{}: cluster {}: the given {} range {} is too small: {}",
                given.place, cluster.name, to_string(given.use), given.prefix, need);
  };
  const CloudRules& rules = rules_of(find_region(fleet, cluster.region)->cloud);
  if (given.use == BlockUse::kUnderlay) {
    // An IPv6 underlay need not be a /64 where an operator has chosen otherwise.
    int bits =
        family == Family::kV6
            ? bits_for(std::uint64_t{cluster.nodes} + rules.reserved_first + rules.reserved_last)
            : bits_for(underlay_addresses(cluster.nodes, load_of(cluster, rules), rules));
    if (given.prefix.host_bits() < bits)
      return too_small(fmt::format("{} nodes need a /{}", cluster.nodes, bits_of(family) - bits));
    if (family == Family::kV4 && (given.prefix.length() < rules.underlay_shortest ||
                                  given.prefix.length() > rules.underlay_longest))
      return fail(Code::kFailedPrecondition,
                  "{}: cluster {}: the given underlay range {}: {} allows /{} to /{}", given.place,
                  cluster.name, given.prefix, rules.name, rules.underlay_shortest,
                  rules.underlay_longest);
    return {};
  }
  if (given.use == BlockUse::kLoadBalancer || given.use == BlockUse::kTunnel) {
    const bool tunnel = given.use == BlockUse::kTunnel;
    int bits = bits_for(tunnel ? tunnel_addresses(now) : load_balancer_addresses(now));
    if (given.prefix.host_bits() < bits)
      return too_small(fmt::format("{} {} need a /{}",
                                   tunnel ? cluster.nodes : cluster.load_balancer_services,
                                   tunnel ? "nodes" : "services", bits_of(family) - bits));
    return {};
  }
  if (given.use == BlockUse::kService) {
    int bits = bits_for(std::uint64_t{cluster.services} + kubernetes_rules().service_own);
    if (given.prefix.host_bits() < bits)
      return too_small(
          fmt::format("{} services need a /{}", cluster.services, bits_of(family) - bits));
    if (given.prefix.host_bits() > kubernetes_rules().service_host_bits)
      return fail(Code::kFailedPrecondition,
                  "{}: cluster {}: the given service range {}: Kubernetes allows {} host bits, "
                  "/{} or longer",
                  given.place, cluster.name, given.prefix, kubernetes_rules().service_host_bits,
                  bits_of(family) - kubernetes_rules().service_host_bits);
    return {};
  }
  int block_bits = bits_of(family) - node_length;
  if (block_bits <
      bits_for(std::uint64_t{cluster.pods_per_node} + kubernetes_rules().node_block_own))
    return too_small(fmt::format("{} pods per node do not fit into a node's /{}",
                                 cluster.pods_per_node, node_length));
  if (given.prefix.length() > size.length)
    return too_small(fmt::format("{} nodes with a /{} each need a /{}", cluster.nodes, node_length,
                                 size.length));
  if (node_length - given.prefix.length() > kubernetes_rules().node_block_bits)
    return fail(Code::kFailedPrecondition,
                "{}: cluster {}: the given pod range {} with a /{} per node: Kubernetes allows "
                "at most {} bits between them",
                given.place, cluster.name, given.prefix, node_length,
                kubernetes_rules().node_block_bits);
  return {};
}

}  // namespace tombolo
