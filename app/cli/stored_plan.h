// Plans of the daemon, for the commands that ask questions to them here.
#pragma once

#include "app/cli/commands.h"
#include "ipamd/plan/plan.h"

namespace tombolo::cli {

struct PlanOfFleet {
  Fleet fleet;
  Plan plan;
};

// The plan in force and the fleet file that it was planned from. kFailedPrecondition when a version
// that stored no fleet files applied it.
Result<PlanOfFleet> plan_in_force(Session& session);

}  // namespace tombolo::cli
