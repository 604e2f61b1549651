// Who speaks BGP with whom, and what may be said. Each cluster is an autonomous system of its own;
// its entry nodes announce its pod and load-balancer ranges to the gateway of their underlay, the
// router between the clusters, and that one announces the fewest prefixes per region to all.
// Filters are exact prefixes on both sides: what is not in the plan is neither announced nor
// believed (RFC 7454, sections 6 and 8).
#include <algorithm>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

// Room for a plan that grows before the other side's file is written anew.
std::uint32_t most_of(std::size_t planned) {
  return std::max<std::uint32_t>(16, 2 * static_cast<std::uint32_t>(planned));
}

// A cluster outside the mesh has no id, and so no number.
Result<void> check_id(const PlannedCluster& cluster) {
  if (cluster.id == 0)
    return fail(Code::kFailedPrecondition, "cluster {} has no id, which its AS number follows from",
                cluster.name);
  return {};
}

std::vector<Prefix> summaries(const Plan& plan) {
  std::vector<Prefix> all;
  for (const RegionSummary& summary : region_summaries(plan))
    all.insert(all.end(), summary.prefixes.begin(), summary.prefixes.end());
  return all;
}

// The gateway of the network that an entry node is in.
Result<Ip> gateway_beside(const PlannedCluster& cluster, Ip node) {
  for (const Prefix& network : networks_of(cluster))
    if (network.contains(node)) return gateway_of(network);
  return fail(Code::kNotFound, "cluster {}: the entry {} is in none of its networks", cluster.name,
              node);
}

Result<BgpSpeaker> entry_node(const Plan& plan, const PlannedCluster& cluster, unsigned node) {
  TRY_OK(check_id(cluster));
  BgpSpeaker speaker;
  speaker.as = as_of(cluster);
  speaker.router_id = Ip::v4(cluster.id << 8 | node);
  speaker.announces = speaker.originates = speaker.discards = announced_ranges(cluster);
  std::vector<Prefix> fleet = summaries(plan);
  bool exists = false;
  for (Family family : {Family::kV4, Family::kV6}) {
    std::vector<Ip> entry = entry_of(cluster, family);
    if (node == 0 || node > entry.size()) continue;
    exists = true;
    if (family == Family::kV4) speaker.router_id = entry[node - 1];
    TRY(gateway, gateway_beside(cluster, entry[node - 1]));
    std::vector<Prefix> accepts = of_family(fleet, family);
    speaker.neighbours.push_back({fmt::format("gateway_{}", lower(family)), "gateway", gateway,
                                  kFleetAs, fmt::format("fleet_{}", lower(family)), accepts,
                                  most_of(accepts.size())});
  }
  if (!exists) return fail(Code::kNotFound, "cluster {} has no entry node {}", cluster.name, node);
  return speaker;
}

void add_sessions(const PlannedCluster& cluster, BgpSpeaker& router) {
  for (Family family : {Family::kV4, Family::kV6}) {
    std::vector<Prefix> accepts = of_family(announced_ranges(cluster), family);
    std::vector<Ip> entry = entry_of(cluster, family);
    for (std::size_t i = 0; i < entry.size(); ++i)
      router.neighbours.push_back(
          {fmt::format("cluster{}_node{}_{}", cluster.id, i + 1, lower(family)),
           fmt::format("{} entry node {}", cluster.name, i + 1), entry[i], as_of(cluster),
           fmt::format("cluster{}_{}", cluster.id, lower(family)), accepts,
           most_of(accepts.size())});
  }
}

Result<BgpSpeaker> fleet_router(const Plan& plan) {
  BgpSpeaker router;
  router.as = kFleetAs;
  router.router_id = Ip::v4(1);
  router.announces = summaries(plan);
  std::vector<Prefix> planned;
  for (const PlannedCluster& cluster : plan.clusters) {
    TRY_OK(check_id(cluster));
    add_sessions(cluster, router);
    if (auto gateway = gateway_address(cluster, Family::kV4);
        gateway && router.router_id == Ip::v4(1))
      router.router_id = *gateway;
    for (const auto& ranges : {networks_of(cluster), announced_ranges(cluster)})
      std::ranges::copy(ranges, std::back_inserter(planned));
    std::ranges::copy(networks_of(cluster), std::back_inserter(router.originates));
  }
  // A summary that is a range is announced as that.
  for (const Prefix& summary : router.announces)
    if (std::ranges::find(planned, summary) == planned.end()) router.summarises.push_back(summary);
  if (router.neighbours.empty())
    return fail(Code::kFailedPrecondition, "no cluster of the plan has an entry node");
  return router;
}

}  // namespace

Result<BgpSpeaker> bgp_speaker(const Job& job) {
  return job.cluster == nullptr ? fleet_router(job.plan)
                                : entry_node(job.plan, *job.cluster, job.node);
}

}  // namespace tombolo::exports
