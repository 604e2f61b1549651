// Announcing of load balancer addresses in the agent: the store's records of who announces what,
// the announcer with its link, and dead ends in the kernel's routes for what no balancer takes. A
// new life answers for nothing before it has read the store: what an earlier one held may be
// another's by now. Control thread; routes on the worker.
#pragma once

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/store/mirror.h"
#include "core/tables.h"
#include "core/worker.h"
#include "ipamd/announce/announce.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo {

class AgentAnnounce {
 public:
  // With agent.announce.interfaces. Everything referred to outlives the tasks of the context.
  AgentAnnounce(const config::v1::DaemonConfig& config, AgentTables& tables,
                Table<ReconcileStatus>::Writer status, Net& net, Worker& worker,
                RoleContext context);
  void start(Settling& settling);

 private:
  RoleContext context_;
  Table<announce::Announcement> records_;
  Table<announce::Answered> answered_;
  KvMirror<announce::Announcement> mirror_;
  std::unique_ptr<announce::Link> link_;
  announce::Announcer announcer_;
  announce::DeadEnds dead_ends_;
  Reconciler<announce::Answered> routes_;
};

}  // namespace tombolo
