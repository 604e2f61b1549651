// The layout of keys.h.
#include "servicesync/cilium/keys.h"

#include <fmt/format.h>

namespace tombolo::cilium {

std::string_view to_string(RecordKind kind) {
  switch (kind) {
    case RecordKind::kNodes:
      return "nodes";
    case RecordKind::kServices:
      return "services";
    case RecordKind::kIdentities:
      return "identities";
    case RecordKind::kIps:
      return "ip";
    case RecordKind::kServiceExports:
      return "serviceexports";
  }
  return "?";
}

namespace keys {

std::string cluster_config(std::string_view cluster) {
  return fmt::format("cilium/cluster-config/{}", cluster);
}

std::string synced(std::string_view cluster, RecordKind kind) {
  return fmt::format("cilium/synced/{}/cilium/state/{}/v1", cluster, to_string(kind));
}

std::string synced_cache(std::string_view cluster, RecordKind kind) {
  return fmt::format("cilium/synced/{}/cilium/cache/{}/v1", cluster, to_string(kind));
}

std::string state_prefix(std::string_view cluster, RecordKind kind) {
  switch (kind) {
    case RecordKind::kIdentities:
      return "cilium/state/identities/v1/id/";
    case RecordKind::kIps:
      return "cilium/state/ip/v1/default/";
    case RecordKind::kNodes:
    case RecordKind::kServices:
    case RecordKind::kServiceExports:
      break;
  }
  return fmt::format("cilium/state/{}/v1/{}/", to_string(kind), cluster);
}

std::string cache_prefix(std::string_view cluster, RecordKind kind) {
  std::string_view below = kind == RecordKind::kIdentities ? "id/" : "";
  return fmt::format("cilium/cache/{}/v1/{}/{}", to_string(kind), cluster, below);
}

std::string service(std::string_view cluster, std::string_view name_space, std::string_view name) {
  return fmt::format("cilium/state/services/v1/{}/{}/{}", cluster, name_space, name);
}

std::string service_export(std::string_view cluster, std::string_view name_space,
                           std::string_view name) {
  return fmt::format("cilium/state/serviceexports/v1/{}/{}/{}", cluster, name_space, name);
}

std::string node(std::string_view cluster, std::string_view name) {
  return fmt::format("cilium/state/nodes/v1/{}/{}", cluster, name);
}

std::string identity(std::uint32_t number) {
  return fmt::format("cilium/state/identities/v1/id/{}", number);
}

std::string ip(const Ip& address) {
  return fmt::format("cilium/state/ip/v1/default/{}", address.str());
}

}  // namespace keys
}  // namespace tombolo::cilium

namespace tombolo::keys {

std::string workload(std::string_view node, std::string_view name_space, std::string_view name) {
  return fmt::format("{}{}/{}/{}", kWorkloads, node, name_space, name);
}

}  // namespace tombolo::keys
