// EndpointSlices (k8s.io/api discovery/v1). Conditions that are absent mean what the API says:
// ready and serving true, terminating false. Pure.
#include <set>

#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

constexpr std::size_t kMaxEndpoints = 1000;
constexpr std::size_t kMaxAddresses = 100;

Result<Family> decode_address_type(const Cursor& value) {
  TRY(text, value.string());
  if (text == "IPv4") return Family::kV4;
  if (text == "IPv6") return Family::kV6;
  return value.error(fmt::format("'{}' is not one of IPv4, IPv6", text.substr(0, 80)));
}

Result<std::vector<Ip>> decode_addresses(const Cursor& list, Family family) {
  TRY_OK(list.expect_array());
  if (list.size() == 0 || list.size() > kMaxAddresses)
    return list.error(fmt::format("from 1 to {} addresses", kMaxAddresses));
  std::vector<Ip> ips;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor at = list.at(i);
    TRY(ip, decode_ip(at));
    if (ip.family() != family)
      return at.error(fmt::format("{} is no {} address", ip.str(), to_string(family)));
    ips.push_back(ip);
  }
  return ips;
}

Result<SliceEndpoint> decode_endpoint(const Cursor& entry, Family family) {
  TRY_OK(entry.expect_object());
  SliceEndpoint endpoint;
  TRY(ips, decode_addresses(entry["addresses"], family));
  endpoint.ips = std::move(ips);
  Cursor conditions = entry["conditions"];
  TRY(terminating, conditions["terminating"].boolean_or(false));
  TRY(ready, conditions["ready"].boolean_or(true));
  TRY(serving, conditions["serving"].boolean_or(ready || conditions["ready"].is_null()));
  endpoint.ready = ready;
  endpoint.serving = serving;
  endpoint.terminating = terminating;
  TRY(hostname, optional_label(entry["hostname"]));
  TRY(node, entry["nodeName"].string_or(""));
  TRY(zone, entry["zone"].string_or(""));
  endpoint.hostname = std::move(hostname);
  endpoint.node = std::move(node);
  endpoint.zone = std::move(zone);
  Cursor target = entry["targetRef"];
  TRY(target_kind, target["kind"].string_or(""));
  if (target_kind == "Pod") {
    TRY(pod, target["name"].string());
    endpoint.pod_name = std::move(pod);
  }
  return endpoint;
}

Result<std::vector<NamedPort>> decode_slice_ports(const Cursor& list) {
  std::vector<NamedPort> ports;
  if (list.is_null()) return ports;
  TRY_OK(list.expect_array());
  std::set<std::string> names;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY_OK(entry.expect_object());
    TRY(name, optional_label(entry["name"]));
    if (!names.insert(name).second)
      return entry["name"].error(fmt::format("'{}' stands twice", name));
    TRY(protocol, decode_protocol(entry["protocol"]));
    TRY(number, decode_port(entry["port"]));
    ports.push_back({std::move(name), protocol, number});
  }
  return ports;
}

}  // namespace

Result<EndpointSlice> decode_endpoint_slice(Cursor root) {
  TRY(metadata, decode_metadata(root, NameKind::kSubdomain));
  EndpointSlice slice;
  slice.name_space = std::move(metadata.name_space);
  slice.name = std::move(metadata.name);
  slice.annotations = std::move(metadata.annotations);
  if (auto service = metadata.labels.find("kubernetes.io/service-name");
      service != metadata.labels.end())
    slice.service = service->second;
  TRY(family, decode_address_type(root["addressType"]));
  slice.family = family;
  Cursor endpoints = root["endpoints"];
  if (!endpoints.is_null()) TRY_OK(endpoints.expect_array());
  if (endpoints.size() > kMaxEndpoints)
    return endpoints.error(fmt::format("more than {} endpoints", kMaxEndpoints));
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    Cursor entry = endpoints.at(i);
    TRY(endpoint, decode_endpoint(entry, family));
    slice.endpoints.push_back(std::move(endpoint));
  }
  TRY(ports, decode_slice_ports(root["ports"]));
  slice.ports = std::move(ports);
  return slice;
}

}  // namespace tombolo::manifests
