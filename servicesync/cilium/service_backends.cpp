// Backends between rows and the two parts of a service record: the active ones where Cilium looks
// for them, everything else where only Tombolo does. Pure.
#include <algorithm>
#include <tuple>

#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

Backend backend_row(const ClusterService& service, const Ip& ip, const std::string& port_name,
                    const PortNumber& number) {
  Backend backend;
  backend.ip = ip;
  backend.port = number.port;
  backend.protocol = number.protocol;
  backend.port_name = port_name;
  backend.cluster = service.cluster;
  if (auto hostname = service.hostnames.find(ip); hostname != service.hostnames.end())
    backend.hostname = hostname->second;
  if (auto zone = service.zones.find(ip); zone != service.zones.end())
    backend.zone = zone->second.zone;
  if (!service.extras) return backend;
  if (auto place = service.extras->places.find(ip); place != service.extras->places.end()) {
    backend.node = place->second.node;
    backend.pod_name = place->second.pod_name;
  }
  return backend;
}

}  // namespace

std::vector<Backend> backends_of(const ClusterService& service) {
  std::map<std::tuple<Ip, std::string, PortNumber>, Backend> rows;
  for (const auto& [ip, ports] : service.backends) {
    for (const auto& [name, number] : ports)
      rows[{ip, name, number}] = backend_row(service, ip, name, number);
    // A headless service needs no ports: its addresses are enough.
    if (ports.empty()) rows[{ip, "", PortNumber{}}] = backend_row(service, ip, "", PortNumber{});
  }
  if (service.extras) {
    // A weighted active backend is in both parts; the extras know more.
    for (const ExtraBackend& extra : service.extras->backends) {
      Backend& row = rows[{extra.ip, extra.port_name, extra.number}];
      row = backend_row(service, extra.ip, extra.port_name, extra.number);
      row.weight = extra.weight;
      row.state = extra.state;
    }
  }
  std::vector<Backend> sorted;
  for (auto& [key, row] : rows) sorted.push_back(std::move(row));
  std::ranges::sort(sorted);
  return sorted;
}

void set_backends(ClusterService& service, const std::vector<Backend>& backends) {
  service.backends.clear();
  service.hostnames.clear();
  service.zones.clear();
  ServiceExtras& extras = service.extras ? *service.extras : service.extras.emplace();
  extras.backends.clear();
  extras.places.clear();
  for (const Backend& backend : backends) {
    PortNumber number{backend.protocol, backend.port};
    bool plain = backend.state == BackendState::kActive;
    if (plain && backend.port == 0)
      service.backends.try_emplace(backend.ip);
    else if (plain)
      plain =
          service.backends[backend.ip].emplace(backend.port_name, number).first->second == number;
    if (!plain || backend.weight != Backend{}.weight)
      extras.backends.push_back(
          {backend.ip, backend.port_name, number, backend.weight, backend.state});
    if (!backend.hostname.empty()) service.hostnames[backend.ip] = backend.hostname;
    if (!backend.zone.empty()) service.zones[backend.ip] = Zone{backend.zone, {}};
    if (!backend.node.empty() || !backend.pod_name.empty())
      extras.places[backend.ip] = {backend.node, backend.pod_name};
  }
}

}  // namespace tombolo::cilium
