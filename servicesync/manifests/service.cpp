// Services (k8s.io/api core/v1; validation as in pkg/apis/core/validation ValidateService). Pure.
#include <algorithm>
#include <set>

#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

Result<ServiceType> decode_type(const Cursor& value) {
  TRY(text, value.string_or("ClusterIP"));
  if (text == "ClusterIP") return ServiceType::kClusterIp;
  if (text == "NodePort") return ServiceType::kNodePort;
  if (text == "LoadBalancer") return ServiceType::kLoadBalancer;
  if (text == "ExternalName") return ServiceType::kExternalName;
  return value.error(fmt::format(
      "'{}' is not one of ClusterIP, NodePort, LoadBalancer, ExternalName", text.substr(0, 80)));
}

// targetPort: a number, the name of a container port, or absent (the port itself).
Result<void> decode_target(const Cursor& value, ServicePort& port) {
  if (value.is_null()) {
    port.target_port = port.port;
    return {};
  }
  if (!value.is_string()) {
    TRY(number, decode_port(value));
    port.target_port = number;
    return {};
  }
  TRY(name, value.string());
  if (!is_port_name(name))
    return value.error(fmt::format("'{}' is neither a port nor a port name", name.substr(0, 80)));
  port.target_port_name = std::move(name);
  return {};
}

Result<ServicePort> decode_service_port(const Cursor& entry, bool name_required) {
  TRY_OK(entry.expect_object());
  ServicePort port;
  TRY(name, optional_label(entry["name"]));
  if (name.empty() && name_required)
    return entry["name"].error("is required when there are several ports");
  port.name = std::move(name);
  TRY(protocol, decode_protocol(entry["protocol"]));
  TRY(number, decode_port(entry["port"]));
  port.protocol = protocol;
  port.port = number;
  TRY_OK(decode_target(entry["targetPort"], port));
  TRY(node_port, entry["nodePort"].integer_or(0, 0, 65535));
  port.node_port = static_cast<Port>(node_port);
  return port;
}

Result<void> decode_ports(const Cursor& list, Service& service) {
  if (!list.is_null()) TRY_OK(list.expect_array());
  if (list.size() == 0) {
    if (service.headless || service.type == ServiceType::kExternalName) return {};
    return list.error("at least one port is required");
  }
  std::set<std::string> names;
  std::set<std::pair<Protocol, Port>> numbers;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(port, decode_service_port(entry, list.size() > 1));
    if (!names.insert(port.name).second)
      return entry["name"].error(fmt::format("'{}' stands twice", port.name));
    if (!numbers.insert({port.protocol, port.port}).second)
      return entry["port"].error(
          fmt::format("{}/{} stands twice", to_string(port.protocol), port.port));
    service.ports.push_back(std::move(port));
  }
  return {};
}

Result<void> add_cluster_ip(const Cursor& at, Service& service) {
  TRY(ip, decode_ip(at));
  for (const Ip& other : service.cluster_ips)
    if (other.family() == ip.family())
      return at.error(fmt::format("a second {} address", to_string(ip.family())));
  service.cluster_ips.push_back(ip);
  return {};
}

// clusterIP and clusterIPs: absent, "None", or at most one address per family; the first of the
// list is clusterIP.
Result<void> decode_cluster_ips(const Cursor& spec, Service& service) {
  Cursor single = spec["clusterIP"];
  Cursor list = spec["clusterIPs"];
  TRY(first, single.string_or(""));
  TRY(all, list.string_list());
  if (!all.empty() && !first.empty() && all.front() != first)
    return list.at(0).error(fmt::format("'{}' differs from clusterIP '{}'",
                                        all.front().substr(0, 80), first.substr(0, 80)));
  if (first == "None" || (!all.empty() && all.front() == "None")) {
    if (all.size() > 1) return list.error("\"None\" stands alone");
    if (service.type != ServiceType::kClusterIp)
      return single.error("\"None\" is only for services of type ClusterIP");
    service.headless = true;
    return {};
  }
  if (service.type == ServiceType::kExternalName) {
    if (first.empty() && all.empty()) return {};
    return single.error("an ExternalName service has no clusterIP");
  }
  if (all.size() > 2) return list.error("at most one address of each family");
  if (all.empty()) {
    if (first.empty()) return {};
    return add_cluster_ip(single, service);
  }
  for (std::size_t i = 0; i < all.size(); ++i) TRY_OK(add_cluster_ip(list.at(i), service));
  return {};
}

