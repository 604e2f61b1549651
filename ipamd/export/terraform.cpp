// Terraform: one variable "tombolo" with everything that a module may want to know, as
// terraform.tfvars.json. Lists everywhere, also of one element, so that a type can be declared.
#include <algorithm>
#include <map>

#include "core/json.h"
#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

template <class T>
json::array texts(const std::vector<T>& values) {
  json::array list;
  for (const T& value : values) list.emplace_back(value.str());
  return list;
}

json::object by_family(const std::vector<Prefix>& prefixes) {
  return {{"ipv4", texts(of_family(prefixes, Family::kV4))},
          {"ipv6", texts(of_family(prefixes, Family::kV6))}};
}

json::object gateways(const PlannedCluster& cluster) {
  json::object object;
  for (Family family : {Family::kV4, Family::kV6}) {
    json::array list;
    if (auto gateway = gateway_address(cluster, family)) list.emplace_back(gateway->str());
    object[lower(family)] = std::move(list);
  }
  return object;
}

json::object node_prefix_lengths(const PlannedCluster& cluster) {
  json::object object{{"ipv4", nullptr}, {"ipv6", nullptr}};
  for (const PlannedRange& range : cluster.ranges)
    if (range.use == BlockUse::kPod)
      object[lower(range.prefix.family())] = range.node_prefix_length;
  return object;
}

// Each with what a module needs to make it.
json::array subnets(const PlannedCluster& cluster) {
  json::array list;
  for (const Subnet& subnet : cluster.subnets)
    list.push_back(json::object{{"zone", subnet.zone},
                                {"public", subnet.is_public},
                                {"family", lower(subnet.prefix.family())},
                                {"cidr", subnet.prefix.str()},
                                {"gateway", gateway_of(subnet.prefix).str()}});
  return list;
}

json::object cluster_object(const PlannedCluster& cluster) {
  json::value id = nullptr;
  json::value as = nullptr;
  if (cluster.id != 0) {
    id = std::int64_t{cluster.id};
    as = std::int64_t{as_of(cluster)};
  }
  return {{"id", std::move(id)},
          {"region", cluster.region},
          {"cloud", to_string(cluster.cloud)},
          {"asn", std::move(as)},
          {"nodes", std::int64_t{cluster.nodes}},
          {"pods_per_node", std::int64_t{cluster.pods_per_node}},
          {"pod_addresses", to_string(cluster.pod_addresses)},
          {"underlay", by_family(ranges_of(cluster, BlockUse::kUnderlay))},
          {"subnets", subnets(cluster)},
          {"pod", by_family(ranges_of(cluster, BlockUse::kPod))},
          {"node_prefix_length", node_prefix_lengths(cluster)},
          {"service", by_family(ranges_of(cluster, BlockUse::kService))},
          {"load_balancer", by_family(ranges_of(cluster, BlockUse::kLoadBalancer))},
          {"tunnel", by_family(ranges_of(cluster, BlockUse::kTunnel))},
          {"gateway", gateways(cluster)},
          {"entry", json::object{{"ipv4", texts(entry_of(cluster, Family::kV4))},
                                 {"ipv6", texts(entry_of(cluster, Family::kV6))}}}};
}

}  // namespace

Result<std::string> terraform(const Job& job) {
  json::object clusters;
  for (const PlannedCluster& cluster : job.plan.clusters)
    if (job.cluster == nullptr || job.cluster == &cluster)
      clusters[cluster.name] = cluster_object(cluster);
  std::map<std::string, std::vector<Prefix>> routes;
  for (const RegionSummary& summary : region_summaries(job.plan))
    std::ranges::copy(summary.prefixes, std::back_inserter(routes[summary.region]));
  json::object regions;
  for (const auto& [region, prefixes] : routes) regions[region] = by_family(prefixes);
  std::vector<Prefix> clusterset;
  for (const PlannedRange& range : job.plan.clusterset) clusterset.push_back(range.prefix);
  json::object fleet{{"fleet", job.plan.fleet},
                     {"clusters", std::move(clusters)},
                     {"regions", std::move(regions)},
                     {"clusterset", by_family(clusterset)}};
  return to_pretty_json(json::object{{"tombolo", std::move(fleet)}}) + "\n";
}

}  // namespace tombolo::exports
