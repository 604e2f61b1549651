// What the files of the planner share: rules of clouds and of Kubernetes as data, sizes that follow
// from them, and the free space of one address range. The checker (check.cpp) uses the data alone.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <span>

#include "ipamd/plan/optimum.h"
#include "ipamd/plan/plan.h"

namespace tombolo {

// ---- rules (rules.cpp) -----------------------------------------------------------------------

// The files under providers/ say where each number comes from.
struct CloudRules {
  std::string name;
  int underlay_shortest = 0;  // IPv4 prefix length of the largest network or subnet it allows
  int underlay_longest = 0;   // and of the smallest
  // Addresses at the start that no node may have (>= 2: network, gateway), and at the end (IPv4
  // broadcast included).
  std::uint32_t reserved_first = 0;
  std::uint32_t reserved_last = 0;
  std::uint32_t node_block_factor = 1;  // a node's pod block holds pods_per_node times this
  bool zonal_subnets = false;           // a subnet belongs to one zone
  int pod_prefix_length = 0;            // of the prefixes that nodes get for pods; 0: no such thing
  // IPv6 networks that are divided into subnets: the longest, and the step from one length to the
  // next; 0: any.
  int network_longest_v6 = 0;
  int network_step_v6 = 0;
};
const CloudRules& rules_of(Cloud cloud);

struct KubernetesRules {
  int service_host_bits = 0;            // at most, in a service range
  int node_block_bits = 0;              // at most, between a pod range and a node's block
  int node_prefix_length_v6 = 0;        // of a node's block
  int service_host_bits_v6 = 0;         // of a range of services, load balancers or tunnels
  std::uint32_t node_block_own = 0;     // addresses of a node's block that are no pod's
  std::uint32_t service_own = 0;        // of a service range that are no service's
  std::uint32_t load_balancer_own = 0;  // of a range for load balancers that are no service's
};
const KubernetesRules& kubernetes_rules();

// A range that no cluster may use, and why. Regions decide rather than clusters: the first cluster
// that joins in a cloud must not move others.
struct ForbiddenRange {
  Prefix prefix;
  std::string why;
  std::optional<Cloud> only_with;   // applies when a region of the fleet is in this cloud
  std::optional<Cloud> unless_all;  // does not apply when all regions are in this cloud
};
const std::vector<ForbiddenRange>& all_forbidden();
struct Forbidden {
  Prefix prefix;
  std::string_view reason;
};
std::vector<Forbidden> forbidden_ranges(const Fleet& fleet);

inline constexpr std::uint32_t kMostNodes = 65'536;

struct RangeSize {
  int length = 0;
  int node_prefix_length = 0;  // kPod only
};

std::uint32_t planned_count(std::uint32_t count, std::uint32_t growth_percent);  // rounded up
int bits_for(std::uint64_t count);  // the smallest b with 2^b >= count

// Whether a use needs summary routes between regions: what is reached from other clusters does.
// Tunnel endpoints are known to nobody but each other.
constexpr bool is_routed(BlockUse use) {
  return use == BlockUse::kUnderlay || use == BlockUse::kPod || use == BlockUse::kLoadBalancer;
}

// Whether the cluster has a range of the use, of every family of its own.
bool wants(const FleetCluster& cluster, BlockUse use, Family family);

// Which rule forced what (reasons.cpp), one line each: "rule: aws has no subnet …: east".
std::vector<std::string> rule_lines(const Plan& plan, const Fleet& fleet);

const FleetRegion* find_region(const Fleet& fleet, std::string_view name);
bool has_family(const std::vector<Family>& families, Family family);

// The smallest range that does for the cluster's `use` in `family`, growth included. A range whose
// nodes already have blocks passes their length as `node_prefix_length` (0: the smallest that holds
// the pods). kFailedPrecondition with the rule that is in the way.
Result<RangeSize> size_of(const Fleet& fleet, const FleetCluster& cluster, BlockUse use,
                          Family family, int node_prefix_length);
RangeSize clusterset_size(std::uint32_t services, Family family);

// ---- what an underlay holds (subnets.cpp) ----------------------------------------------------

// What a node takes beside its own address.
struct NodeLoad {
  std::uint64_t pods = 0;    // addresses
  std::uint64_t prefix = 0;  // taken in aligned pieces of this many; 0: one by one
};
NodeLoad load_of(PodAddresses pods, std::uint32_t pods_per_node, const CloudRules& rules);
template <class Cluster>  // FleetCluster, PlannedCluster
NodeLoad load_of(const Cluster& cluster, const CloudRules& rules) {
  return load_of(cluster.pod_addresses, cluster.pods_per_node, rules);
}
// How many IPv4 addresses a subnet with so many nodes needs, the cloud's included.
std::uint64_t underlay_addresses(std::uint64_t nodes, const NodeLoad& load,
                                 const CloudRules& rules);
std::uint64_t nodes_in(const Prefix& subnet, const NodeLoad& load, const CloudRules& rules);

bool is_divided(const FleetCluster& cluster);
// The prefix length of the smallest underlay that can be divided for so many nodes.
int divided_length(const FleetCluster& cluster, const CloudRules& rules, Family family,
                   std::uint64_t nodes);
// The subnets of an underlay, private ones first, in order of zones: those of `before` that lie in
// it and belong to the cluster's zones, and what is missing beside them. Nothing when it has no
// room.
std::optional<std::vector<Subnet>> divide(const FleetCluster& cluster, const CloudRules& rules,
                                          const Prefix& underlay, std::uint64_t nodes,
                                          const std::vector<Subnet>& before);

// What of it stands already: given subnets, and those of the previous plan (may be null).
std::vector<Subnet> subnets_before(const PlannedCluster* previous, const FleetCluster& cluster);
// Whether a given underlay has room for the subnets of the present nodes.
Result<void> check_division(const Fleet& fleet, const FleetCluster& cluster,
                            const GivenRange& underlay, const std::vector<Subnet>& before);
// Fills planned.subnets in from its underlays.
Result<void> divide_underlays(const FleetCluster& cluster, const PlannedCluster* previous,
                              PlannedCluster& planned);

// The next hops towards a cluster's pods: the addresses or nodes that the fleet file names, else
// its first two nodes (addresses.cpp).
Result<std::vector<Ip>> entry_of(const FleetCluster& wanted, const PlannedCluster& planned);

std::string count_text(uint128 count);  // "4096", "2^64", "about 2^65.3"

// A given range must do for what the cluster has now (growth is not asked of it) and keep to the
// rules of its cloud.
Result<void> check_given(const Fleet& fleet, const FleetCluster& cluster, const GivenRange& given);

// check_plan's part for one cluster: its numbers, sizes and places, not other clusters' ranges.
Result<void> check_planned_cluster(const Fleet& fleet, const FleetCluster& cluster,
                                   const PlannedCluster& planned);

// Parts of it (check_subnets.cpp): what is wrong with the subnets of an underlay, "" when nothing
// is; and whether a subnet holds so many nodes of the cluster, counted.
std::string wrong_subnets(const FleetCluster& cluster, const PlannedCluster& planned,
                          const PlannedRange& underlay, std::uint64_t nodes);
bool holds(const Prefix& subnet, std::uint64_t nodes, const PlannedCluster& planned);

// ---- bounds (certificate.cpp, conflict.cpp)
// ---------------------------------------------------

// What has to be found for a fleet that is planned from nothing, and where.
struct FamilyDemand {
  std::vector<RegionDemand> regions;  // as Fleet::regions
  Sizes shared;
};
FamilyDemand demand_of(const Fleet& fleet, Family family);
Sizes supply_of(const Fleet& fleet, Family family);
std::vector<Certificate> certify(const Plan& plan, const Fleet& fleet);
json::value certificate_to_json(const Plan& plan);

// The fewest clusters that have no room together, and the reserved ranges without which they would.
// Empty when everything fits, and where address space for some uses or regions makes it another
// question.
struct Conflict {
  std::vector<std::size_t> clusters;  // indices into Fleet::clusters
  bool clusterset = false;
  std::vector<FleetReserved> reserved;
};
Conflict smallest_conflict(const Fleet& fleet, Family family);
std::string conflict_text(const Fleet& fleet, Family family);

// ---- free space (free_space.cpp) -------------------------------------------------------------

// The other half of the next larger block.
Prefix sibling_of(const Prefix& block);
Prefix cover_of(const Prefix& a, const Prefix& b);  // the longest prefix around both

// The free part of one range as the fewest aligned blocks (buddies are always merged).
class FreeSpace {
 public:
  // Nothing is free at first; blocks never merge beyond `shortest`.
  FreeSpace(Family family, int shortest) : family_(family), shortest_(shortest) {}

  void add(Prefix block);                    // must not be free already
  void remove(const Prefix& hole);           // whatever part of it is free
  bool contains(const Prefix& block) const;  // all of it is free
  // The lowest block of `length` in the smallest free block that has room for it; nothing is taken.
  std::optional<Prefix> best_fit(int length) const;
  std::optional<Prefix> best_fit_inside(int length, const Prefix& cover) const;
  // Length of the free block that best_fit would cut, to compare spaces.
  std::optional<int> best_fit_length(int length) const;
  std::optional<uint128> lowest_of(int length) const;  // the first block of exactly this length
  std::vector<Prefix> blocks() const;                  // the largest first
  uint128 addresses() const;
  Sizes sizes() const;  // how many blocks there are of each size

 private:
  std::optional<Prefix> holder_of(const Prefix& block) const;

  Family family_;
  int shortest_;
  std::array<std::set<uint128>, 129> by_length_;
};

}  // namespace tombolo
