// Rules of clouds and of Kubernetes as data, and the sizes that follow from them. Sources: the
// clouds' own documentation of virtual networks and managed Kubernetes (AWS VPC CIDR blocks and
// subnet sizing; Azure virtual network FAQ and AKS networking prerequisites; GCP VPC subnets and
// GKE flexible pod CIDR), Kubernetes pkg/controller/nodeipam/ipam/cidrset and the kube-apiserver's
// flag checks, IANA's special-purpose registries.
#include <bit>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr std::array<CloudRules, 4> kClouds{{
    {"aws", 16, 28, 4, 1, 1},
    {"azure", 8, 29, 4, 1, 1},
    // GKE gives a node a block of at least twice its pods.
    {"gcp", 8, 29, 2, 2, 2},
    {"on-prem", 1, 30, 2, 1, 1},
}};

constexpr std::array<ForbiddenRange, 15> kForbidden{{
    {"0.0.0.0/8", "this network (RFC 791)", {}, {}},
    {"127.0.0.0/8", "loopback", {}, {}},
    {"169.254.0.0/16", "link-local", {}, {}},
    {"172.17.0.0/16", "Docker's default bridge, and used by AWS services", {}, {}},
    {"192.0.2.0/24", "AKS uses it inside its clusters", Cloud::kAzure, {}},
    {"172.30.0.0/16", "AKS uses it inside its clusters", Cloud::kAzure, {}},
    {"172.31.0.0/16", "AKS uses it inside its clusters", Cloud::kAzure, {}},
    {"224.0.0.0/4", "multicast", {}, {}},
    {"240.0.0.0/4", "class E; only GCP routes it", {}, Cloud::kGcp},
    {"255.255.255.255/32", "broadcast", {}, {}},
    {"::/8", "loopback, unspecified and IPv4-mapped addresses", {}, {}},
    {"64:ff9b::/96", "NAT64 (RFC 6052)", {}, {}},
    {"fd00:ec2::/32", "AWS instance services", Cloud::kAws, {}},
    {"fe80::/10", "link-local", {}, {}},
    {"ff00::/8", "multicast", {}, {}},
}};

std::unexpected<Error> refuse(const FleetCluster& cluster, std::string_view what) {
  return fail(Code::kFailedPrecondition, "{}: cluster {}: {}", cluster.place, cluster.name, what);
}

int node_host_bits(const FleetCluster& cluster, const CloudRules& rules) {
  std::uint32_t pods = cluster.pods_per_node * rules.node_block_factor;
  return bits_for(std::max(pods, cluster.pods_per_node + kNodeBlockOwn));
}

Result<RangeSize> underlay_size(const FleetCluster& cluster, const CloudRules& rules,
                                Family family) {
  if (family == Family::kV6) return RangeSize{64, 0};  // SLAAC, and every cloud's subnet size
  std::uint32_t nodes = planned_count(cluster.nodes, cluster.growth_percent);
  int length = 32 - bits_for(std::uint64_t{nodes} + rules.reserved_first + rules.reserved_last);
  if (length < rules.underlay_shortest)
    return refuse(cluster,
                  fmt::format("{} nodes need an underlay of /{}, but {} allows no larger than /{}",
                              nodes, length, rules.name, rules.underlay_shortest));
  return RangeSize{std::min(length, rules.underlay_longest), 0};
}

Result<RangeSize> pod_size(const FleetCluster& cluster, const CloudRules& rules, Family family,
                           int node_prefix_length) {
  std::uint32_t nodes = planned_count(cluster.nodes, cluster.growth_percent);
  int node_bits = bits_for(nodes);
  if (node_bits > kMostNodeBlockBits)
    return refuse(cluster,
                  fmt::format("{} nodes: Kubernetes allows at most {} node blocks in a pod range",
                              nodes, 1U << kMostNodeBlockBits));
  int node_length = node_prefix_length;
  if (node_length == 0)
    node_length = family == Family::kV6 ? kNodePrefixLengthV6 : 32 - node_host_bits(cluster, rules);
  if (node_length - node_bits < 1)
    return refuse(cluster, fmt::format("{} nodes with {} pods each do not fit into {}", nodes,
                                       cluster.pods_per_node, to_string(family)));
  return RangeSize{node_length - node_bits, node_length};
}

Result<RangeSize> service_size(const FleetCluster& cluster, Family family) {
  std::uint32_t services = planned_count(cluster.services, cluster.growth_percent);
  int bits = bits_for(std::uint64_t{services} + kServiceOwn);
  if (family == Family::kV6) bits = std::max(bits, kServiceHostBitsV6);
  if (bits > kMostServiceHostBits)
    return refuse(cluster, fmt::format("{} services need {} host bits; Kubernetes allows {} in a "
                                       "service range",
                                       services, bits, kMostServiceHostBits));
  return RangeSize{bits_of(family) - bits, 0};
}

}  // namespace

std::string_view to_string(Cloud cloud) {
  return rules_of(cloud).name;
}

const CloudRules& rules_of(Cloud cloud) {
  return kClouds.at(static_cast<std::size_t>(cloud));
}

std::vector<Forbidden> forbidden_ranges(const Fleet& fleet) {
  std::vector<Forbidden> result;
  for (const ForbiddenRange& range : kForbidden) {
    bool any = false;
    bool all = !fleet.regions.empty();
    for (const FleetRegion& region : fleet.regions) {
      any = any || !range.only_with || region.cloud == *range.only_with;
      all = all && range.not_if_all && region.cloud == *range.not_if_all;
    }
    auto prefix = Prefix::parse(range.cidr);
    ENSURE(prefix.has_value(), "{}", range.cidr);
    if (any && !all) result.push_back({*prefix, range.reason});
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
    case BlockUse::kClusterset:
      break;
  }
  return fail(Code::kInternal, "a clusterset range belongs to no cluster");
}

RangeSize clusterset_size(std::uint32_t services, Family family) {
  int bits = bits_for(std::uint64_t{services} + kServiceOwn);
  if (family == Family::kV6) bits = std::max(bits, kServiceHostBitsV6);
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
    int bits = bits_for(std::uint64_t{cluster.nodes} + rules.reserved_first + rules.reserved_last);
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
  if (given.use == BlockUse::kService) {
    int bits = bits_for(std::uint64_t{cluster.services} + kServiceOwn);
    if (given.prefix.host_bits() < bits)
      return too_small(
          fmt::format("{} services need a /{}", cluster.services, bits_of(family) - bits));
    if (given.prefix.host_bits() > kMostServiceHostBits)
      return fail(Code::kFailedPrecondition,
                  "{}: cluster {}: the given service range {}: Kubernetes allows {} host bits, "
                  "/{} or longer",
                  given.place, cluster.name, given.prefix, kMostServiceHostBits,
                  bits_of(family) - kMostServiceHostBits);
    return {};
  }
  int block_bits = bits_of(family) - node_length;
  if (block_bits < bits_for(std::uint64_t{cluster.pods_per_node} + kNodeBlockOwn))
    return too_small(fmt::format("{} pods per node do not fit into a node's /{}",
                                 cluster.pods_per_node, node_length));
  if (given.prefix.length() > size.length)
    return too_small(fmt::format("{} nodes with a /{} each need a /{}", cluster.nodes, node_length,
                                 size.length));
  if (node_length - given.prefix.length() > kMostNodeBlockBits)
    return fail(Code::kFailedPrecondition,
                "{}: cluster {}: the given pod range {} with a /{} per node: Kubernetes allows "
                "at most {} bits between them",
                given.place, cluster.name, given.prefix, node_length, kMostNodeBlockBits);
  return {};
}

}  // namespace tombolo
