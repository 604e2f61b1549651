// Cilium: values for its Helm chart. Pods of other clusters are reached without masquerading, which
// takes one prefix per family that covers the fleet (ipv4NativeRoutingCIDR). Where such a prefix
// would lie outside the plan's address space or cover something reserved, the exact prefixes are
// given to the ip-masq-agent instead. Limits: Cilium's documentation of cluster mesh.
#include <algorithm>
#include <optional>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

// Cilium 1.15 and newer: 255, or 511 as a choice for the whole mesh.
constexpr std::uint32_t kMostClusters = 511;
constexpr std::uint32_t kUsualClusters = 255;

std::optional<Prefix> native_cover(const Plan& plan, Family family) {
  std::optional<Prefix> cover;
  for (const PlannedCluster& cluster : plan.clusters)
    for (const Prefix& prefix : of_family(routed_ranges(cluster), family)) {
      if (!cover) cover = prefix;
      while (!cover->contains(prefix)) cover = Prefix(cover->base(), cover->length() - 1);
    }
  if (!cover) return cover;
  bool planned =
      std::ranges::any_of(plan.roots, [&](const Prefix& root) { return root.contains(*cover); });
  bool reserved = std::ranges::any_of(
      plan.reserved, [&](const PlannedReserve& range) { return range.prefix.overlaps(*cover); });
  return planned && !reserved ? cover : std::nullopt;
}

std::string pools(const PlannedCluster& cluster) {
  std::string text = "ipam:\n  mode: cluster-pool\n  operator:\n";
  for (Family family : {Family::kV4, Family::kV6}) {
    std::string list;
    int length = 0;
    for (const PlannedRange& range : cluster.ranges) {
      if (range.use != BlockUse::kPod || range.prefix.family() != family) continue;
      list += fmt::format("      - \"{}\"\n", range.prefix);
      length = range.node_prefix_length;
    }
    if (list.empty()) continue;
    std::string_view name = to_string(family);
    text += fmt::format("    clusterPool{}PodCIDRList:\n{}", name, list);
    text += fmt::format("    clusterPool{}MaskSize: {}\n", name, length);
  }
  return text;
}

// Pods with addresses of the cloud's network: Cilium's operator asks the cloud for them.
Result<std::string> cloud_pools(const PlannedCluster& cluster) {
  if (cluster.cloud == Cloud::kAws)
    return fmt::format(
        "ipam:\n  mode: eni\neni:\n  enabled: true\n  awsEnablePrefixDelegation: {}\n",
        cluster.pod_addresses == PodAddresses::kUnderlayPrefixes);
  if (cluster.cloud == Cloud::kAzure)
    return std::string("ipam:\n  mode: azure\nazure:\n  enabled: true\n");
  return fail(
      Code::kFailedPrecondition,
      "cluster {}: its pods take addresses of the underlay, which Cilium assigns on aws and "
      "azure alone",
      cluster.name);
}

std::string masquerading(const Plan& plan, const PlannedCluster& cluster) {
  std::string native;
  std::string exact;
  bool covered = true;
  for (Family family : {Family::kV4, Family::kV6}) {
    if (pod_sources(cluster, family).empty()) continue;
    std::optional<Prefix> cover = native_cover(plan, family);
    covered = covered && cover;
    if (cover) native += fmt::format("{}NativeRoutingCIDR: \"{}\"\n", lower(family), *cover);
    for (const RegionSummary& summary : region_summaries(plan))
      if (summary.family == family)
        for (const Prefix& prefix : summary.prefixes)
          exact += fmt::format("      - \"{}\"\n", prefix);
  }
  if (covered) return native;
  return "bpf:\n  masquerade: true\nipMasqAgent:\n  enabled: true\n  config:\n"
         "    nonMasqueradeCIDRs:\n" +
         exact;
}

}  // namespace

Result<std::string> cilium(const Job& job) {
  const PlannedCluster& cluster = *job.cluster;
  std::uint32_t most = kUsualClusters;
  for (const PlannedCluster& other : job.plan.clusters)
    if (other.id > most) most = kMostClusters;
  if (cluster.id == 0 || cluster.id > kMostClusters)
    return fail(Code::kFailedPrecondition, "cluster {} has id {}; Cilium needs one from 1 to {}",
                cluster.name, cluster.id, kMostClusters);
  std::string text = heading(job, "cilium");
  text += fmt::format(
      "cluster:\n  name: \"{}\"\n  id: {}\n"
      "clustermesh:\n  maxConnectedClusters: {}\n",
      cluster.name, cluster.id, most);
  for (Family family : {Family::kV4, Family::kV6})
    text +=
        fmt::format("{}:\n  enabled: {}\n", lower(family), !pod_sources(cluster, family).empty());
  const bool own_range = cluster.pod_addresses == PodAddresses::kPodRange;
  // Nodes of one network reach each other's pods directly, others through the router.
  text += fmt::format("routingMode: native\nautoDirectNodeRoutes: {}\n", own_range);
  if (own_range && cluster.subnets.size() > 1) text += "directRoutingSkipUnreachable: true\n";
  if (own_range) return text + pools(cluster) + masquerading(job.plan, cluster);
  TRY(cloud, cloud_pools(cluster));
  return text + cloud + masquerading(job.plan, cluster);
}

}  // namespace tombolo::exports
