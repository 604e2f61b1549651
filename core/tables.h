// The rows that folders share: siblings (ipamd, servicesync, policy, dns, bpf) never include each
// other, they meet here. In flow order. Addresses are in host order. Keys are "NAMESPACE/NAME"
// unless a row says otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/ip.h"
#include "core/policy.h"
#include "core/table.h"

namespace tombolo {

using StringMap = std::map<std::string, std::string>;

std::string object_key(std::string_view name_space, std::string_view name);  // "ns/name"

// ---- the fleet's plan
// ------------------------------------------------------------------------------------------------

enum class BlockUse { kUnderlay, kPod, kService, kClusterset, kLoadBalancer, kTunnel };
// "underlay", "pod", "service", "clusterset", "load-balancer", "tunnel"
std::string_view to_string(BlockUse use);
inline constexpr std::array kBlockUses{BlockUse::kUnderlay,     BlockUse::kPod,
                                       BlockUse::kService,      BlockUse::kClusterset,
                                       BlockUse::kLoadBalancer, BlockUse::kTunnel};
// Those that a cluster has; the clusterset's belong to the whole fleet.
inline constexpr std::array kClusterUses{BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService,
                                         BlockUse::kLoadBalancer, BlockUse::kTunnel};

// A range that the plan gives to a cluster, or (kClusterset, empty cluster) to the whole fleet.
struct PlanBlock {
  std::string cluster;
  BlockUse use = BlockUse::kPod;
  Prefix prefix;
  int node_prefix_length = 0;  // kPod only: what each node gets of it
  std::string key() const;     // "CLUSTER/USE/PREFIX"
  bool operator==(const PlanBlock&) const = default;
};

// A part of a cluster's pod range that belongs to one node. Written by the controller, durable
// before it is seen.
struct NodeBlock {
  std::string node;
  Prefix prefix;
  std::string key() const;  // "NODE/PREFIX"
  bool operator==(const NodeBlock&) const = default;
};

// ---- addresses and blocks of shared pools
// ----------------------------------------------------------------------------------------

// An address of a pool that many nodes share: which pod's interface holds it. Written by agents,
// one compare-and-swap each. Three states: held (it has a holder), kept (only an identity: for the
// next pod of that identity), free (neither: it rests since its release).
struct AddressClaim {
  std::string pool;
  Ip ip;
  std::string identity;  // a fixed address is this workload's ("StatefulSet/ns/name/3/eth0")
  std::string holder;    // key of the attachment
  std::string node;      // of the holder
  std::string pod;       // "NAMESPACE/NAME" of the holder, for people
  std::int64_t since_unix_ms = 0;     // it has this holder
  std::int64_t released_unix_ms = 0;  // by the last holder
  std::int64_t sequence = 0;  // the store's revision that wrote it; never used again, not stored
  bool held() const { return !holder.empty(); }
  bool kept() const { return holder.empty() && !identity.empty(); }
  bool free() const { return holder.empty() && identity.empty(); }
  std::string key() const;  // "POOL/IP"
  bool operator==(const AddressClaim&) const = default;
};

// The addresses of one identity. Whoever adds or removes one compares it, so that two nodes
// together never give an identity more than it may have.
struct Claimant {
  struct Address {
    std::string pool;
    Ip ip;
    auto operator<=>(const Address&) const = default;
  };
  std::string identity;
  std::vector<Address> addresses;  // ascending
  std::string key() const { return identity; }
  bool operator==(const Claimant&) const = default;
};

// A block of an overlay pool, in the hands of a node, or (without one) at rest.
struct PoolBlock {
  std::string pool;
  Prefix prefix;
  std::string node;
  std::int64_t since_unix_ms = 0;
  std::int64_t released_unix_ms = 0;
  std::int64_t sequence = 0;  // as of an AddressClaim
  std::string key() const;    // "POOL/PREFIX"
  bool operator==(const PoolBlock&) const = default;
};

// ---- pools of addresses that operators write

enum class PoolObjectKind { kPool, kReservation };
std::string_view to_string(PoolObjectKind kind);  // "IPPool", "IPReservation"

// An IPPool or IPReservation as it was written. ipamd/pools says what the document means.
struct PoolObject {
  PoolObjectKind kind = PoolObjectKind::kPool;
  std::string name;
  std::string place;     // "FILE:LINE", for errors
  std::string document;  // JSON
  // Nobody writes it any more, but addresses of it are in use: it gives out nothing.
  bool leaving = false;
  std::string key() const;  // "KIND/NAME"
  bool operator==(const PoolObject&) const = default;
};

// What the choice of a pool asks of a pod, before the pod has an interface: what is written of the
// pod itself, or of the controller that makes pods of its name.
struct PodInfo {
  std::string name_space;
  std::string name;   // of the pod, or of the controller: its pods are NAME-…
  std::string kind;   // "Pod", "Deployment", "StatefulSet", …
  std::string owner;  // "KIND/NAME" of the pod's controller; empty: none
  StringMap labels;
  StringMap annotations;
  StringMap namespace_labels;
  StringMap namespace_annotations;
  std::uint32_t replicas = 0;  // of a controller that says so
  std::string key() const;     // "NAMESPACE/NAME/KIND"
  bool operator==(const PodInfo&) const = default;
};

// ---- what a cluster consists of
// ----------------------------------------------------------------------------------------

struct Node {
  std::string cluster;
  std::uint32_t cluster_id = 0;
  std::string name;
  std::vector<Ip> internal_ips;
  std::vector<Prefix> pod_blocks;
  StringMap labels;
  std::string boot_id;
  std::string key() const;  // "CLUSTER/NAME"
  bool operator==(const Node&) const = default;
};

struct Namespace {
  std::string name;
  StringMap labels;
  StringMap annotations;
  std::string key() const { return name; }
  bool operator==(const Namespace&) const = default;
};

struct NamedPort {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  Port port = 0;
  auto operator<=>(const NamedPort&) const = default;
};

// One network interface that a CNI ADD made. Written by the agent of the node, mirrored to the
// controller.
struct Attachment {
  std::string container_id;
  std::string interface_name;
  std::string name_space;  // K8S_POD_NAMESPACE of CNI_ARGS; empty when the runtime gave none
  std::string pod_name;
  std::string pod_uid;
  std::string node;
  std::string netns_path;
  std::string host_interface;
  std::string mac;  // "02:…", of the interface in the pod
  std::vector<Ip> ips;
  std::string key() const;  // "CONTAINER_ID/INTERFACE_NAME"
  bool operator==(const Attachment&) const = default;
};

// A Pod as its manifest (or the Kubernetes API) describes it, joined with its attachment.
struct Workload {
  std::string name_space;
  std::string name;
  std::string node;  // empty until attached or scheduled
  StringMap labels;
  StringMap annotations;
  std::string service_account = "default";
  std::string hostname;          // spec.hostname
  std::string subdomain;         // spec.subdomain
  std::vector<NamedPort> ports;  // of its containers; unnamed ones have an empty name
  std::vector<Ip> ips;
  bool ready = false;
  bool terminating = false;
  bool host_network = false;
  std::string owner;           // "KIND/NAME" of its controller, a Deployment's for its ReplicaSets
  bool finished = false;       // phase Succeeded or Failed: its addresses may be another's already
  std::uint32_t identity = 0;  // 0 until allocated
  std::string key() const { return object_key(name_space, name); }
  bool operator==(const Workload&) const = default;
};

enum class ServiceType { kClusterIp, kNodePort, kLoadBalancer, kExternalName };

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  Port port = 0;
  std::string target_port_name;  // a container port's name, else
  Port target_port = 0;          // a number (defaults to `port`)
  Port node_port = 0;
  bool operator==(const ServicePort&) const = default;
};

