// ClusterApi: which clusters are joined, and the exchange of grants. Controller; control thread.
#pragma once

#include <memory>

#include "app/daemon/fleet_members.h"
#include "app/daemon/handlers/status.h"

namespace tombolo {

// `members` outlives the handlers.
std::unique_ptr<admin::ClusterHandlers> make_cluster_handlers(const DaemonView& view,
                                                              FleetMembers& members);

}  // namespace tombolo