Result<Family> decode_family(const Cursor& value) {
  TRY(text, value.string());
  if (text == "IPv4") return Family::kV4;
  if (text == "IPv6") return Family::kV6;
  return value.error(fmt::format("'{}' is not one of IPv4, IPv6", text.substr(0, 80)));
}

// ipFamilies and ipFamilyPolicy. The given addresses' families come first; a dual-stack policy adds
// the other family.
Result<void> decode_families(const Cursor& spec, Service& service) {
  Cursor list = spec["ipFamilies"];
  Cursor policy_at = spec["ipFamilyPolicy"];
  TRY(policy, policy_at.string_or(""));
  if (policy != "" && policy != "SingleStack" && policy != "PreferDualStack" &&
      policy != "RequireDualStack")
    return policy_at.error(fmt::format(
        "'{}' is not one of SingleStack, PreferDualStack, RequireDualStack", policy.substr(0, 80)));
  for (const Ip& ip : service.cluster_ips) service.families.push_back(ip.family());
  if (!list.is_null()) TRY_OK(list.expect_array());
  if (list.size() > 2) return list.error("at most IPv4 and IPv6");
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(family, decode_family(entry));
    if (i < service.cluster_ips.size()) {
      if (service.cluster_ips[i].family() != family)
        return entry.error(
            fmt::format("{} is no {} address", service.cluster_ips[i].str(), to_string(family)));
      continue;
    }
    if (std::ranges::find(service.families, family) != service.families.end())
      return entry.error(fmt::format("{} stands twice", to_string(family)));
    service.families.push_back(family);
  }
  if (policy == "SingleStack" && service.families.size() > 1)
    return policy_at.error("SingleStack with two families");
  if (policy.ends_with("DualStack")) {
    if (service.families.empty()) service.families.push_back(Family::kV4);
    if (service.families.size() == 1)
      service.families.push_back(service.families.front() == Family::kV4 ? Family::kV6
                                                                         : Family::kV4);
  }
  return {};
}

Result<void> decode_external_name(const Cursor& value, Service& service) {
  if (service.type != ServiceType::kExternalName) return {};
  TRY(name, value.string());
  std::string_view bare = name;
  if (bare.ends_with('.')) bare.remove_suffix(1);
  if (!is_dns_subdomain(bare))
    return value.error(fmt::format("'{}' is not a DNS name", name.substr(0, 80)));
  service.external_name = bare;
  return {};
}

}  // namespace

Result<Service> decode_service(Cursor root) {
  TRY(metadata, decode_metadata(root, NameKind::kLabel));
  Service service;
  service.name_space = std::move(metadata.name_space);
  service.name = std::move(metadata.name);
  service.labels = std::move(metadata.labels);
  service.annotations = std::move(metadata.annotations);
  service.created_unix_s = metadata.created_unix_s;
  Cursor spec = root["spec"];
  TRY_OK(spec.expect_object());
  TRY(type, decode_type(spec["type"]));
  service.type = type;
  TRY_OK(decode_cluster_ips(spec, service));
  TRY_OK(decode_families(spec, service));
  TRY_OK(decode_ports(spec["ports"], service));
  TRY_OK(decode_external_name(spec["externalName"], service));
  TRY_OK(decode_load_balancer(spec, service));
  TRY(selector, spec["selector"].string_map());
  for (const auto& [key, value] : selector)
    if (!is_label_key(key) || !is_label_value(value))
      return spec["selector"].error(
          fmt::format("'{}={}' is not a label", key.substr(0, 80), value.substr(0, 80)));
  service.selector = std::move(selector);
  TRY(publish, spec["publishNotReadyAddresses"].boolean_or(false));
  service.publish_not_ready = publish;
  return service;
}

}  // namespace tombolo::manifests