struct Service {
  std::string name_space;
  std::string name;
  StringMap labels;
  StringMap annotations;
  ServiceType type = ServiceType::kClusterIp;
  bool headless = false;
  std::vector<Ip>
      cluster_ips;  // at most one per family; allocated durably when the manifest has none
  std::vector<Family> families;  // wanted, in order
  std::vector<ServicePort> ports;
  StringMap selector;
  std::string external_name;
  bool publish_not_ready = false;
  // Type LoadBalancer only.
  std::string load_balancer_class;
  std::string load_balancer_ip;         // spec.loadBalancerIP: asked for, not checked
  std::vector<Prefix> source_ranges;    // who may reach its load balancer addresses; empty: all
  std::vector<Ip> load_balancer_ips;    // status.loadBalancer.ingress: at most one per family
  bool external_traffic_local = false;  // externalTrafficPolicy: Local
  std::int64_t created_unix_s = 0;      // decides conflicts between clusters: the oldest wins
  std::string key() const { return object_key(name_space, name); }
  bool operator==(const Service&) const = default;
};

struct SliceEndpoint {
  std::vector<Ip> ips;  // fungible addresses of one endpoint; the first is used
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  std::string hostname;
  std::string node;
  std::string zone;
  std::string pod_name;  // targetRef, when it names a Pod
  bool operator==(const SliceEndpoint&) const = default;
};

