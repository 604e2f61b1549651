// NodeApi: the nodes of the cluster, and giving up what one holds that is gone for ever.
// Controller; control thread.
#pragma once

#include <memory>

#include "app/daemon/handlers/status.h"
#include "app/daemon/node_forgetter.h"

namespace tombolo {

// `forgetter` outlives the handlers.
std::unique_ptr<admin::NodeHandlers> make_node_handlers(const DaemonView& view,
                                                        NodeForgetter& forgetter);

}  // namespace tombolo
