// What the formats share: the writers, ranges by use, and the BGP sessions that FRR and BIRD both
// spell out. Private to this folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipamd/export/export.h"

namespace tombolo::exports {

// One per format. `cluster` is null where none was named.
struct Job {
  const Plan& plan;
  const PlannedCluster* cluster = nullptr;
  unsigned node = 1;
};

Result<std::string> kubeadm(const Job& job);
Result<std::string> cilium(const Job& job);
Result<std::string> calico(const Job& job);
Result<std::string> spiderpool(const Job& job);
Result<std::string> terraform(const Job& job);
Result<std::string> frr(const Job& job);
Result<std::string> bird(const Job& job);
Result<std::string> security_groups(const Job& job);
Result<std::string> security_groups_csv(const Job& job);
Result<std::string> aws_security_group(const Job& job);
Result<std::string> azure_security_group(const Job& job);
Result<std::string> gcp_firewall(const Job& job);
Result<std::string> route_tables(const Job& job);
Result<std::string> csv(const Job& job);
Result<std::string> markdown(const Job& job);

// ---- ranges ----------------------------------------------------------------------------------

std::vector<Prefix> ranges_of(const PlannedCluster& cluster, BlockUse use);
std::vector<Prefix> ranges_of(const PlannedCluster& cluster, BlockUse use, Family family);
std::vector<Prefix> of_family(const std::vector<Prefix>& prefixes, Family family);
// Where traffic to the cluster can go: underlay, pod and load-balancer ranges.
std::vector<Prefix> routed_ranges(const PlannedCluster& cluster);
// Of these what its entry nodes announce: pods, and services behind load balancers.
std::vector<Prefix> announced_ranges(const PlannedCluster& cluster);
// What a router between the clusters is connected to: the underlay, or its subnets.
std::vector<Prefix> networks_of(const PlannedCluster& cluster);
// Where pods have their addresses: pod ranges, or the underlay.
std::vector<Prefix> pod_sources(const PlannedCluster& cluster, Family family);
std::vector<Ip> entry_of(const PlannedCluster& cluster, Family family);
std::string_view lower(Family family);  // "ipv4", "ipv6"

// ---- BGP -------------------------------------------------------------------------------------

// A session of one family. What comes in is exactly one of `accepts`; a neighbour that sends more
// than `most` prefixes is cut off.
struct BgpNeighbour {
  std::string name;  // a word of letters, digits and _
  std::string description;
  Ip address;
  std::uint32_t as = 0;
  std::string filter;  // a word: equal for equal `accepts`
  std::vector<Prefix> accepts;
  std::uint32_t most = 0;
};

// A router that speaks BGP: an entry node of a cluster, whose neighbours are its gateways, or the
// router between the clusters, whose neighbours are all entry nodes.
struct BgpSpeaker {
  std::uint32_t as = 0;
  Ip router_id;  // IPv4 in form only (RFC 6286)
  std::vector<BgpNeighbour> neighbours;
  std::vector<Prefix> announces;   // and nothing else
  std::vector<Prefix> originates;  // ranges of its own that it announces
  std::vector<Prefix> discards;    // parts of them that nobody has are refused here
  std::vector<Prefix> summarises;  // made of what the neighbours announce
};
// kNotFound when the cluster has no such entry node or no gateway, kFailedPrecondition when no
// cluster has an entry node.
Result<BgpSpeaker> bgp_speaker(const Job& job);

// ---- firewalls -------------------------------------------------------------------------------

constexpr Port kStorePort = 2379;  // the default of store.embedded.listen
constexpr Port kProbePort = 4240;  // docs/loss.md

enum class Opened { kTcp, kEcho, kAll };

// What nodes or pods of one cluster may send to another.
struct FirewallRule {
  std::string_view purpose;  // "store", "probe", "echo", "pods"
  const PlannedCluster* from = nullptr;
  const PlannedCluster* to = nullptr;
  Family family = Family::kV4;
  Opened opened = Opened::kAll;
  Port port = 0;  // kTcp only
  std::vector<Prefix> sources;
  std::vector<Prefix> destinations;
};
// For each pair of clusters; with a cluster in the job, pairs that it is in.
std::vector<FirewallRule> firewall_rules(const Job& job);

// ---- text ------------------------------------------------------------------------------------

// "# Addresses of cluster east of fleet demo, written by tombolo plan export --format FORMAT." and
// who should be changed instead; `mark` begins a comment.
std::string heading(const Job& job, std::string_view format, std::string_view mark = "#");
std::string joined(const std::vector<Prefix>& prefixes, std::string_view separator = ",");

}  // namespace tombolo::exports