struct EndpointSlice {
  std::string name_space;
  std::string name;
  std::string service;  // label kubernetes.io/service-name
  Family family = Family::kV4;
  StringMap annotations;
  std::vector<SliceEndpoint> endpoints;
  std::vector<NamedPort> ports;
  std::string key() const { return object_key(name_space, name); }
  bool operator==(const EndpointSlice&) const = default;
};

// ---- what the controller publishes and agents use
// ----------------------------------------------------------------------

enum class BackendState {
  kActive,       // takes new connections
  kTerminating,  // keeps what it has; takes new ones only when nothing is active (KEP-1669)
  kQuarantined,  // weight 0: known, never chosen
};

struct Backend {
  Ip ip;
  Port port = 0;
  Protocol protocol = Protocol::kTcp;
  std::string port_name;  // the service port that it serves
  std::string cluster;
  std::string node;
  std::string zone;
  std::string hostname;  // of the endpoint; empty when it has none
  std::string pod_name;
  std::uint16_t weight = 100;
  BackendState state = BackendState::kActive;
  auto operator<=>(const Backend&) const = default;
};

struct FrontendPort {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  Port port = 0;
  auto operator<=>(const FrontendPort&) const = default;
};

enum class Selection { kRandom, kMaglev };  // service.cilium.io/lb-algorithm

// A service as this cluster sees it: merged over all clusters, affinity applied, ready for the
// datapath and for DNS. `backends` are only those that the affinity lets through, sorted.
struct Frontend {
  std::string name_space;
  std::string name;
  bool local = false;     // a Service of this cluster: answers under cluster.local
  bool exported = false;  // part of the clusterset: answers under clusterset.local
  bool headless = false;
  std::vector<Ip> cluster_ips;          // of this cluster
  std::vector<Ip> clusterset_ips;       // of the fleet
  std::vector<Ip> load_balancer_ips;    // of this cluster, for clients outside
  std::vector<Prefix> source_ranges;    // who may use those; empty: all
  bool external_traffic_local = false;  // from outside only backends on the node that is reached
  std::string external_name;
  Selection selection = Selection::kRandom;
  std::vector<FrontendPort> ports;
  std::vector<Backend> backends;
  std::string key() const { return object_key(name_space, name); }
  bool operator==(const Frontend&) const = default;
};

// ---- who is who, for policies

// What a security identity stands for: a set of labels that pods of one cluster have.
struct Identity {
  std::uint32_t number = 0;
  std::string cluster;
  std::string name_space;
  std::string service_account;
  StringMap labels;            // of the pod
  StringMap namespace_labels;  // of its namespace in its own cluster
  std::string key() const { return std::to_string(number); }
  bool operator==(const Identity&) const = default;
};

// Whose an address is, in any cluster: what Cilium calls the ipcache.
struct IpOwner {
  Ip ip;
  std::uint32_t identity = 0;  // below 256: reserved (1 host, 2 world, 5 init, 6 remote node)
  std::string cluster;
  std::string name_space;
  std::string pod_name;
  std::optional<Ip> node_ip;
  std::vector<NamedPort> ports;  // the named ones of the pod
  std::string key() const { return ip.str(); }
  bool operator==(const IpOwner&) const = default;
};

// A pod of this node as its cluster's controller knows it.
struct LocalPod {
  std::string name_space;
  std::string name;
  std::uint32_t identity = 0;  // 0: none yet
  std::string service_account;
  std::vector<NamedPort> ports;  // the named ones
  std::string key() const { return object_key(name_space, name); }
  bool operator==(const LocalPod&) const = default;
};

// ---- how it stands
// -----------------------------------------------------------------------------------------------------

enum class ReconcileState { kPending, kDone, kError };

// One line per reconciler and object that is not done, and one per reconciler (empty object) with
// its progress.
struct ReconcileStatus {
  std::string reconciler;
  std::string object;
  ReconcileState state = ReconcileState::kPending;
  std::uint64_t revision = 0;
  std::uint32_t attempts = 0;
  std::string error;
  std::string key() const { return reconciler + "|" + object; }
  bool operator==(const ReconcileStatus&) const = default;
};

// How another cluster stands. Silent: no answer of its store for RemoteOptions::silence.
enum class RemoteState {
  kConnecting,        // never heard since this daemon started, and its records were not all read
  kReady,             // its store answers and everything it publishes has been read
  kControlPlaneAway,  // its store is silent, its nodes answer (or nobody could ask them): kept
  kLost,              // its store is silent and its nodes do not answer: out of names and maps
};
std::string_view to_string(
    RemoteState state);  // "connecting", "ready", "control plane away", "lost"

