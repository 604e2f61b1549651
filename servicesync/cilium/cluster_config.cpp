// CiliumClusterConfig: who a cluster is and what it can do. Pure.
#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

constexpr std::uint32_t kDefaultMaxClusters = 255;

}  // namespace

std::string encode(const ClusterConfig& config) {
  json::object capabilities;
  if (config.synced_canaries) capabilities.emplace("syncedCanaries", true);
  if (config.cached) capabilities.emplace("cached", true);
  if (config.max_clusters != 0) capabilities.emplace("maxConnectedClusters", config.max_clusters);
  if (config.service_exports)
    capabilities.emplace("serviceExportsEnabled", *config.service_exports);
  if (!config.endpoint_slices.empty())
    capabilities.emplace("endpointSlicesExportMode", config.endpoint_slices);
  json::object object;
  object.emplace("id", config.id);
  object.emplace("capabilities", std::move(capabilities));
  return to_json(object);
}

Result<ClusterConfig> decode_cluster_config(std::string_view key, std::string_view value) {
  TRY(record, parse_record(key, value));
  Cursor root = record.root();
  ClusterConfig config;
  TRY(id, root["id"].integer(0, UINT32_MAX));
  config.id = static_cast<std::uint32_t>(id);
  Cursor capabilities = root["capabilities"];
  if (capabilities.is_null()) return config;
  TRY_OK(capabilities.expect_object());
  TRY(canaries, capabilities["syncedCanaries"].boolean_or(false));
  TRY(cached, capabilities["cached"].boolean_or(false));
  TRY(max_clusters, capabilities["maxConnectedClusters"].integer_or(0, 0, UINT32_MAX));
  TRY(exports, capabilities["serviceExportsEnabled"].boolean_or(false));
  TRY(slices, capabilities["endpointSlicesExportMode"].string_or(""));
  config.synced_canaries = canaries;
  config.cached = cached;
  config.max_clusters = static_cast<std::uint32_t>(max_clusters);
  if (!capabilities["serviceExportsEnabled"].is_null()) config.service_exports = exports;
  config.endpoint_slices = std::move(slices);
  return config;
}

Result<void> check_compatible(std::string_view key, const ClusterConfig& remote,
                              const Origin& expected, std::uint32_t own_id) {
  auto refuse = [&](std::string_view what) {
    return fail(Code::kFailedPrecondition, "{}: {}", key, what);
  };
  std::uint32_t max_clusters = remote.max_clusters == 0 ? kDefaultMaxClusters : remote.max_clusters;
  std::uint32_t own_max = (1U << expected.cluster_bits) - 1;
  if (max_clusters != own_max)
    return refuse(
        fmt::format("maxConnectedClusters {} where this cluster has {}", max_clusters, own_max));
  if (remote.id == 0 || remote.id > own_max)
    return refuse(fmt::format("id {} is not from 1 to {}", remote.id, own_max));
  if (remote.id == own_id) return refuse(fmt::format("id {} is this cluster's own", remote.id));
  if (remote.id != expected.id)
    return refuse(fmt::format("id {} where the fleet says {}", remote.id, expected.id));
  if (remote.endpoint_slices == "endpointslices-only")
    return refuse("publishes services only as EndpointSlices, which are not read");
  if (!remote.endpoint_slices.empty() && remote.endpoint_slices != "services-and-endpointslices")
    return refuse(fmt::format("endpointSlicesExportMode '{}' is unknown",
                              remote.endpoint_slices.substr(0, 80)));
  return {};
}

}  // namespace tombolo::cilium
