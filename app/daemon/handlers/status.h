// StatusApi: how this daemon stands, and `tombolo wait`. Control thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/admin/handlers.h"
#include "app/daemon/settling.h"
#include "bpf/guard.h"
#include "core/clock.h"
#include "core/kv.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo {

namespace announce {
struct Announcement;  // ipamd/announce/announce.h
}
class PoolKeeper;

// What the handlers may look at. A role that this process does not have is null. All outlive the
// admin server.
struct DaemonView {
  const config::v1::DaemonConfig* config = nullptr;
  ControllerTables* controller = nullptr;
  AgentTables* agent = nullptr;
  const Table<announce::Announcement>* announcements = nullptr;  // of the controller
  const PoolKeeper* pools = nullptr;                             // the controller's
  Settling* controller_settling = nullptr;
  Settling* agent_settling = nullptr;
  Kv* kv = nullptr;
  Clock* clock = nullptr;
  WallTime started_at{};
  std::function<std::vector<std::string>()> warnings;
  // Of the guard; empty when this node enforces no policy.
  std::function<asio::awaitable<Result<std::vector<bpf::RuleCounters>>>()> rule_counters;
};

std::unique_ptr<admin::StatusHandlers> make_status_handlers(const DaemonView& view);

// Remote clusters as the API shows them; used by status and `cluster list`.
void fill_clusters(const DaemonView& view,
                   google::protobuf::RepeatedPtrField<admin::api::Cluster>* clusters);
// One line for each remote cluster that is lost or without its control plane: since when, and what
// this cluster's agents hear of its nodes.
std::vector<std::string> remote_warnings(const DaemonView& view);

}  // namespace tombolo
