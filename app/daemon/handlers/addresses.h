// PoolApi and IpApi: whose addresses are whose, read from the tables of whichever roles this
// process has. Control thread.
#pragma once

#include <memory>

#include "app/daemon/handlers/status.h"

namespace tombolo {

class ClaimJanitor;
class PoolGrants;

// `grants` are a controller's, and outlive it; else null.
std::unique_ptr<admin::PoolHandlers> make_pool_handlers(const DaemonView& view,
                                                        const PoolGrants* grants);
// As above; without a janitor nothing is given up here.
std::unique_ptr<admin::IpHandlers> make_ip_handlers(const DaemonView& view,
                                                    const PoolGrants* grants,
                                                    ClaimJanitor* janitor);

}  // namespace tombolo