// What this cluster's agents hear of another cluster's nodes; one row per agent and cluster.
struct NodeReach {
  std::string node;     // who asked
  std::string cluster;  // whose nodes
  std::uint32_t asked = 0;
  std::uint32_t answered = 0;
  std::string key() const { return node + "/" + cluster; }
  bool operator==(const NodeReach&) const = default;
};

// What is known of another cluster's control plane.
struct RemoteCluster {
  std::string name;
  std::uint32_t id = 0;
  bool connected = false;
  bool synced = false;    // everything it publishes has been read at least once
  WallTime last_heard{};  // the last answer of its store
  RemoteState state = RemoteState::kConnecting;
  std::string error;
  std::string key() const { return name; }
  bool operator==(const RemoteCluster&) const = default;
};

// The tables of the controller role.
struct ControllerTables {
  RevisionCounter revisions;
  Table<PlanBlock> plan_blocks{"plan_blocks", revisions};
  Table<NodeBlock> node_blocks{"node_blocks", revisions};
  Table<Node> nodes{"nodes", revisions};
  Table<Namespace> namespaces{"namespaces", revisions};
  Table<Attachment> attachments{"attachments", revisions};
  Table<Workload> workloads{"workloads", revisions};
  Table<Service> services{"services", revisions};
  Table<EndpointSlice> endpoint_slices{"endpoint_slices", revisions};
  Table<Frontend> frontends{"frontends", revisions};
  Table<Policy> policies{"policies", revisions};
  Table<PoolObject> pool_objects{"pool_objects", revisions};  // as written, not all in force
  Table<PodInfo> pod_infos{"pod_infos", revisions};
  Table<AddressClaim> claims{"claims", revisions};
  Table<PoolBlock> pool_blocks{"pool_blocks", revisions};
  Table<NodeReach> node_reach{"node_reach", revisions};
  Table<RemoteCluster> remote_clusters{"remote_clusters", revisions};
  Table<ReconcileStatus> status{"status", revisions};
};

// The tables of the agent role.
struct AgentTables {
  RevisionCounter revisions;
  Table<NodeBlock> node_blocks{"node_blocks", revisions};  // of this node only
  Table<Attachment> attachments{"attachments", revisions};
  Table<Node> nodes{"nodes", revisions};
  Table<Frontend> frontends{"frontends", revisions};
  Table<LocalPod> local_pods{"local_pods", revisions};
  Table<Policy> policies{"policies", revisions};
  Table<PoolObject> pools{"pools", revisions};
  Table<PoolObject> reservations{"reservations", revisions};
  // Prefixes and single addresses of pools, of every node, that other nodes reach by that node.
  Table<NodeBlock> routed{"routed", revisions};
  Table<Identity> identities{"identities", revisions};
  Table<IpOwner> ip_owners{"ip_owners", revisions};
  // Derived from the above by the policy compiler.
  Table<NumberedRule> numbered_rules{"numbered_rules", revisions};
  Table<VerdictSet> verdict_sets{"verdict_sets", revisions};
  Table<PolicyPeer> policy_peers{"policy_peers", revisions};
  Table<GuardedPod> guarded_pods{"guarded_pods", revisions};
  Table<ReconcileStatus> status{"status", revisions};
};

// Calls visit(table) for every table of a role, in flow order.
template <class Visit>
void for_each_table(ControllerTables& tables, Visit visit) {
  visit(tables.plan_blocks);
  visit(tables.node_blocks);
  visit(tables.nodes);
  visit(tables.namespaces);
  visit(tables.attachments);
  visit(tables.workloads);
  visit(tables.services);
  visit(tables.endpoint_slices);
  visit(tables.frontends);
  visit(tables.policies);
  visit(tables.pool_objects);
  visit(tables.pod_infos);
  visit(tables.claims);
  visit(tables.pool_blocks);
  visit(tables.node_reach);
  visit(tables.remote_clusters);
  visit(tables.status);
}

template <class Visit>
void for_each_table(AgentTables& tables, Visit visit) {
  visit(tables.node_blocks);
  visit(tables.attachments);
  visit(tables.nodes);
  visit(tables.frontends);
  visit(tables.local_pods);
  visit(tables.policies);
  visit(tables.pools);
  visit(tables.reservations);
  visit(tables.routed);
  visit(tables.identities);
  visit(tables.ip_owners);
  visit(tables.numbered_rules);
  visit(tables.verdict_sets);
  visit(tables.policy_peers);
  visit(tables.guarded_pods);
  visit(tables.status);
}

}  // namespace tombolo
