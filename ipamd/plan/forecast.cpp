// How long the ranges of a plan last when clusters grow by a constant part each year: the years
// until the nodes, or the services, of a cluster are as many as its range holds.
#include <algorithm>
#include <cmath>
#include <map>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

// How many nodes an underlay holds. Zones fill evenly, so the one with the least room decides.
std::uint64_t underlay_room(const PlannedCluster& cluster, const Prefix& underlay) {
  const CloudRules& rules = rules_of(cluster.cloud);
  std::map<std::string_view, std::uint64_t> rooms;
  for (const Subnet& subnet : cluster.subnets)
    if (!subnet.is_public && subnet.prefix.family() == underlay.family())
      rooms[subnet.zone] += nodes_in(subnet.prefix, load_of(cluster, rules), rules);
  if (rooms.empty()) return nodes_in(underlay, load_of(cluster, rules), rules);
  std::uint64_t least = rooms.begin()->second;
  for (const auto& [zone, room] : rooms) least = std::min(least, room);
  return least * rooms.size();
}

}  // namespace

std::vector<Forecast> forecast(const Plan& plan, const Fleet& fleet,
                               std::optional<double> yearly_growth) {
  std::vector<Forecast> result;
  for (const FleetCluster& cluster : fleet.clusters) {
    const PlannedCluster* planned = find_cluster(plan, cluster.name);
    if (planned == nullptr) continue;
    const double growth = yearly_growth.value_or(1 + cluster.yearly_growth_percent / 100.0);
    for (const PlannedRange& range : planned->ranges) {
      Forecast each{cluster.name, range.use, range.prefix, static_cast<double>(cluster.nodes), 0,
                    growth,       {}};
      double size = static_cast<double>(range.prefix.size());
      if (range.use == BlockUse::kUnderlay) {
        each.room = static_cast<double>(underlay_room(*planned, range.prefix));
      } else if (range.use == BlockUse::kPod) {
        each.room = std::ldexp(1.0, range.node_prefix_length - range.prefix.length());
      } else if (range.use == BlockUse::kLoadBalancer) {
        each.used = cluster.load_balancer_services;
        each.room = size - kubernetes_rules().load_balancer_own;
      } else if (range.use == BlockUse::kTunnel) {
        each.room = std::floor(size / std::max(cluster.tunnels_per_node, 1U));
      } else {
        each.used = cluster.services;
        each.room = size - kubernetes_rules().service_own;
      }
      if (growth > 1 && each.used > 0)
        each.years = std::max(0.0, std::log(each.room / each.used) / std::log(growth));
      result.push_back(std::move(each));
    }
  }
  std::ranges::sort(result, {}, [](const Forecast& each) {
    return std::tuple(each.room / std::max(each.used, 1.0), each.cluster, each.prefix);
  });
  return result;
}

}  // namespace tombolo
