// The fleet planner: which addresses every cluster of a fleet gets, so that nothing overlaps. Pure
// and deterministic: a parsed fleet file and the plan that is in force go in, a plan comes out; the
// command line and the controller read files, print, and store. Runs on any thread.
//
//   fleet.yaml -> parse_fleet -> make_plan(fleet, previous) -> check_plan -> plan_to_json (store)
//                                                           -> blocks_of, plan_routes, plan_table
//
// Guide with examples: docs/plan.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "ipamd/plan/fleet.h"

namespace tombolo {

// ---- the plan: what is assigned --------------------------------------------------------------

enum class RangeOrigin {
  kAssigned,  // new in this plan
  kKept,      // as the previous plan had it
  kGrown,     // larger than in the previous plan, around the same addresses
  kGiven,     // written in the fleet file
};
std::string_view to_string(RangeOrigin origin);  // "assigned", "kept", "grown", "given"

struct PlannedRange {
  BlockUse use = BlockUse::kPod;
  Prefix prefix;
  int node_prefix_length = 0;  // kPod only: what each node gets of it
  RangeOrigin origin = RangeOrigin::kAssigned;
  bool operator==(const PlannedRange&) const = default;
};

struct PlannedCluster {
  std::string name;
  std::uint32_t id = 0;
  std::string region;
  Cloud cloud = Cloud::kOnPrem;
  std::uint32_t nodes = 0;
  std::uint32_t pods_per_node = 0;
  PodAddresses pod_addresses = PodAddresses::kPodRange;
  std::vector<PlannedRange> ranges;  // by family and use; IPv4 first
  std::vector<Subnet> subnets;       // of the underlay: IPv4 first, private first, by zone
  std::vector<Ip> entry;             // what routers outside use as next hop towards its pods
  bool operator==(const PlannedCluster&) const = default;
};

struct PlannedReserve {
  Prefix prefix;
  std::string note;
  bool operator==(const PlannedReserve&) const = default;
};

// What a plan of one family takes, beside what no plan of the same fleet file can undercut.
struct Certificate {
  Family family = Family::kV4;
  std::uint32_t routes = 0;     // summary routes of all regions
  std::uint32_t bound = 0;      // no plan from nothing has fewer; equal: the plan is optimal
  std::string reason;           // why that is so
  std::string addresses;        // assigned, as a number ("4096", "2^64")
  std::string least_addresses;  // what the sizes of the fleet file need
  bool operator==(const Certificate&) const = default;
};

struct Plan {
  std::string fleet;
  std::vector<Prefix> roots;
  std::vector<PlannedReserve> reserved;
  std::vector<PlannedRange> clusterset;  // one per family, for the whole fleet
  std::vector<PlannedCluster> clusters;  // by name
  std::vector<Certificate> certificate;  // by family; of make_plan's plans
  bool operator==(const Plan&) const = default;
};

// What `previous` (may be null) assigned stays as it is wherever it still fits, grows in place
// where the space around it is free, and is assigned anew only as the last resort; addresses that a
// cluster moves away from are given to nobody else in the same plan. New ranges are aligned
// power-of-two blocks, the largest first, a region's together where that is possible. Every plan
// has passed check_plan. kFailedPrecondition when entries contradict each other or a rule of a
// cloud or of Kubernetes, kResourceExhausted when space is missing: both name the entries and their
// places.
Result<Plan> make_plan(const Fleet& fleet, const Plan* previous);

// A plan at hand, for fleets that change often: a cluster that joins is planned beside the others
// without looking at them, in the same time in a fleet of ten as of ten thousand.
class FleetPlanner {
 public:
  // make_plan, and what it knew at the end.
  static Result<std::unique_ptr<FleetPlanner>> start(Fleet fleet, const Plan* previous);
  ~FleetPlanner();
  FleetPlanner(const FleetPlanner&) = delete;
  FleetPlanner& operator=(const FleetPlanner&) = delete;

  // The new cluster's plan, proven as check_plan would; valid until the next call. Errors are
  // make_plan's; nothing has changed after one. kFailedPrecondition when the cluster brings ranges
  // inside the address space: then the fleet is to be planned with make_plan.
  Result<const PlannedCluster*> join(FleetCluster cluster);
  const Plan& plan() const;
  const Fleet& fleet() const;

