// Seeded traces of fleets that grow and shrink, for the planner's benchmark. A trace is a fleet
// without clusters and the steps that happen to it; an offline trace has joins only and may be
// planned at once. Pure.
#pragma once

#include <string>
#include <vector>

#include "core/clock.h"
#include "ipamd/plan/plan.h"

namespace tombolo::bench {

enum class Change { kJoin, kGrow, kShrink, kLeave };

struct Step {
  Change change = Change::kJoin;
  FleetCluster cluster;  // as it is wanted after the step
};

struct Trace {
  std::string name;
  Fleet fleet;  // without clusters
  std::vector<Step> steps;
};

// Joins only: `load_percent` of the free address space is asked for.
Trace offline_trace(std::uint64_t seed, unsigned regions, unsigned load_percent, bool holes);
// Joins up to the load, then growth x2, shrinking, leaving and joining at about that load.
Trace online_trace(std::uint64_t seed, unsigned regions, unsigned load_percent, bool holes,
                   unsigned steps);
// `clusters` small dual-stack clusters in 12 regions.
Fleet large_fleet(std::uint64_t seed, unsigned clusters);

}  // namespace tombolo::bench
