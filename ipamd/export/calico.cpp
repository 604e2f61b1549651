// Calico: an IPPool (projectcalico.org/v3) for each pod range of the cluster, and a disabled one
// for each range of other clusters: natOutgoing leaves alone what lies in any pool, and Calico
// assigns nothing from a disabled one. Pools may not overlap, so other regions stand as their
// summaries, clusters of the own region as their ranges.
#include <algorithm>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

// Calico's limits of blockSize: /20 to /32, /116 to /128; its default: /26, /122.
int block_size(const Prefix& pool, int wanted) {
  bool v4 = pool.family() == Family::kV4;
  int low = v4 ? 20 : 116;
  int high = v4 ? 32 : 128;
  return std::clamp(std::max(wanted, pool.length()), low, high);
}

int usual_block(Family family) {
  return family == Family::kV4 ? 26 : 122;
}

std::string pool_of(std::string_view name, const Prefix& prefix, int block, bool own) {
  return fmt::format(
      "---\n"
      "apiVersion: projectcalico.org/v3\n"
      "kind: IPPool\n"
      "metadata:\n"
      "  name: \"{}\"\n"
      "spec:\n"
      "  cidr: \"{}\"\n"
      "  blockSize: {}\n"
      "  ipipMode: Never\n"
      "  vxlanMode: Never\n"
      "  natOutgoing: {}\n"
      "  disabled: {}\n"
      "  nodeSelector: all()\n",
      name, prefix, block_size(prefix, block), own, !own);
}

}  // namespace

Result<std::string> calico(const Job& job) {
  const PlannedCluster& self = *job.cluster;
  if (self.pod_addresses != PodAddresses::kPodRange)
    return fail(Code::kFailedPrecondition,
                "cluster {}: its pods take addresses of the underlay, of which Calico assigns none",
                self.name);
  std::string text = heading(job, "calico");
  for (const PlannedRange& range : self.ranges)
    if (range.use == BlockUse::kPod)
      text += pool_of(fmt::format("tombolo-{}-pods-{}", self.name, lower(range.prefix.family())),
                      range.prefix, range.node_prefix_length, true);
  auto add_foreign = [&](std::string_view whose, const std::vector<Prefix>& prefixes) {
    for (std::size_t i = 0; i < prefixes.size(); ++i)
      text += pool_of(fmt::format("tombolo-{}-{}-{}", whose, lower(prefixes[i].family()), i + 1),
                      prefixes[i], usual_block(prefixes[i].family()), false);
  };
  for (const PlannedCluster& other : job.plan.clusters)
    if (&other != &self && other.region == self.region)
      add_foreign("cluster-" + other.name, routed_ranges(other));
  for (const RegionSummary& summary : region_summaries(job.plan))
    if (summary.region != self.region) add_foreign("region-" + summary.region, summary.prefixes);
  return text;
}

}  // namespace tombolo::exports
