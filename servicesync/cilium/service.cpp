// ClusterService (Cilium pkg/clustermesh/store, "v1"): one JSON object per service and cluster.
// Pure.
#include <algorithm>

#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

// Go sorts the members of a map by their text, which is not the order of addresses.
template <class Value, class ToJson>
json::value json_by_text(const std::map<Ip, Value>& map, ToJson to_json) {
  std::map<std::string, const Value*> sorted;
  for (const auto& [ip, value] : map) sorted.emplace(ip.str(), &value);
  json::object object;
  for (const auto& [text, value] : sorted) object.emplace(text, to_json(*value));
  return object;
}

json::value port_json(const PortNumber& number) {
  json::object object;
  object.emplace("Protocol", to_string(number.protocol));
  object.emplace("Port", number.port);
  return object;
}

json::value ports_json(const PortMap& ports) {
  json::object object;
  for (const auto& [name, number] : ports) object.emplace(name, port_json(number));
  return object;
}

json::value zone_json(const Zone& zone) {
  json::object object;
  object.emplace("zone", zone.zone);
  if (zone.for_zones.empty()) return object;
  json::array names;
  for (const std::string& name : zone.for_zones) {
    json::object entry;
    entry.emplace("name", name);
    names.push_back(std::move(entry));
  }
  object.emplace("forZones", std::move(names));
  return object;
}

std::string_view state_text(BackendState state) {
  switch (state) {
    case BackendState::kActive:
      return "active";
    case BackendState::kTerminating:
      return "terminating";
    case BackendState::kQuarantined:
      return "quarantined";
  }
  return "?";
}

json::value extras_json(const ServiceExtras& extras) {
  json::object object;
  if (extras.created_unix_s != 0)
    object.emplace("created",
                   format_rfc3339(WallTime(std::chrono::seconds(extras.created_unix_s))));
  if (extras.headless) object.emplace("headless", true);
  if (!extras.annotations.empty()) object.emplace("annotations", json_of(extras.annotations));
  if (!extras.clusterset_ips.empty()) {
    json::array ips;
    for (const Ip& ip : extras.clusterset_ips) ips.push_back(json_text(ip.str()));
    object.emplace("clustersetIPs", std::move(ips));
  }
  if (!extras.backends.empty()) {
    json::array backends;
    for (const ExtraBackend& backend : extras.backends) {
      json::object entry;
      entry.emplace("ip", backend.ip.str());
      entry.emplace("portName", backend.port_name);
      entry.emplace("protocol", to_string(backend.number.protocol));
      entry.emplace("port", backend.number.port);
      entry.emplace("weight", backend.weight);
      entry.emplace("state", state_text(backend.state));
      backends.push_back(std::move(entry));
    }
    object.emplace("backends", std::move(backends));
  }
  if (!extras.places.empty())
    object.emplace("places", json_by_text(extras.places, [](const EndpointPlace& place) {
                     json::object entry;
                     if (!place.node.empty()) entry.emplace("node", place.node);
                     if (!place.pod_name.empty()) entry.emplace("pod", place.pod_name);
                     return entry;
                   }));
  return object;
}

Result<PortMap> decode_ports(const Cursor& at) {
  PortMap ports;
  if (at.is_null()) return ports;
  TRY_OK(at.expect_object());
  for (auto name : at.keys()) {
    Cursor entry = at[name];
    TRY(protocol, protocol_at(entry["Protocol"]));
    TRY(port, port_at(entry["Port"]));
    ports.emplace(name, PortNumber{protocol, port});
  }
  return ports;
}

// {ADDRESS: VALUE}; absent and null give an empty map.
template <class Value, class Decode>
Result<std::map<Ip, Value>> decode_by_ip(const Cursor& at, Decode decode) {
  std::map<Ip, Value> result;
  if (at.is_null()) return result;
  TRY_OK(at.expect_object());
  for (auto text : at.keys()) {
    Cursor entry = at[text];
    auto ip = Ip::parse(text);
    if (!ip) return entry.error(ip.error().what);
    TRY(value, decode(entry));
    if (!result.emplace(*ip, std::move(value)).second)
      return entry.error(fmt::format("{} stands twice", ip->str()));
  }
  return result;
}

Result<Zone> decode_zone(const Cursor& at) {
  Zone zone;
  TRY(name, at["zone"].string_or(""));
  zone.zone = std::move(name);
  Cursor list = at["forZones"];
  if (list.is_null()) return zone;
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(hint, entry["name"].string());
    zone.for_zones.push_back(std::move(hint));
  }
  return zone;
}

Result<BackendState> decode_state(const Cursor& at) {
  TRY(text, at.string_or("active"));
  for (auto state : {BackendState::kActive, BackendState::kTerminating, BackendState::kQuarantined})
    if (text == state_text(state)) return state;
  return at.error(
      fmt::format("'{}' is not one of active, terminating, quarantined", text.substr(0, 80)));
}

Result<ExtraBackend> decode_extra_backend(const Cursor& at) {
  TRY_OK(at.expect_object());
  ExtraBackend backend;
  TRY(ip, ip_at(at["ip"]));
  TRY(port_name, at["portName"].string_or(""));
  TRY(protocol, protocol_at(at["protocol"]));
  TRY(port, at["port"].integer(0, 65535));
  TRY(weight, at["weight"].integer_or(100, 0, 65535));
  TRY(state, decode_state(at["state"]));
  backend.ip = ip;
  backend.port_name = std::move(port_name);
  backend.number = {protocol, static_cast<Port>(port)};
  backend.weight = static_cast<std::uint16_t>(weight);
  backend.state = state;
  return backend;
}

