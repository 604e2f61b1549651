// What a plan is worth beside what is provably possible: summary routes over the fewest there can
// be, over the smallest equivalent table (ORTC), space over its bound.
#pragma once

#include "ipamd/plan/optimum.h"
#include "tests/bench/plan/traces.h"

namespace tombolo::bench {

// The demand of a fleet, planned from nothing, as the search for the optimum wants it.
struct Instance {
  std::vector<RegionDemand> regions;
  Sizes shared;
  Sizes supply;
  bool feasible() const;  // B1: whether everything fits in some way
};
Instance instance_of(const Fleet& fleet, Family family);

std::uint32_t routes_of(const Plan& plan);
// Addresses that the summary routes cover, over the fewest that as many routes can cover.
double space_over_bound(const Plan& plan);
// The size of the smallest table of longest-prefix matches that leads every routed address to its
// region and no address of the clusterset or of a reserved range anywhere (Draves 1999); free
// addresses may go anywhere. IPv4.
std::uint32_t smallest_table(const Plan& plan);

}  // namespace tombolo::bench
