// PoolApi and IpApi: whose addresses are whose, read from the tables of whichever roles this
// process has. Control thread.
#pragma once

#include <memory>

#include "app/daemon/handlers/status.h"

namespace tombolo {

class ClaimJanitor;

std::unique_ptr<admin::PoolHandlers> make_pool_handlers(const DaemonView& view);
// `janitor` is a controller's, and outlives it; null: nothing is given up here.
std::unique_ptr<admin::IpHandlers> make_ip_handlers(const DaemonView& view, ClaimJanitor* janitor);

}  // namespace tombolo
