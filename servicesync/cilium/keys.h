// Where records lie in the stores: Cilium ClusterMesh's layout, byte by byte (Cilium's etcd layout
// v1, stable since 1.14), and Tombolo's own keys beside it. Pure.
//
// "state" is what a cluster publishes in its own store; "cache" is another cluster's state as
// copied into the own store, where identities and addresses get the cluster's name into their key.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/ip.h"

namespace tombolo::cilium {

enum class RecordKind { kNodes, kServices, kIdentities, kIps, kServiceExports };
inline constexpr std::array kRecordKinds{RecordKind::kNodes, RecordKind::kServices,
                                         RecordKind::kIdentities, RecordKind::kIps,
                                         RecordKind::kServiceExports};
// "nodes", "services", "identities", "ip", "serviceexports"
std::string_view to_string(RecordKind kind);

namespace keys {

inline constexpr std::string_view kHeartbeat = "cilium/.heartbeat";

std::string cluster_config(std::string_view cluster);  // cilium/cluster-config/CLUSTER
// cilium/synced/CLUSTER/cilium/{state,cache}/KIND/v1
std::string synced(std::string_view cluster, RecordKind kind);
std::string synced_cache(std::string_view cluster, RecordKind kind);

// With a trailing slash. The rest of a key behind it is the record's own name: NODE, NS/NAME,
// NUMBER, ADDRESS; the same in state and cache.
std::string state_prefix(std::string_view cluster, RecordKind kind);
std::string cache_prefix(std::string_view cluster, RecordKind kind);

std::string service(std::string_view cluster, std::string_view name_space, std::string_view name);
std::string service_export(std::string_view cluster, std::string_view name_space,
                           std::string_view name);
std::string node(std::string_view cluster, std::string_view name);
std::string identity(std::uint32_t number);  // cilium/state/identities/v1/id/NUMBER
std::string ip(const Ip& address);           // cilium/state/ip/v1/default/ADDRESS

}  // namespace keys
}  // namespace tombolo::cilium

// Tombolo's own keys that servicesync writes or reads.
namespace tombolo::keys {

inline constexpr std::string_view kClusterIps = "tombolo/v1/clusterips/";               // NS/NAME
inline constexpr std::string_view kClusterIpOwners = "tombolo/v1/clusterip-owners/";    // ADDRESS
inline constexpr std::string_view kClusterset = "tombolo/v1/clusterset/";               // NS/NAME
inline constexpr std::string_view kClustersetOwners = "tombolo/v1/clusterset-owners/";  // ADDRESS
inline constexpr std::string_view kLoadBalancers = "tombolo/v1/loadbalancers/";         // NS/NAME
inline constexpr std::string_view kLoadBalancerOwners =
    "tombolo/v1/loadbalancer-owners/";                                   // ADDRESS
inline constexpr std::string_view kImports = "tombolo/v1/imports/";      // NS/NAME
inline constexpr std::string_view kWorkloads = "tombolo/v1/workloads/";  // NODE/NS/NAME
inline constexpr std::string_view kIdentityCursor = "tombolo/v1/identity-cursor";

std::string workload(std::string_view node, std::string_view name_space, std::string_view name);

}  // namespace tombolo::keys
