// Every backend of every cluster, with the reason why it is in or out.
#include <algorithm>
#include <tuple>

#include "servicesync/merge/internal.h"

namespace tombolo::merge {
namespace {

// The service port that a backend serves, matched by name and protocol as Cilium does; nullptr when
// there is none.
const FrontendPort* port_for(const State& state, const Backend& backend) {
  for (const FrontendPort& port : state.ports)
    if (port.name == backend.port_name && port.protocol == backend.protocol) return &port;
  return nullptr;
}

std::string state_reason(const Backend& backend) {
  switch (backend.state) {
    case BackendState::kActive:
      return "ready";
    case BackendState::kTerminating:
      return "terminating: used only while no backend is ready";
    case BackendState::kQuarantined:
      return "weight 0: known, gets no new connection";
  }
  return "?";
}

void add(State& state, Backend backend, bool used, std::string reason) {
  state.output.explanation.candidates.push_back({std::move(backend), used, std::move(reason)});
}

void add_if_port_fits(State& state, Backend backend) {
  // Without ports a headless service is its addresses.
  bool portless = backend.port == 0 && state.ports.empty();
  if (!portless && port_for(state, backend) == nullptr) {
    std::string reason = fmt::format("the service has no {} port named '{}'",
                                     tombolo::to_string(backend.protocol), backend.port_name);
    add(state, std::move(backend), false, std::move(reason));
    return;
  }
  std::string reason = state_reason(backend);
  add(state, std::move(backend), true, std::move(reason));
}

void add_local_endpoint(State& state, const EndpointSlice& slice, const SliceEndpoint& endpoint,
                        std::uint16_t weight) {
  if (endpoint.ips.empty()) return;
  Backend backend;
  backend.ip = endpoint.ips.front();
  backend.cluster = state.input.cluster;
  backend.node = endpoint.node;
  backend.zone = endpoint.zone;
  backend.hostname = endpoint.hostname;
  backend.pod_name = endpoint.pod_name;
  backend.weight = weight;
  bool terminating = !endpoint.ready && endpoint.serving && endpoint.terminating;
  if (weight == 0)
    backend.state = BackendState::kQuarantined;
  else if (terminating)
    backend.state = BackendState::kTerminating;
  std::vector<NamedPort> ports = slice.ports;
  if (ports.empty()) ports.push_back({});
  for (const NamedPort& port : ports) {
    backend.port = port.port;
    backend.protocol = port.protocol;
    backend.port_name = port.name;
    if (!endpoint.ready && !terminating)
      add(state, backend, false,
          endpoint.terminating ? "terminating and not serving" : "not ready");
    else
      add_if_port_fits(state, backend);
  }
}

void add_local(State& state) {
  for (const EndpointSlice* slice : state.input.slices) {
    std::uint16_t weight = read_weight(*slice, state.output.explanation.warnings);
    for (const SliceEndpoint& endpoint : slice->endpoints)
      add_local_endpoint(state, *slice, endpoint, weight);
  }
}

// Why nothing of this remote may be used; empty when it may.
std::string refusal(const State& state, const Remote& remote) {
  const cilium::ClusterService& service = *remote.service;
  const Explanation& explanation = state.output.explanation;
  if (!state.sees_remotes) {
    if (state.input.service == nullptr) return "not imported here";
    if (!explanation.namespace_global)
      return fmt::format("the namespace is not global in {}", state.input.cluster);
    return fmt::format("the service is not global in {}", state.input.cluster);
  }
  if (!service.include_external)
    return fmt::format("the service is not global in {}", service.cluster);
  if (!service.shared) return fmt::format("{} does not share the service", service.cluster);
  return remote.excluded;
}

void add_remote(State& state, const Remote& remote) {
  std::string refused = refusal(state, remote);
  for (Backend& backend : cilium::backends_of(*remote.service)) {
    if (refused.empty())
      add_if_port_fits(state, std::move(backend));
    else
      add(state, std::move(backend), false, refused);
  }
}

// One address and port is one backend: of several descriptions the best state counts.
void drop_doubles(State& state) {
  std::vector<Candidate>& candidates = state.output.explanation.candidates;
  std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) {
    const Backend& x = a.backend;
    const Backend& y = b.backend;
    auto order = std::tie(x.ip, x.protocol, x.port, x.port_name) <=>
                 std::tie(y.ip, y.protocol, y.port, y.port_name);
    if (order != 0) return order < 0;
    if (a.used != b.used) return a.used;
    if (x.state != y.state) return x.state < y.state;
    if (x != y) return x < y;
    return a.reason < b.reason;
  });
  const Backend* kept = nullptr;
  for (Candidate& candidate : candidates) {
    if (!candidate.used) continue;
    const Backend& backend = candidate.backend;
    bool same = kept != nullptr && kept->ip == backend.ip && kept->protocol == backend.protocol &&
                kept->port == backend.port && kept->port_name == backend.port_name;
    if (same) {
      candidate.used = false;
      candidate.reason = fmt::format("the same address and port as a backend of {}", kept->cluster);
    } else {
      kept = &candidate.backend;
    }
  }
}

}  // namespace

void collect_candidates(State& state) {
  if (state.input.service != nullptr) add_local(state);
  for (const Remote& remote : state.input.remotes) add_remote(state, remote);
  drop_doubles(state);
}

void apply_affinity(State& state) {
  Explanation& explanation = state.output.explanation;
  HealthCounts counts;
  for (const Candidate& candidate : explanation.candidates) {
    if (!candidate.used) continue;
    bool active = candidate.backend.state == BackendState::kActive;
    bool healthy = active || candidate.backend.state == BackendState::kTerminating;
    if (candidate.backend.cluster != state.input.cluster) {
      counts.remote_healthy += healthy ? 1 : 0;
    } else {
      counts.local_active += active ? 1 : 0;
      counts.local_healthy += healthy ? 1 : 0;
    }
  }
  // An import has nothing local; a service or namespace that is not global has no affinity.
  bool chooses = state.input.service != nullptr && state.sees_remotes;
  Affinity affinity = chooses ? explanation.intent.affinity : Affinity::kNone;
  Use use = select_by_affinity(affinity, counts);
  for (Candidate& candidate : explanation.candidates) {
    bool local = candidate.backend.cluster == state.input.cluster;
    if (!candidate.used || (local ? use.local : use.remote)) continue;
    candidate.used = false;
    if (local)
      candidate.reason =
          fmt::format("affinity remote: {} healthy in other clusters", counts.remote_healthy);
    else
      candidate.reason = counts.local_active > 0
                             ? fmt::format("affinity local: {} ready here", counts.local_active)
                             : "affinity local: none healthy in other clusters";
  }
}

}  // namespace tombolo::merge
