// The fleet file: what is wanted of a plan. Part of the planner's public header (plan.h), which
// includes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/tables.h"
#include "core/yaml.h"

namespace tombolo {

enum class Cloud { kAws, kAzure, kGcp, kOnPrem };
std::string_view to_string(Cloud cloud);  // "aws", "azure", "gcp", "on-prem"

// `place` is where the entry stands, "fleet.yaml:12" (the document's name alone when lines are not
// known); conflicts between entries name both places.
struct FleetRegion {
  std::string name;
  Cloud cloud = Cloud::kOnPrem;
  std::string place;
  std::vector<std::string> zones;  // fault domains, in order
};

// A part of an underlay. Nodes are in private ones; public ones are for what stands at the edge:
// load balancers, NAT gateways, routers.
struct Subnet {
  std::string zone;  // empty: of all zones
  bool is_public = false;
  Prefix prefix;
  bool operator==(const Subnet&) const = default;
};

// Where pods have their addresses from.
enum class PodAddresses {
  kPodRange,          // the cluster's pod range, a block per node
  kUnderlay,          // the subnet of their node, one by one; there is no pod range
  kUnderlayPrefixes,  // the same in whole prefixes per node (AWS: /28)
};
std::string_view to_string(PodAddresses pods);  // "pod-range", "underlay", "underlay-prefixes"

// A piece of the address space. Empty `uses` or `regions`: for all of them.
struct FleetRoot {
  Prefix prefix;
  std::vector<BlockUse> uses;
  std::vector<std::string> regions;
  std::string place;
};

struct FleetReserved {
  Prefix prefix;
  std::string note;
  std::string place;
};

// A range that is in use already and stays what it is. It may lie outside the address space.
struct GivenRange {
  BlockUse use = BlockUse::kPod;
  Prefix prefix;
  int node_prefix_length = 0;  // kPod only
  std::string place;
};

struct FleetCluster {
  std::string name;      // as Cilium has it: [a-z0-9-], at most 32 characters
  std::uint32_t id = 0;  // 1 to max_connected_clusters; 0: none, only its addresses are planned
  std::string region;
  std::vector<Family> families;
  std::uint32_t nodes = 0;  // expected
  std::uint32_t pods_per_node = 110;
  std::uint32_t services = 1000;
  std::uint32_t load_balancer_services = 0;  // 0: no range for them
  std::uint32_t tunnels_per_node = 0;        // addresses of tunnel endpoints; 0: no range
  std::uint32_t growth_percent = 100;        // room is planned for nodes and services times this
  std::uint32_t yearly_growth_percent = 0;   // expected, of both; for forecasts, no room is planned
  PodAddresses pod_addresses = PodAddresses::kPodRange;
  std::vector<std::string> zones;    // its own, else its region's; none and none below: no subnets
  std::uint32_t private_hosts = 0;   // per private subnet at least, beside what its nodes need
  std::uint32_t public_hosts = 0;    // per public subnet; 0 and 0: there are none
  std::uint32_t public_percent = 0;  // or this part of what a private one has
  std::vector<GivenRange> given;
  std::vector<Subnet> given_subnets;       // in use already, and kept
  std::vector<std::uint32_t> entry_nodes;  // indices, the first node is 0
  std::vector<Ip> entry_ips;               // addresses instead of indices; both empty: the default
  std::string place;
};

struct Fleet {
  std::string name;
  std::vector<Family> families;
  std::uint32_t max_connected_clusters = 255;  // as Cilium's setting; 511, or 1023 (Tombolo only)
  std::vector<FleetRegion> regions;
  std::vector<FleetRoot> roots;
  std::vector<FleetReserved> reserved;
  std::uint32_t clusterset_services = 4000;
  std::vector<GivenRange> clusterset_given;
  std::vector<FleetCluster> clusters;
  std::string place;
};

// Strict: unknown fields, unknown names, ids and names that stand twice, and overlapping roots are
// refused as "fleet.yaml:12: clusters[0].nodes: …".
Result<Fleet> parse_fleet(const YamlDocument& document);

}  // namespace tombolo
