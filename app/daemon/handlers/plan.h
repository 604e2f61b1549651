// PlanApi: the plan in force, what a fleet file would give beside it, and its application.
// Controller; control thread.
#pragma once

#include <memory>

#include "app/daemon/handlers/status.h"
#include "app/daemon/plan_keeper.h"

namespace tombolo {

// `keeper` outlives the handlers.
std::unique_ptr<admin::PlanHandlers> make_plan_handlers(PlanKeeper& keeper);

}  // namespace tombolo
