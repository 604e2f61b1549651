// Address pools in the fleet: the parts of a controller and of an agent that have to do with them,
// composed as app/daemon/controller.cpp and agent.cpp compose them.
#pragma once

#include <memory>
#include <string>

#include "app/daemon/claim_sweep.h"
#include "app/daemon/pool_keeper.h"
#include "app/daemon/pool_routes.h"
#include "core/store/mirror.h"
#include "ipamd/claims/claims.h"
#include "ipamd/cni/pool_directory.h"
#include "ipamd/cni/service.h"

namespace tombolo::sim {

MirrorOptions mirror_of(std::string name, std::string prefix, LastKnown* known = nullptr);

class ControllerPools {
 public:
  ControllerPools(ControllerTables& tables, Table<ReconcileStatus>::Writer status,
                  RoleContext context);
  void start();

 private:
  RoleContext context_;
  Settling settling_;
  KvMirror<AddressClaim> claim_mirror_;
  KvMirror<PoolBlock> block_mirror_;
  ClaimJanitor janitor_;
  ClaimSweep sweep_;
  PoolKeeper keeper_;
};

class AgentPools {
 public:
  AgentPools(const std::string& node, AgentTables& tables, LastKnown& known,
             Table<ReconcileStatus>::Writer status, RoleContext context);
  CniPools ports();
  void restore();
  void follow();
  void start();  // before CNI
  void tell();   // when CNI is served
  Table<Node>& nodes() { return routes_.nodes(); }

 private:
  RoleContext context_;
  Settling settling_;
  KvMirror<PoolObject> pool_mirror_;
  KvMirror<PoolObject> reservation_mirror_;
  KvMirror<NodeBlock> routed_mirror_;
  PoolDirectory directory_;
  Claims claims_;
  OverlayBlocks blocks_;
  PublishedTable<NodeBlock> own_routed_;
  PoolRoutes routes_;
};

}  // namespace tombolo::sim
