// How other clusters stand, for people: states, ages, and what the agents hear of their nodes.
// Control thread.
#include <algorithm>
#include <chrono>

#include "app/daemon/handlers/messages.h"
#include "app/daemon/handlers/standing.h"
#include "app/daemon/handlers/status.h"

namespace tombolo {
namespace {

namespace api = admin::api;

api::ClusterState state_of(RemoteState state) {
  switch (state) {
    case RemoteState::kConnecting:
      return api::CLUSTER_STATE_CONNECTING;
    case RemoteState::kReady:
      return api::CLUSTER_STATE_READY;
    case RemoteState::kControlPlaneAway:
      return api::CLUSTER_STATE_CONTROL_PLANE_AWAY;
    case RemoteState::kLost:
      return api::CLUSTER_STATE_LOST;
  }
  return api::CLUSTER_STATE_UNSPECIFIED;
}

std::string age_of(const RemoteCluster& remote, WallTime now) {
  if (remote.last_heard == WallTime{}) return "unheard since this controller started";
  auto age = std::chrono::duration_cast<std::chrono::seconds>(now - remote.last_heard);
  return fmt::format("control plane away for {} s", std::max<std::int64_t>(age.count(), 0));
}

// Every agent asks nodes of its own choice, so the same node may be counted more than once.
std::string probes_of(const ControllerTables& tables, const std::string& cluster) {
  std::uint64_t asked = 0;
  std::uint64_t answered = 0;
  for (const auto& [key, versioned] : tables.node_reach.rows()) {
    if (versioned.row.cluster != cluster) continue;
    asked += versioned.row.asked;
    answered += versioned.row.answered;
  }
  if (asked == 0) return "nobody could ask its nodes";
  return fmt::format("{} of {} probes of its nodes are answered", answered, asked);
}

}  // namespace

void fill_clusters(const DaemonView& view,
                   google::protobuf::RepeatedPtrField<api::Cluster>* clusters) {
  if (view.controller == nullptr) return;
  for (const auto& [name, versioned] : view.controller->remote_clusters.rows()) {
    const RemoteCluster& remote = versioned.row;
    auto* row = clusters->Add();
    row->set_name(remote.name);
    row->set_id(remote.id);
    row->set_state(state_of(remote.state));
    row->set_standing(standing_of(remote, view.clock->wall_now()));
    if (remote.last_heard != WallTime{})
      *row->mutable_last_heard() = timestamp_of(remote.last_heard);
    row->set_error(remote.error);
  }
}

std::vector<std::string> remote_warnings(const DaemonView& view) {
  std::vector<std::string> lines;
  if (view.controller == nullptr) return lines;
  for (const auto& [name, versioned] : view.controller->remote_clusters.rows()) {
    const RemoteCluster& remote = versioned.row;
    bool lost = remote.state == RemoteState::kLost;
    if (!lost && remote.state != RemoteState::kControlPlaneAway) continue;
    lines.push_back(fmt::format("cluster {}: {}{}; {}; its backends are {}", name,
                                lost ? "lost, " : "", age_of(remote, view.clock->wall_now()),
                                probes_of(*view.controller, name), lost ? "left out" : "kept"));
  }
  return lines;
}

}  // namespace tombolo
