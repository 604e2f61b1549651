// The rules, one function each.
#include "app/daemon/pool_judge.h"

#include <algorithm>
#include <map>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

struct Owned {
  IpRange range;
  const IpPool* pool;
};

// All addresses that pools give out: ascending, and no address twice.
std::vector<Owned> all_ranges(const PoolCatalog& catalog) {
  std::vector<Owned> all;
  for (const IpPool& pool : catalog.pools())
    for (const IpRange& range : catalog.usable(pool)) all.push_back({range, &pool});
  std::ranges::sort(all, {}, &Owned::range);
  return all;
}

// The first range that has an address of the prefix and is not of the pool.
const Owned* other_owner(const std::vector<Owned>& all, const Prefix& prefix,
                         std::string_view pool) {
  auto at = std::ranges::lower_bound(all, prefix.first(), {},
                                     [](const Owned& owned) { return owned.range.last; });
  for (; at != all.end() && at->range.first <= prefix.last(); ++at)
    if (at->pool->name != pool) return &*at;
  return nullptr;
}

Ip first_common(const IpRange& range, const Prefix& prefix) {
  return std::max(range.first, prefix.first());
}

Result<void> check_unchanged(const PoolCatalog& now, const PoolCatalog& before) {
  for (const IpPool& pool : now.pools()) {
    const IpPool* old = before.find(pool.name);
    if (old == nullptr) continue;
    if (std::string what = changed_for_ever(pool, *old); !what.empty())
      return fail(Code::kFailedPrecondition,
                  "{}: the pool '{}': {}: that never changes; a pool of another name may have it",
                  pool.place, pool.name, what);
  }
  return {};
}

Result<void> check_uses(const std::vector<Owned>& all, const std::vector<PoolUse>& uses) {
  for (const PoolUse& use : uses)
    if (const Owned* owned = other_owner(all, use.prefix, use.pool))
      return fail(Code::kFailedPrecondition, "{}: the pool '{}' would give out {}, which {}",
                  owned->pool->place, owned->pool->name,
                  first_common(owned->range, use.prefix).str(),
                  use.pool.empty() ? "a service has"
                                   : fmt::format("the pool '{}' has given out", use.pool));
  return {};
}

Result<void> check_plan(const std::vector<Owned>& all, const std::vector<PlanBlock>& plan) {
  for (const PlanBlock& block : plan) {
    if (block.use == BlockUse::kUnderlay) continue;
    if (const Owned* owned = other_owner(all, block.prefix, ""))
      return fail(Code::kFailedPrecondition,
                  "{}: the pool '{}' would give out {}, which is in the plan's range {} ({}{})",
                  owned->pool->place, owned->pool->name,
                  first_common(owned->range, block.prefix).str(), block.prefix.str(),
                  block.cluster.empty() ? "" : block.cluster + ", ", to_string(block.use));
  }
  return {};
}

// Pools in force that nobody writes any more and that cannot go yet.
std::vector<PoolObject> leaving_pools(const PoolFacts& facts, std::vector<std::string>& notes) {
  std::set<std::string> written;
  for (const PoolObject& object : facts.written)
    if (object.kind == PoolObjectKind::kPool) written.insert(object.name);
  std::map<std::string, std::size_t> uses;
  for (const PoolUse& use : facts.uses) ++uses[use.pool];
  std::vector<PoolObject> leaving;
  for (const PoolObject& object : facts.in_force) {
    if (object.kind != PoolObjectKind::kPool || written.contains(object.name)) continue;
    auto used = uses.find(object.name);
    if (used != uses.end())
      notes.push_back(
          fmt::format("the pool '{}' ({}) is written no more: it gives out nothing and "
                      "goes when the last {} of its addresses and blocks are free",
                      object.name, object.place, used->second));
    else if (facts.known_to_leave.contains(object.name))
      continue;
    leaving.push_back(object);
    leaving.back().leaving = true;
  }
  return leaving;
}

Result<void> check(const PoolFacts& facts, const std::vector<PoolObject>& wanted) {
  TRY(catalog, catalog_of(wanted));
  TRY(before, catalog_of(facts.in_force));
  TRY_OK(check_unchanged(catalog, before));
  std::vector<Owned> all = all_ranges(catalog);
  TRY_OK(check_plan(all, facts.plan));
  return check_uses(all, facts.uses);
}

}  // namespace

PoolJudgement judge_pools(const PoolFacts& facts) {
  PoolJudgement judgement;
  std::vector<PoolObject> wanted = facts.written;
  for (PoolObject& object : leaving_pools(facts, judgement.notes))
    wanted.push_back(std::move(object));
  auto good = check(facts, wanted);
  judgement.in_force = good ? std::move(wanted) : facts.in_force;
  if (!good) judgement.error = good.error().what;
  return judgement;
}

Result<void> check_plan_beside_pools(const std::vector<PoolObject>& in_force,
                                     const std::vector<PlanBlock>& plan) {
  TRY(catalog, catalog_of(in_force));
  return check_plan(all_ranges(catalog), plan);
}

}  // namespace tombolo
