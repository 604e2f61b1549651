// Endpoint slices from selectors, as Kubernetes' EndpointSlice controller makes them
// (staging/src/k8s.io/endpointslice): who is in, and what ready, serving and terminating mean.
#include <algorithm>

#include "servicesync/derive/derive.h"

namespace tombolo::derive {
namespace {

// The ports of the service on this pod. A named target that the pod does not have is left out.
std::vector<NamedPort> ports_on(const Service& service, const Workload& pod) {
  std::vector<NamedPort> ports;
  for (const ServicePort& port : service.ports) {
    if (port.target_port_name.empty()) {
      ports.push_back({port.name, port.protocol, port.target_port});
      continue;
    }
    auto named = std::ranges::find_if(pod.ports, [&](const NamedPort& candidate) {
      return candidate.name == port.target_port_name && candidate.protocol == port.protocol;
    });
    if (named != pod.ports.end()) ports.push_back({port.name, port.protocol, named->port});
  }
  return ports;
}

SliceEndpoint endpoint_of(const Service& service, const Workload& pod, std::vector<Ip> ips) {
  SliceEndpoint endpoint;
  endpoint.ips = std::move(ips);
  endpoint.serving = pod.ready;
  endpoint.terminating = pod.terminating;
  endpoint.ready = service.publish_not_ready || (pod.ready && !pod.terminating);
  if (!pod.hostname.empty() && pod.subdomain == service.name) endpoint.hostname = pod.hostname;
  endpoint.node = pod.node;
  endpoint.pod_name = pod.name;
  return endpoint;
}

std::vector<Ip> ips_of(const Workload& pod, Family family) {
  std::vector<Ip> ips;
  for (const Ip& ip : pod.ips)
    if (ip.family() == family) ips.push_back(ip);
  return ips;
}

}  // namespace

bool selects(const StringMap& selector, const StringMap& labels) {
  return std::ranges::all_of(selector, [&](const auto& wanted) {
    auto label = labels.find(wanted.first);
    return label != labels.end() && label->second == wanted.second;
  });
}

std::vector<EndpointSlice> compute_slices(const Service& service,
                                          const std::vector<const Workload*>& pods) {
  std::vector<EndpointSlice> slices;
  if (service.selector.empty() || service.type == ServiceType::kExternalName) return slices;
  std::vector<const Workload*> chosen;
  for (const Workload* pod : pods)
    if (!pod->finished && pod->name_space == service.name_space &&
        selects(service.selector, pod->labels))
      chosen.push_back(pod);
  std::ranges::sort(chosen, {}, [](const Workload* pod) { return pod->name; });
  for (Family family : service.families) {
    std::map<std::vector<NamedPort>, std::vector<SliceEndpoint>> by_ports;
    for (const Workload* pod : chosen) {
      std::vector<Ip> ips = ips_of(*pod, family);
      if (ips.empty()) continue;
      by_ports[ports_on(service, *pod)].push_back(endpoint_of(service, *pod, std::move(ips)));
    }
    int number = 0;
    for (auto& [ports, endpoints] : by_ports) {
      EndpointSlice slice;
      slice.name_space = service.name_space;
      slice.name =
          fmt::format("{}-{}-{}", service.name, family == Family::kV4 ? "ipv4" : "ipv6", number++);
      slice.service = service.name;
      slice.family = family;
      slice.ports = ports;
      slice.endpoints = std::move(endpoints);
      slices.push_back(std::move(slice));
    }
  }
  return slices;
}

}  // namespace tombolo::derive
