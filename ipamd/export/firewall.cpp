// Firewall rules between clusters: strict firewalls are the rule, so that only what Tombolo and its
// traffic need is opened, for each pair of clusters. As a list for any tool (JSON, CSV).
//
//   store  TCP 2379   the other cluster's controller reads what this one publishes
//   probe  TCP 4240   is a node alive? It refuses or accepts; ICMP echo is asked first
//   pods   all        pods reach pods; which of them, policies say (docs/policy.md)
//   load-balancer     pods reach the services that the cluster shows outside
#include <algorithm>

#include "core/json.h"
#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

void add_rules(const PlannedCluster& from, const PlannedCluster& to, Family family,
               std::vector<FirewallRule>& rules) {
  std::vector<Prefix> nodes = ranges_of(from, BlockUse::kUnderlay, family);
  std::vector<Prefix> to_nodes = ranges_of(to, BlockUse::kUnderlay, family);
  if (!nodes.empty() && !to_nodes.empty()) {
    rules.push_back({"store", &from, &to, family, Opened::kTcp, kStorePort, nodes, to_nodes});
    rules.push_back({"probe", &from, &to, family, Opened::kTcp, kProbePort, nodes, to_nodes});
    rules.push_back({"echo", &from, &to, family, Opened::kEcho, 0, nodes, to_nodes});
  }
  std::vector<Prefix> pods = pod_sources(from, family);
  std::vector<Prefix> to_pods = pod_sources(to, family);
  if (!pods.empty() && !to_pods.empty())
    rules.push_back({"pods", &from, &to, family, Opened::kAll, 0, pods, to_pods});
  std::vector<Prefix> shown = ranges_of(to, BlockUse::kLoadBalancer, family);
  if (!pods.empty() && !shown.empty())
    rules.push_back({"load-balancer", &from, &to, family, Opened::kAll, 0, pods, shown});
}

std::string_view protocol_of(const FirewallRule& rule) {
  switch (rule.opened) {
    case Opened::kTcp:
      return "tcp";
    case Opened::kEcho:
      return rule.family == Family::kV4 ? "icmp echo" : "icmpv6 echo";
    case Opened::kAll:
      break;
  }
  return "all";
}

json::array texts(const std::vector<Prefix>& prefixes) {
  json::array list;
  for (const Prefix& prefix : prefixes) list.emplace_back(prefix.str());
  return list;
}

}  // namespace

std::vector<FirewallRule> firewall_rules(const Job& job) {
  std::vector<FirewallRule> rules;
  for (const PlannedCluster& from : job.plan.clusters)
    for (const PlannedCluster& to : job.plan.clusters) {
      if (&from == &to) continue;
      if (job.cluster != nullptr && job.cluster != &from && job.cluster != &to) continue;
      for (Family family : {Family::kV4, Family::kV6}) add_rules(from, to, family, rules);
    }
  return rules;
}

Result<std::string> security_groups(const Job& job) {
  json::array rules;
  for (const FirewallRule& rule : firewall_rules(job)) {
    json::object object{
        {"from", rule.from->name},        {"to", rule.to->name},
        {"purpose", rule.purpose},        {"family", to_string(rule.family)},
        {"protocol", protocol_of(rule)},  {"port", nullptr},
        {"sources", texts(rule.sources)}, {"destinations", texts(rule.destinations)}};
    if (rule.opened == Opened::kTcp) object["port"] = rule.port;
    rules.push_back(std::move(object));
  }
  return to_pretty_json(json::object{{"fleet", job.plan.fleet}, {"rules", std::move(rules)}}) +
         "\n";
}

Result<std::string> security_groups_csv(const Job& job) {
  std::string text = "from,to,purpose,family,protocol,port,source,destination\n";
  for (const FirewallRule& rule : firewall_rules(job))
    for (const Prefix& source : rule.sources)
      for (const Prefix& destination : rule.destinations)
        text += fmt::format("{},{},{},{},{},{},{},{}\n", rule.from->name, rule.to->name,
                            rule.purpose, to_string(rule.family), protocol_of(rule),
                            rule.opened == Opened::kTcp ? fmt::format("{}", rule.port) : "", source,
                            destination);
  return text;
}

}  // namespace tombolo::exports
