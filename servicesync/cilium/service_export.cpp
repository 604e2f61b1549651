// MCSAPIServiceSpec (Cilium pkg/clustermesh/mcsapi/types): what a cluster exports under the
// Multi-Cluster Services API, KEP-1645. Go reads member names in any case: both spellings of labels
// and annotations exist. Pure.
#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

Result<StringMap> map_of_either(const Cursor& root, std::string_view upper,
                                std::string_view lower) {
  Cursor first = root[upper];
  return first.is_null() ? root[lower].string_map() : first.string_map();
}

Result<std::vector<ExportPort>> decode_export_ports(const Cursor& list) {
  std::vector<ExportPort> ports;
  if (list.is_null()) return ports;
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor at = list.at(i);
    TRY(name, at["name"].string_or(""));
    TRY(protocol_text, at["protocol"].string_or("TCP"));
    auto protocol = parse_protocol(protocol_text);
    if (!protocol) return at["protocol"].error(protocol.error().what);
    TRY(port, port_at(at["port"]));
    ports.push_back({std::move(name), *protocol, port});
  }
  return ports;
}

}  // namespace

std::string encode(const ServiceExport& exported) {
  json::object object;
  object.emplace("cluster", exported.cluster);
  object.emplace("name", exported.name);
  object.emplace("namespace", exported.name_space);
  object.emplace("Annotations", json_or_null(exported.annotations));
  object.emplace("Labels", json_or_null(exported.labels));
  object.emplace("exportCreationTimestamp",
                 format_rfc3339(WallTime(std::chrono::seconds(exported.created_unix_s))));
  json::array ports;
  for (const ExportPort& port : exported.ports) {
    json::object entry;
    if (!port.name.empty()) entry.emplace("name", port.name);
    entry.emplace("protocol", to_string(port.protocol));
    entry.emplace("port", port.port);
    ports.push_back(std::move(entry));
  }
  object.emplace("ports", std::move(ports));
  object.emplace("type", exported.headless ? "Headless" : "ClusterSetIP");
  object.emplace("sessionAffinity", exported.session_affinity);
  return to_json(object);
}

Result<ServiceExport> decode_service_export(std::string_view key, std::string_view name,
                                            std::string_view value, const Origin& origin) {
  TRY(record, parse_record(key, value));
  Cursor root = record.root();
  TRY_OK(expect_text(root["cluster"], origin.cluster));
  TRY(name_space, root["namespace"].string());
  TRY(own_name, root["name"].string());
  if (object_key(name_space, own_name) != name)
    return root["name"].error(fmt::format("{}/{} lies under the key of {}",
                                          name_space.substr(0, 80), own_name.substr(0, 80), name));
  ServiceExport exported;
  Cursor created = root["exportCreationTimestamp"];
  TRY(created_text, created.string());
  auto time = parse_rfc3339(created_text);
  if (!time) return created.error(time.error().what);
  exported.created_unix_s =
      std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count();
  Cursor type_at = root["type"];
  TRY(type, type_at.string());
  if (type != "ClusterSetIP" && type != "Headless")
    return type_at.error(
        fmt::format("'{}' is not one of ClusterSetIP, Headless", type.substr(0, 80)));
  TRY(annotations, map_of_either(root, "Annotations", "annotations"));
  TRY(labels, map_of_either(root, "Labels", "labels"));
  TRY(ports, decode_export_ports(root["ports"]));
  TRY(affinity, root["sessionAffinity"].string_or("None"));
  exported.cluster = origin.cluster;
  exported.name_space = std::move(name_space);
  exported.name = std::move(own_name);
  exported.annotations = std::move(annotations);
  exported.labels = std::move(labels);
  exported.ports = std::move(ports);
  exported.headless = type == "Headless";
  exported.session_affinity = std::move(affinity);
  return exported;
}

}  // namespace tombolo::cilium
