// The same rules as the clouds take them, for what comes into one cluster:
//   AWS    the IpPermissions of `aws ec2 authorize-security-group-ingress`
//   Azure  the securityRules of a network security group (Microsoft.Network, ARM)
//   GCP    firewall resources of the Compute API, without their `network`
// Families are never mixed in a rule, which Azure and GCP refuse.
#include <algorithm>
#include <utility>

#include "core/json.h"
#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

constexpr int kEchoV4 = 8;    // ICMP type, RFC 792
constexpr int kEchoV6 = 128;  // RFC 4443
constexpr int kFirstAzurePriority = 1000;
constexpr std::string_view kIcmpV6Number = "58";  // GCP knows ICMPv6 by its number

// What comes into the cluster, one entry per purpose and family, with all clusters as sources.
struct Incoming {
  std::string_view purpose;
  Family family = Family::kV4;
  Opened opened = Opened::kAll;
  Port port = 0;
  std::vector<std::pair<std::string, Prefix>> sources;  // and whose they are
  std::vector<Prefix> destinations;
};

std::vector<Incoming> incoming(const Job& job) {
  std::vector<Incoming> all;
  for (const FirewallRule& rule : firewall_rules(job)) {
    if (rule.to != job.cluster) continue;
    auto same = std::ranges::find_if(all, [&](const Incoming& other) {
      return other.purpose == rule.purpose && other.family == rule.family;
    });
    if (same == all.end())
      same = all.insert(same,
                        {rule.purpose, rule.family, rule.opened, rule.port, {}, rule.destinations});
    for (const Prefix& prefix : rule.sources) same->sources.emplace_back(rule.from->name, prefix);
  }
  return all;
}

json::array sources_of(const Incoming& rule) {
  json::array list;
  for (const auto& [name, prefix] : rule.sources) list.emplace_back(prefix.str());
  return list;
}

json::array destinations_of(const Incoming& rule) {
  json::array list;
  for (const Prefix& prefix : rule.destinations) list.emplace_back(prefix.str());
  return list;
}

std::string name_of(const Incoming& rule) {
  return fmt::format("tombolo-{}-{}", rule.purpose, lower(rule.family));
}

json::object aws_permission(const Incoming& rule) {
  bool v4 = rule.family == Family::kV4;
  json::array ranges;
  for (const auto& [name, prefix] : rule.sources)
    ranges.push_back(
        json::object{{v4 ? "CidrIp" : "CidrIpv6", prefix.str()},
                     {"Description", fmt::format("tombolo {} of {}", rule.purpose, name)}});
  json::object permission;
  switch (rule.opened) {
    case Opened::kTcp:
      permission = {{"IpProtocol", "tcp"}, {"FromPort", rule.port}, {"ToPort", rule.port}};
      break;
    case Opened::kEcho:
      permission = {{"IpProtocol", v4 ? "icmp" : "icmpv6"},
                    {"FromPort", v4 ? kEchoV4 : kEchoV6},
                    {"ToPort", 0}};
      break;
    case Opened::kAll:
      permission = {{"IpProtocol", "-1"}};
      break;
  }
  permission[v4 ? "IpRanges" : "Ipv6Ranges"] = std::move(ranges);
  return permission;
}

json::object azure_rule(const Incoming& rule, int priority) {
  std::string_view protocol = "*";
  if (rule.opened == Opened::kTcp) protocol = "Tcp";
  if (rule.opened == Opened::kEcho) protocol = "Icmp";
  return {{"name", name_of(rule)},
          {"properties",
           json::object{{"priority", priority},
                        {"direction", "Inbound"},
                        {"access", "Allow"},
                        {"protocol", protocol},
                        {"sourceAddressPrefixes", sources_of(rule)},
                        {"sourcePortRange", "*"},
                        {"destinationAddressPrefixes", destinations_of(rule)},
                        {"destinationPortRange",
                         rule.opened == Opened::kTcp ? fmt::format("{}", rule.port) : "*"}}}};
}

json::object gcp_rule(const PlannedCluster& cluster, const Incoming& rule) {
  json::object allowed{{"IPProtocol", "all"}};
  if (rule.opened == Opened::kTcp)
    allowed = {{"IPProtocol", "tcp"}, {"ports", json::array{fmt::format("{}", rule.port)}}};
  if (rule.opened == Opened::kEcho)
    allowed = {{"IPProtocol", rule.family == Family::kV4 ? "icmp" : kIcmpV6Number}};
  return {{"name", fmt::format("{}-{}", name_of(rule), cluster.name)},
          {"direction", "INGRESS"},
          {"sourceRanges", sources_of(rule)},
          {"destinationRanges", destinations_of(rule)},
          {"allowed", json::array{std::move(allowed)}}};
}

std::string finished(json::array rules) {
  return to_pretty_json(std::move(rules)) + "\n";
}

}  // namespace

Result<std::string> aws_security_group(const Job& job) {
  json::array rules;
  for (const Incoming& rule : incoming(job)) rules.push_back(aws_permission(rule));
  return finished(std::move(rules));
}

Result<std::string> azure_security_group(const Job& job) {
  json::array rules;
  int priority = kFirstAzurePriority;
  for (const Incoming& rule : incoming(job)) {
    // Azure's groups know no ICMPv6; nodes are then known alive by their TCP port alone.
    if (rule.opened == Opened::kEcho && rule.family == Family::kV6) continue;
    rules.push_back(azure_rule(rule, priority));
    priority += 10;
  }
  return finished(std::move(rules));
}

Result<std::string> gcp_firewall(const Job& job) {
  json::array rules;
  for (const Incoming& rule : incoming(job)) rules.push_back(gcp_rule(*job.cluster, rule));
  return finished(std::move(rules));
}

}  // namespace tombolo::exports