Result<EndpointPlace> decode_place(const Cursor& at) {
  TRY(node, at["node"].string_or(""));
  TRY(pod, at["pod"].string_or(""));
  return EndpointPlace{std::move(node), std::move(pod)};
}

Result<std::vector<Ip>> decode_clusterset_ips(const Cursor& list) {
  std::vector<Ip> ips;
  if (list.is_null()) return ips;
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor at = list.at(i);
    TRY(ip, ip_at(at));
    for (const Ip& other : ips)
      if (other.family() == ip.family())
        return at.error(fmt::format("a second {} address", to_string(ip.family())));
    ips.push_back(ip);
  }
  return ips;
}

Result<ServiceExtras> decode_extras(const Cursor& at) {
  TRY_OK(at.expect_object());
  ServiceExtras extras;
  Cursor created = at["created"];
  if (!created.is_null()) {
    TRY(text, created.string());
    auto time = parse_rfc3339(text);
    if (!time) return created.error(time.error().what);
    extras.created_unix_s =
        std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count();
  }
  TRY(headless, at["headless"].boolean_or(false));
  TRY(annotations, at["annotations"].string_map());
  TRY(clusterset_ips, decode_clusterset_ips(at["clustersetIPs"]));
  extras.headless = headless;
  extras.annotations = std::move(annotations);
  extras.clusterset_ips = std::move(clusterset_ips);
  Cursor backends = at["backends"];
  if (!backends.is_null()) TRY_OK(backends.expect_array());
  for (std::size_t i = 0; i < backends.size(); ++i) {
    Cursor entry = backends.at(i);
    TRY(backend, decode_extra_backend(entry));
    extras.backends.push_back(std::move(backend));
  }
  TRY(places, decode_by_ip<EndpointPlace>(at["places"], decode_place));
  extras.places = std::move(places);
  return extras;
}

// Names in the value are the names in the key, and both are the origin's.
Result<void> decode_names(const Cursor& root, std::string_view name, const Origin& origin,
                          ClusterService& service) {
  TRY_OK(expect_text(root["cluster"], origin.cluster));
  TRY(name_space, root["namespace"].string());
  TRY(own_name, root["name"].string());
  if (name_space.empty()) return root["namespace"].error("is empty");
  if (own_name.empty()) return root["name"].error("is empty");
  if (object_key(name_space, own_name) != name)
    return root["name"].error(fmt::format("{}/{} lies under the key of {}",
                                          name_space.substr(0, 80), own_name.substr(0, 80), name));
  TRY(id, root["clusterID"].integer(0, UINT32_MAX));
  if (origin.id != 0 && id != origin.id)
    return root["clusterID"].error(
        fmt::format("{} where the cluster's configuration says {}", id, origin.id));
  service.cluster = origin.cluster;
  service.cluster_id = static_cast<std::uint32_t>(id);
  service.name_space = std::move(name_space);
  service.name = std::move(own_name);
  return {};
}

}  // namespace

std::string encode(const ClusterService& service) {
  auto ports = [](const PortMap& map) { return ports_json(map); };
  json::object object;
  object.emplace("cluster", service.cluster);
  object.emplace("namespace", service.name_space);
  object.emplace("name", service.name);
  object.emplace("frontends", json_by_text(service.frontends, ports));
  object.emplace("backends", json_by_text(service.backends, ports));
  object.emplace("hostnames", json_by_text(service.hostnames, [](const std::string& hostname) {
                   return json_text(hostname);
                 }));
  if (!service.zones.empty())
    object.emplace("zones",
                   json_by_text(service.zones, [](const Zone& zone) { return zone_json(zone); }));
  object.emplace("labels", json_of(service.labels));
  object.emplace("selector", json_of(service.selector));
  object.emplace("includeExternal", service.include_external);
  object.emplace("shared", service.shared);
  object.emplace("clusterID", service.cluster_id);
  if (service.extras) object.emplace("tombolo", extras_json(*service.extras));
  return to_json(object);
}

Result<ClusterService> decode_service(std::string_view key, std::string_view name,
                                      std::string_view value, const Origin& origin) {
  TRY(record, parse_record(key, value));
  Cursor root = record.root();
  ClusterService service;
  TRY_OK(decode_names(root, name, origin, service));
  TRY(frontends, decode_by_ip<PortMap>(root["frontends"], decode_ports));
  TRY(backends, decode_by_ip<PortMap>(root["backends"], decode_ports));
  TRY(hostnames,
      decode_by_ip<std::string>(root["hostnames"], [](const Cursor& at) { return at.string(); }));
  TRY(zones, decode_by_ip<Zone>(root["zones"], decode_zone));
  TRY(labels, root["labels"].string_map());
  TRY(selector, root["selector"].string_map());
  TRY(include_external, root["includeExternal"].boolean_or(false));
  TRY(shared, root["shared"].boolean_or(false));
  service.frontends = std::move(frontends);
  service.backends = std::move(backends);
  service.hostnames = std::move(hostnames);
  service.zones = std::move(zones);
  service.labels = std::move(labels);
  service.selector = std::move(selector);
  service.include_external = include_external;
  service.shared = shared;
  Cursor extras_at = root["tombolo"];
  if (!extras_at.is_null()) {
    TRY(extras, decode_extras(extras_at));
    service.extras = std::move(extras);
  }
  return service;
}

}  // namespace tombolo::cilium
