// From a row of the frontends table to the rings it wants. Pure; worker thread.
#include <algorithm>
#include <bit>

#include "bpf/internal.h"

namespace tombolo::bpf {
namespace {

// Of the endpoints in one state, each once (the greatest weight counts), sorted.
std::vector<RingMember> members_in(const Frontend& row, const FrontendPort& port, Family family,
                                   BackendState state) {
  std::map<abi::lb_endpoint, std::uint16_t> found;
  for (const Backend& backend : row.backends) {
    if (backend.state != state || backend.weight == 0 || backend.port == 0) continue;
    if (backend.port_name != port.name || backend.protocol != port.protocol) continue;
    if (backend.ip.family() != family) continue;
    std::uint16_t& weight = found[to_abi(backend.ip, backend.port, backend.protocol)];
    weight = std::max(weight, backend.weight);
  }
  std::vector<RingMember> members;
  for (const auto& [endpoint, weight] : found) members.push_back({endpoint, weight});
  return members;
}

// A socket does not say where it will connect from: a load balancer address that only some may use
// is nobody's at the socket. externalTrafficPolicy is about clients outside; those inside reach
// every backend, as kube-proxy lets them.
bool open_to_all(const Frontend& row, Family family) {
  bool said = false;
  for (const Prefix& range : row.source_ranges) {
    if (range.family() != family) continue;
    if (range.length() == 0) return true;
    said = true;
  }
  return !said;
}

}  // namespace

abi::lb_endpoint to_abi(Ip ip, Port port, Protocol protocol) {
  abi::lb_endpoint endpoint{};
  auto bytes = ip.mapped_bytes_be();
  std::memcpy(endpoint.address_be, bytes.data(), bytes.size());
  endpoint.port_be = std::endian::native == std::endian::little
                         ? static_cast<std::uint16_t>(port << 8 | port >> 8)
                         : port;
  endpoint.protocol = static_cast<std::uint8_t>(protocol);
  return endpoint;
}

Ip ip_of(const abi::lb_endpoint& endpoint) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), endpoint.address_be, bytes.size());
  return Ip::from_mapped_bytes_be(bytes);
}

Port port_of(const abi::lb_endpoint& endpoint) {
  return std::endian::native == std::endian::little
             ? static_cast<Port>(endpoint.port_be << 8 | endpoint.port_be >> 8)
             : endpoint.port_be;
}

std::string text_of(const abi::lb_endpoint& endpoint) {
  return fmt::format("{}/{}", Endpoint{ip_of(endpoint), port_of(endpoint)}.str(),
                     to_string(static_cast<Protocol>(endpoint.protocol)));
}

std::vector<WantedRing> plan_rings(const Frontend& row) {
  std::map<RingKey, WantedRing> rings;
  if (row.headless) return {};
  std::vector<Ip> addresses = row.cluster_ips;
  addresses.insert(addresses.end(), row.clusterset_ips.begin(), row.clusterset_ips.end());
  for (const Ip& ip : row.load_balancer_ips)
    if (open_to_all(row, ip.family())) addresses.push_back(ip);
  std::ranges::sort(addresses);
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
  for (const FrontendPort& port : row.ports) {
    if (port.protocol != Protocol::kTcp && port.protocol != Protocol::kUdp) continue;
    if (port.port == 0) continue;
    for (Family family : {Family::kV4, Family::kV6}) {
      WantedRing ring{.key = {row.key(), port.port, port.protocol, family}};
      for (Ip ip : addresses)
        if (ip.family() == family) ring.addresses.push_back(to_abi(ip, port.port, port.protocol));
      if (ring.addresses.empty() || rings.contains(ring.key)) continue;
      ring.maglev = row.selection == Selection::kMaglev;
      ring.members = members_in(row, port, family, BackendState::kActive);
      if (ring.members.empty())
        ring.members = members_in(row, port, family, BackendState::kTerminating);
      if (ring.members.size() > kMaxBackendsPerService) {
        ring.over_bound = ring.members.size() - kMaxBackendsPerService;
        ring.members.resize(kMaxBackendsPerService);
      }
      RingKey key = ring.key;
      rings.emplace(std::move(key), std::move(ring));
    }
  }
  std::vector<WantedRing> wanted;
  for (auto& [key, ring] : rings) wanted.push_back(std::move(ring));
  return wanted;
}

}  // namespace tombolo::bpf
