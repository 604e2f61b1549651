// Facts of clusters that run already, for a fleet file: which ranges they use, as their own objects
// and their routers' tables say. Nothing is changed and nobody is asked: saved outputs of kubectl,
// ip and aws go in, an entry for the fleet file and a list of conflicts come out. Pure; any thread.
//
//   kubectl get -o json ----> read_cluster_facts --\                      /-> fleet_fragment
//   ip -j route, aws ec2 … -> read_route_dump ------+-> ranges_in_use ---+
//                                                    \                    \-> find_conflicts
//
// Guide with examples: docs/plan-exports.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip.h"
#include "core/json.h"
#include "core/tables.h"

namespace tombolo {

struct NodeFact {
  std::string name;
  std::string zone;           // topology.kubernetes.io/zone; empty: not said
  std::vector<Ip> addresses;  // InternalIP
  std::vector<Prefix> pod_ranges;
  std::uint32_t pods = 0;  // it takes at most; 0: not said
};

// A range that an object names as the cluster's.
struct RangeFact {
  BlockUse use = BlockUse::kPod;
  Prefix prefix;
  int node_prefix_length = 0;  // kPod, 0: not said
  std::string source;          // "ServiceCIDR kubernetes"
};

struct ClusterFacts {
  std::string name;
  std::uint32_t id = 0;  // 0: not said
  std::vector<NodeFact> nodes;
  std::vector<RangeFact> ranges;
  std::uint32_t services = 0;  // with an address of their own
};

struct RouteFact {
  Prefix destination;
  std::string via;         // "192.0.2.1 dev eth0", "tgw-1"
  bool connected = false;  // a network that the machine, or the VPC, sits in
  std::string source;      // the dump's name
};

// Adds what an object, or a List of objects, says to `facts`; other kinds are passed over. Known:
// Node, Service, ServiceCIDR, Calico's IPPool, and the ConfigMaps kubeadm-config and cilium-config.
// kInvalidArgument with the place when one of these is not as its API has it, or when there are
// more than 100,000 objects.
Result<void> read_cluster_facts(const json::value& document, std::string_view name,
                                ClusterFacts& facts);

// `ip -j route` and `ip -j -6 route`, or `aws ec2 describe-route-tables`. Default routes, host
// routes of the machine itself and link-local, multicast and loopback destinations are left out.
Result<std::vector<RouteFact>> read_route_dump(const json::value& document, std::string_view name);

// ---- what follows ----------------------------------------------------------------------------

struct RangeInUse {
  BlockUse use = BlockUse::kPod;
  Prefix prefix;
  int node_prefix_length = 0;
  std::string source;
  bool guessed = false;  // the smallest prefix around what is known
};
// One per use and family: what an object names comes before what follows from the nodes. The
// underlay is a connected route that holds the nodes, where the dumps have one.
std::vector<RangeInUse> ranges_in_use(const ClusterFacts& facts,
                                      const std::vector<RouteFact>& routes);

// One line each: ranges of a cluster, of two clusters, or of a cluster and a route that overlap;
// ranges that its objects disagree about; names and ids that stand twice.
std::vector<std::string> find_conflicts(const std::vector<ClusterFacts>& clusters,
                                        const std::vector<RouteFact>& routes);

// YAML for a fleet file: `clusters`, and as `reserved` the routes to what is no cluster's. What has
// to be filled in by hand is a comment.
std::string fleet_fragment(const std::vector<ClusterFacts>& clusters,
                           const std::vector<RouteFact>& routes);

}  // namespace tombolo
