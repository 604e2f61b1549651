// Cilium ClusterMesh's records (etcd layout v1) as values: strict decoding of what another cluster
// wrote, encoding byte for byte as Cilium 1.18 writes. Unknown fields are ignored; what Cilium does
// not know travels in one extra member, "tombolo", which Cilium ignores in turn. Pure.
//
// Every decoder takes the record's key: it stands in front of each error, and the names in the
// value must be the names in the key. `Origin` is the cluster that may have written the record.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/tables.h"
#include "servicesync/cilium/keys.h"

namespace tombolo::cilium {

struct Origin {
  std::string cluster;
  std::uint32_t id = 0;  // 0: any, for records that were checked when they were copied
  int cluster_bits = 8;  // of the 24 bits of an identity: 8 or 9 with Cilium
};

// `key` less `prefix`, or an error. The prefixes are those of keys.h.
Result<std::string_view> name_in_key(std::string_view key, std::string_view prefix);

// ---- services

struct PortNumber {
  Protocol protocol = Protocol::kTcp;
  Port port = 0;
  auto operator<=>(const PortNumber&) const = default;
};
using PortMap = std::map<std::string, PortNumber>;  // by port name

struct Zone {
  std::string zone;
  std::vector<std::string> for_zones;
  bool operator==(const Zone&) const = default;
};

// A backend that Cilium's part of the record cannot express: not active, weighted, or a second port
// of the same name and address.
struct ExtraBackend {
  Ip ip;
  std::string port_name;
  PortNumber number;
  std::uint16_t weight = 100;
  BackendState state = BackendState::kActive;
  bool operator==(const ExtraBackend&) const = default;
};

struct EndpointPlace {
  std::string node;
  std::string pod_name;
  bool operator==(const EndpointPlace&) const = default;
};

// The member "tombolo" of a service.
struct ServiceExtras {
  std::int64_t created_unix_s = 0;
  bool headless = false;
  StringMap annotations;           // those that decide about sharing and balancing
  std::vector<Ip> clusterset_ips;  // this cluster's candidates
  std::vector<ExtraBackend> backends;
  std::map<Ip, EndpointPlace> places;
  bool operator==(const ServiceExtras&) const = default;
};

struct ClusterService {
  std::string cluster;
  std::string name_space;
  std::string name;
  std::map<Ip, PortMap> frontends;
  std::map<Ip, PortMap> backends;  // the active ones
  std::map<Ip, std::string> hostnames;
  std::map<Ip, Zone> zones;
  StringMap labels;
  StringMap selector;
  bool include_external = false;
  bool shared = false;
  std::uint32_t cluster_id = 0;
  std::optional<ServiceExtras> extras;
  std::string key() const { return fmt::format("{}/{}/{}", cluster, name_space, name); }
  bool operator==(const ClusterService&) const = default;
};

std::string encode(const ClusterService& service);
Result<ClusterService> decode_service(std::string_view key, std::string_view name,
                                      std::string_view value, const Origin& origin);
// The backends of both parts of the record as rows, sorted. One without ports has port 0.
std::vector<Backend> backends_of(const ClusterService& service);
// The other way: fills `backends`, `hostnames`, `zones` and the extras.
void set_backends(ClusterService& service, const std::vector<Backend>& backends);

// ---- nodes

struct NodeAddress {
  std::string type;  // "InternalIP", "ExternalIP", "CiliumInternalIP"
  Ip ip;
  bool operator==(const NodeAddress&) const = default;
};

struct NodeRecord {
  std::string name;
  std::string cluster;
  std::vector<NodeAddress> addresses;
  std::optional<Prefix> ipv4_block;
  std::vector<Prefix> ipv4_more_blocks;
  std::optional<Prefix> ipv6_block;
  std::vector<Prefix> ipv6_more_blocks;
  std::optional<Ip> ipv4_health;
  std::optional<Ip> ipv6_health;
  std::optional<Ip> ipv4_ingress;
  std::optional<Ip> ipv6_ingress;
  std::uint32_t cluster_id = 0;
  std::string source = "custom-resource";
  std::uint8_t encryption_key = 0;
  StringMap labels;
  StringMap annotations;
  std::uint32_t node_identity = 0;
  std::string wireguard_key;
  std::string boot_id;
  bool operator==(const NodeRecord&) const = default;
};

std::string encode(const NodeRecord& node);
Result<NodeRecord> decode_node(std::string_view key, std::string_view name, std::string_view value,
                               const Origin& origin);
NodeRecord node_record_of(const Node& node);
Node node_row_of(const NodeRecord& record);

// ---- addresses

struct IpRecord {
  Ip ip;
  std::optional<int> prefix_length;  // a range instead of one address
  std::optional<Ip> host_ip;
  std::uint32_t identity = 0;
  std::uint8_t encryption_key = 0;
  std::string metadata;
  std::string name_space;
  std::string pod_name;
  std::string service_account;
  std::vector<NamedPort> named_ports;
  bool operator==(const IpRecord&) const = default;
};

std::string encode(const IpRecord& record);
// The identity must be reserved (below 256) or in the origin's range.
Result<IpRecord> decode_ip(std::string_view key, std::string_view name, std::string_view value,
                           const Origin& origin);
// Whose the address is. kInvalidArgument for a range.
Result<IpOwner> ip_owner_of(std::string_view key, const IpRecord& record, std::string_view cluster);

// ---- identities

// First and last number of a cluster; Tombolo leaves the lowest 256 of them alone.
std::uint32_t first_identity(std::uint32_t cluster_id, int cluster_bits);
std::uint32_t last_identity(std::uint32_t cluster_id, int cluster_bits);

// "k8s:app=web;k8s:io.kubernetes.pod.namespace=shop;": sorted, each pair ended by ';'.
std::string encode_labels(const StringMap& labels);
Result<StringMap> decode_labels(std::string_view key, std::string_view value);
// Also checks that the number is in the origin's range and that the labels name its cluster.
Result<StringMap> decode_identity(std::string_view key, std::string_view name,
                                  std::string_view value, const Origin& origin);
// The inverse of identity_labels(): which are the pod's, its namespace's, its account, its cluster.
// Labels that did not come from Kubernetes (a source before a colon) are left out.
Identity identity_row_of(std::uint32_t number, const StringMap& labels);
// decode_identity() as a row; without a namespace it is refused.
Result<Identity> decode_identity_row(std::string_view key, std::string_view name,
                                     std::string_view value, const Origin& origin);
// The labels by which policies know a pod: its own (but for those that change with every rollout),
// its namespace's, its account and its cluster.
StringMap identity_labels(const Workload& workload, const StringMap& namespace_labels,
                          std::string_view cluster);

// ---- cluster configuration

struct ClusterConfig {
  std::uint32_t id = 0;
  bool synced_canaries = false;
  bool cached = false;                  // the records lie under cilium/cache
  std::uint32_t max_clusters = 0;       // 0: not given, which means 255
  std::optional<bool> service_exports;  // absent: not supported
  std::string endpoint_slices;          // "", or a mode of Cilium 1.20
  bool operator==(const ClusterConfig&) const = default;
};

std::string encode(const ClusterConfig& config);
Result<ClusterConfig> decode_cluster_config(std::string_view key, std::string_view value);
// Whether a cluster with this configuration can be in one mesh with us.
Result<void> check_compatible(std::string_view key, const ClusterConfig& remote,
                              const Origin& expected, std::uint32_t own_id);

// ---- exports of the Multi-Cluster Services API (KEP-1645)

struct ExportPort {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  Port port = 0;
  bool operator==(const ExportPort&) const = default;
};

struct ServiceExport {
  std::string cluster;
  std::string name_space;
  std::string name;
  StringMap annotations;
  StringMap labels;
  std::int64_t created_unix_s = 0;
  std::vector<ExportPort> ports;
  bool headless = false;
  std::string session_affinity = "None";
  bool operator==(const ServiceExport&) const = default;
};

std::string encode(const ServiceExport& exported);
Result<ServiceExport> decode_service_export(std::string_view key, std::string_view name,
                                            std::string_view value, const Origin& origin);

// ---- what a cluster's agents are told of its pods (tombolo/v1/workloads/NODE/NS/NAME): enough to
// write the pod's IpRecord

struct WorkloadRecord {
  std::uint32_t identity = 0;  // 0: none yet
  std::string service_account;
  std::vector<NamedPort> named_ports;
  bool operator==(const WorkloadRecord&) const = default;
};

std::string encode(const WorkloadRecord& record);
Result<WorkloadRecord> decode_workload_record(std::string_view key, std::string_view value);
// The same as a row; `name` is NAMESPACE/NAME.
Result<LocalPod> decode_local_pod(std::string_view key, std::string_view name,
                                  std::string_view value);

// ---- heartbeat and canaries: an RFC 3339 time

Result<WallTime> decode_time(std::string_view key, std::string_view value);

// Decodes a record of any kind and forgets it: what a mirror asks before it copies one.
Result<void> check_record(RecordKind kind, std::string_view key, std::string_view name,
                          std::string_view value, const Origin& origin);

}  // namespace tombolo::cilium
