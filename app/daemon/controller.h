// The controller role: one per cluster. It reads the sources and the other clusters, and writes
// what the cluster's agents and the other clusters read.
//
//   store --mirrors--> plan_blocks, nodes, node_blocks, attachments
//   manifests, remote stores --ControllerSync--> services, frontends, records of the mesh
//
// Control thread.
#pragma once

#include <memory>
#include <string>

#include "app/daemon/fleet_members.h"
#include "app/daemon/node_forgetter.h"
#include "app/daemon/plan_keeper.h"
#include "app/daemon/pool_grants.h"
#include "app/daemon/pool_keeper.h"
#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo {

namespace controller {
class ControllerSync;
}
namespace announce {
struct Announcement;
}

class Controller {
 public:
  // `context` and `config` outlive it.
  static Result<std::unique_ptr<Controller>> open(const config::v1::DaemonConfig& config,
                                                  RoleContext context);
  virtual ~Controller() = default;

  // Starts everything in the task group.
  virtual void start() = 0;

  virtual ControllerTables& tables() = 0;
  virtual Settling& settling() = 0;
  // Which node announces which load balancer address.
  virtual const Table<announce::Announcement>& announcements() = 0;
  virtual PlanKeeper& plan() = 0;
  virtual FleetMembers& members() = 0;
  virtual const PoolKeeper& pools() const = 0;
  virtual PoolGrants& grants() = 0;
  virtual NodeForgetter& forgetter() = 0;
  virtual ClaimJanitor& janitor() = 0;
  // Null when the mesh subsystem is off.
  virtual controller::ControllerSync* sync() = 0;
};

}  // namespace tombolo
