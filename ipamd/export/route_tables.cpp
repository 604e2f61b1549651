// Route tables of the clouds, per pair of clusters: what a table of a cluster's subnets must hold,
// as JSON. Towards another cluster the next hop is whatever joins the two networks (a transit
// gateway, a peering, a tunnel); the address given is the gateway of the plan. Towards the
// cluster's own pods it is its entry nodes, which must be allowed to forward (no check of source
// and destination).
#include "core/json.h"
#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

json::array addresses(const std::vector<Ip>& ips) {
  json::array list;
  for (Ip ip : ips) list.emplace_back(ip.str());
  return list;
}

json::object route(const RouteEntry& entry) {
  return {{"destination", entry.destination.str()},
          {"use", to_string(entry.use)},
          {"next_hops", addresses(entry.next_hops)}};
}

// The same with fewer routes: other regions as their summaries.
json::array summarised(const Plan& plan, const PlannedCluster& self) {
  json::array list;
  for (const RegionSummary& summary : region_summaries(plan)) {
    if (summary.region == self.region) continue;
    for (const Prefix& prefix : summary.prefixes)
      list.push_back(json::object{{"destination", prefix.str()}, {"region", summary.region}});
  }
  return list;
}

Result<json::object> table_of(const Plan& plan, const PlannedCluster& self) {
  json::array own;
  for (const RouteEntry& entry : plan_routes(plan))
    if (entry.cluster == self.name) own.push_back(route(entry));
  TRY(entries, plan_routes_of(plan, self.name));
  json::object pairs;
  for (const RouteEntry& entry : entries) {
    json::value& list = pairs[entry.cluster];
    if (list.is_null()) list = json::array();
    list.as_array().push_back(route(entry));
  }
  json::array subnets;
  for (const Subnet& subnet : self.subnets)
    subnets.push_back(json::object{{"zone", subnet.zone},
                                   {"public", subnet.is_public},
                                   {"cidr", subnet.prefix.str()},
                                   {"gateway", gateway_of(subnet.prefix).str()}});
  return json::object{{"subnets", std::move(subnets)}, {"cloud", to_string(self.cloud)},
                      {"region", self.region},         {"own_pods", std::move(own)},
                      {"to", std::move(pairs)},        {"to_regions", summarised(plan, self)}};
}

}  // namespace

Result<std::string> route_tables(const Job& job) {
  json::object tables;
  for (const PlannedCluster& cluster : job.plan.clusters) {
    if (job.cluster != nullptr && job.cluster != &cluster) continue;
    TRY(table, table_of(job.plan, cluster));
    tables[cluster.name] = std::move(table);
  }
  return to_pretty_json(json::object{{"fleet", job.plan.fleet}, {"tables", std::move(tables)}}) +
         "\n";
}

}  // namespace tombolo::exports
