// PolicyApi: the policies of this cluster, what they do on this node, and why one end may or may
// not talk to another. Control thread.
#pragma once

#include <memory>

#include "app/daemon/handlers/status.h"

namespace tombolo {

// An agent's tables are preferred where the process has both roles: they know every cluster's pods
// and what is in the kernel.
std::unique_ptr<admin::PolicyHandlers> make_policy_handlers(const DaemonView& view);

}  // namespace tombolo
