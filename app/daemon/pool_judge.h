// Which pools and reservations are in force, from what operators wrote and what was in force
// before. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "core/tables.h"

namespace tombolo {

// A single address, or a node's block, of a pool that a node holds or that is kept for somebody.
struct PoolUse {
  std::string pool;  // empty: a service's, of no pool
  Prefix prefix;
  auto operator<=>(const PoolUse&) const = default;
};

struct PoolFacts {
  std::vector<PoolObject> written;
  std::vector<PoolObject> in_force;
  std::vector<PoolUse> uses;
  std::vector<PlanBlock> plan;
  // Pools that have left for so long that every agent knows it.
  std::set<std::string> known_to_leave;
};

struct PoolJudgement {
  std::vector<PoolObject> in_force;  // from now on
  // Why what was written is not in force, with its place; then what was in force stays.
  std::string error;
  std::vector<std::string> notes;  // about pools that leave, one line each
};

// What was written, when it makes a catalog (PoolCatalog::make), changes nothing of a pool that
// never changes, and gives no address to a second owner: none that another pool has given out, none
// of the plan's ranges for pods, services and the clusterset. A pool that nobody writes any more
// stays, giving out nothing, until no address of it is in use and every agent knows.
PoolJudgement judge_pools(const PoolFacts& facts);

// Whether a plan with these ranges may be put beside the pools in force. kFailedPrecondition: names
// the first pool, with its place, and the range that have an address in common.
Result<void> check_plan_beside_pools(const std::vector<PoolObject>& in_force,
                                     const std::vector<PlanBlock>& plan);

}  // namespace tombolo
