// Labels are names of clusters and of states: both few.
#include "servicesync/mesh/link_metrics.h"

#include <array>

#include "core/metrics.h"

namespace tombolo::mesh {
namespace {

constexpr std::array kStates{RemoteState::kConnecting, RemoteState::kReady,
                             RemoteState::kControlPlaneAway, RemoteState::kLost};

metrics::Gauge state_gauge(const std::string& cluster, RemoteState state) {
  metrics::Labels labels{{"remote_cluster", cluster}, {"state", std::string(to_string(state))}};
  return metrics::gauge("tombolo_remote_state", "1 for the state that another cluster is in",
                        labels);
}

}  // namespace

void LinkMetrics::set_state(RemoteState state) const {
  for (RemoteState one : kStates) state_gauge(cluster_, one).set(one == state ? 1 : 0);
}

void LinkMetrics::count_transition(RemoteState to) const {
  metrics::Labels labels{{"remote_cluster", cluster_}, {"to", std::string(to_string(to))}};
  metrics::counter("tombolo_remote_transitions_total", "Changes of another cluster's state", labels)
      .increment();
}

void LinkMetrics::set_silence(Duration silent) const {
  metrics::Labels labels{{"remote_cluster", cluster_}};
  metrics::gauge("tombolo_remote_silence_seconds", "Since another cluster's store answered last",
                 labels)
      .set(std::chrono::duration<double>(silent).count());
}

void LinkMetrics::clear() const {
  for (RemoteState one : kStates) state_gauge(cluster_, one).set(0);
  set_silence(Duration{});
}

}  // namespace tombolo::mesh
