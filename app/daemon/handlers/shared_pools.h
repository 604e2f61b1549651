// SharedPoolApi: who has which part of a pool that several clusters share. Controller; control
// thread.
#pragma once

#include <memory>
#include <string>

#include "app/admin/handlers.h"
#include "app/daemon/pool_grants.h"

namespace tombolo {

// `cluster` is this one; `grants` outlives the handlers.
std::unique_ptr<admin::SharedPoolHandlers> make_shared_pool_handlers(std::string cluster,
                                                                     PoolGrants& grants);

}  // namespace tombolo