 private:
  struct State;
  explicit FleetPlanner(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Proves that the plan is right for the fleet, without any of the planner's code: every pair of
// ranges compared, reserved ones too, every size recomputed. kFailedPrecondition with every
// violation (at most ten).
Result<void> check_plan(const Plan& plan, const Fleet& fleet);
// The part that needs no fleet file: all pairs of planned and reserved ranges.
Result<void> check_disjoint(const Plan& plan);

// ---- what follows from a plan ----------------------------------------------------------------

std::vector<PlanBlock> blocks_of(const Plan& plan);

const PlannedCluster* find_cluster(const Plan& plan, std::string_view name);  // null: no such one
const PlannedRange* find_range(const PlannedCluster& cluster, BlockUse use, Family family);

// The addresses inside an underlay range, or inside each of its subnets: host 1 is the gateway (the
// router between the clusters), nodes follow from host 2 on, after what the cloud keeps for itself
// (AWS and Azure: hosts 0 to 3 and the last; GCP: 0, 1 and the last two). Nodes take turns between
// the zones: the first is in the first, the second in the second. kNotFound when the cluster has no
// underlay of the family, kOutOfRange when it has no room for that many nodes.
Result<Ip> node_address(const PlannedCluster& cluster, Family family, unsigned index);
// The subnet that the node is in, or the underlay; and its gateway.
Result<Prefix> node_subnet(const PlannedCluster& cluster, Family family, unsigned index);
Result<Ip> gateway_address(const PlannedCluster& cluster, Family family, unsigned index = 0);
Ip gateway_of(const Prefix& subnet);
// "subnet a", "public subnet a"; without a zone "subnet".
std::string subnet_name(const Subnet& subnet);

struct RouteEntry {
  std::string cluster;  // where it leads
  BlockUse use = BlockUse::kPod;
  Prefix destination;
  std::vector<Ip> next_hops;  // several: equal cost
  bool operator==(const RouteEntry&) const = default;
};

// What a router between the clusters, with an interface in every underlay, must hold: each pod
// range, and each range of a load balancer, by way of its cluster's entry nodes.
std::vector<RouteEntry> plan_routes(const Plan& plan);
// What a node of `cluster` (the first is 0) must hold: what is routed of all others, and the other
// subnets of its own, by way of the gateway of its subnet. kNotFound when there is no such cluster.
Result<std::vector<RouteEntry>> plan_routes_of(const Plan& plan, std::string_view cluster,
                                               unsigned node = 0);
// "ip route replace 10.1.0.0/20 nexthop via 10.0.0.2 nexthop via 10.0.0.3", "ip -6 route …".
std::string route_command(const RouteEntry& route);

// The fewest prefixes that cover a region's underlay, pod and load-balancer ranges of one family
// and nothing of another region, nothing reserved and no clusterset range.
struct RegionSummary {
  std::string region;
  Family family = Family::kV4;
  std::vector<Prefix> prefixes;
};
std::vector<RegionSummary> region_summaries(const Plan& plan);

// "certificate IPv4: 2 routes, no plan has fewer (…); …"
std::string text_of(const Certificate& certificate);

// The oldest format version that can hold the plan: 1, 2 when a cluster has no id, 3 with ranges
// for load balancers or tunnels, subnets, or pods in the underlay. With the certificate: its
// figures, the summaries, and all ranges in order of address.
json::value plan_to_json(const Plan& plan);
// Unknown fields are ignored (a newer writer of the same format), a newer format is refused.
Result<Plan> plan_from_json(const Cursor& document);

// What a change from `before` to `after` means, one line each; empty when applying `after` would
// change nothing. Origins are not compared.
std::vector<std::string> diff_plans(const Plan& before, const Plan& after);

// ---- questions to a plan (what_if.cpp) -------------------------------------------------------

// Clusters that get new addresses, and the fleet and plan afterwards. Everybody else keeps theirs.
struct Renumbering {
  std::vector<std::string> clusters;  // by name
  Fleet fleet;
  Plan plan;
};
// Two fleets as one, `a`'s name and clusterset. As few clusters as possible are renumbered: the
// smallest set that has a part in every overlap. Ids that stand twice become the lowest free ones
// in `b`. kFailedPrecondition when names contradict each other.
Result<Renumbering> merge_fleets(const Fleet& a, const Plan& plan_a, const Fleet& b,
                                 const Plan& plan_b);
// Makes `prefix` free: every cluster in it moves; it is reserved in the fleet that is returned.
Result<Renumbering> free_prefix(const Fleet& fleet, const Plan& plan, const Prefix& prefix);
// The same for that /`length` which takes the fewest clusters.
Result<Renumbering> free_any(const Fleet& fleet, const Plan& plan, Family family, int length);
// Makes one summary route of a region less, by moving the clusters of the one with the fewest.
Result<Renumbering> drop_route(const Fleet& fleet, const Plan& plan, std::string_view region,
                               Family family);

// How long a range lasts when the nodes and services of its cluster grow by a constant part each
// year.
struct Forecast {
  std::string cluster;
  BlockUse use = BlockUse::kPod;
  Prefix prefix;
  double used = 0;              // nodes, or services
  double room = 0;              // as many fit
  double yearly_growth = 1;     // times this each year; 1: it does not grow
  std::optional<double> years;  // none: it does not grow, or nothing of it is used
};
// The shortest of room first. `yearly_growth` is for all clusters; without it each has that of the
// fleet file.
std::vector<Forecast> forecast(const Plan& plan, const Fleet& fleet,
                               std::optional<double> yearly_growth);

struct PlanTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> summary;  // use of each root, routes per region, the check's verdict
};
// With `fleet` the verdict is check_plan's, else check_disjoint's.
PlanTable plan_table(const Plan& plan, const Fleet* fleet = nullptr);

}  // namespace tombolo
