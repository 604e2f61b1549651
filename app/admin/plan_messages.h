// Plans as messages of the admin API: the same for the daemon, which has the plan in force, and for
// `tombolo plan show -f`, which needs no daemon. Pure.
#pragma once

#include "ipamd/plan/plan.h"
#include "schema/admin/v1/admin.pb.h"

namespace tombolo::admin {

// A fleet file as it came in a request; errors name its name and line.
Result<Fleet> fleet_of(const v1::FleetFile& file);
// Ranges, notes, and with `previous` what would change. `fleet` may be null (then no sizes are
// checked).
v1::ShowPlanResponse show_plan(const Plan& plan, const Fleet* fleet, const Plan* previous);
// For a node of `cluster`, or for a router between the clusters when it is empty. kNotFound when
// there is no such cluster.
// The first node is 0. kOutOfRange when the cluster has not so many.
Result<v1::PlanRoutesResponse> routes_of_plan(const Plan& plan, const std::string& cluster,
                                              unsigned node = 0);

}  // namespace tombolo::admin
