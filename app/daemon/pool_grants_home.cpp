// This cluster as a pool's home: what it has granted to others, what it grants next, and what an
// operator takes back.
#include <algorithm>

#include "app/daemon/pool_grants.h"
#include "app/daemon/pool_grants_remote.h"
#include "core/store/range_all.h"

namespace tombolo {

asio::awaitable<Result<void>> PoolGrants::read_ledgers(std::map<std::string, SharedPool>& left) {
  std::string prefix(grants::kLedgersPrefix);
  CO_TRY(ledgers, co_await range_all(context_.kv, std::move(prefix)));
  std::vector<PoolUse> granted;
  for (const KeyValue& kv : ledgers) {
    CO_TRY(ledger, grants::decode_ledger(kv));
    for (const grants::Grant& grant : ledger.grants)
      if (grant.cluster != cluster_) granted.push_back({ledger.pool, grant.range});
    if (ledger.grants.empty()) continue;
    SharedPool pool;
    pool.name = ledger.pool;
    pool.sharing.home = cluster_;
    pool.sharing.part_length = ledger.grants.front().range.length();
    for (const auto& [cluster, member] : ledger.members) pool.sharing.clusters.push_back(cluster);
    pool.leaving = true;
    left.insert_or_assign(ledger.pool, std::move(pool));
  }
  if (granted_ == granted) co_return Result<void>{};
  granted_ = std::move(granted);
  if (granted_changed_) granted_changed_();
  co_return Result<void>{};
}

grants::HomeFacts PoolGrants::home_facts(const SharedPool& pool, const Standing& standing) const {
  grants::HomeFacts facts;
  facts.pool = pool.name;
  facts.self = cluster_;
  facts.members = {pool.sharing.clusters.begin(), pool.sharing.clusters.end()};
  if (!pool.leaving) facts.parts = grants::cut(pool.addresses, pool.sharing.part_length);
  if (standing.parts) facts.copies[cluster_] = *standing.parts;
  for (const auto& [cluster, remote] : remotes_) {
    if (remote->ledgers().contains(pool.name)) facts.other_homes.insert(cluster);
    auto copy = remote->parts().find(pool.name);
    if (copy == remote->parts().end()) continue;
    facts.copies[cluster] = copy->second;
    // What another home has granted is not this one's to grant.
    bool has = std::ranges::any_of(copy->second.parts, [](const grants::Part& part) {
      return part.state != grants::PartState::kReturned;
    });
    if (has && copy->second.home != cluster_) facts.other_homes.insert(copy->second.home);
  }
  return facts;
}

asio::awaitable<Result<PoolGrants::Standing>> PoolGrants::step_home(SharedPool pool, PoolUsage used,
                                                                    Standing standing) {
  std::string key = grants::ledger_key(pool.name);
  CO_TRY(own, co_await records_.read(key));
  std::optional<grants::GrantLedger> before;
  if (own.pair) {
    CO_TRY(ledger, grants::decode_ledger(*own.pair));
    before = std::move(ledger);
  }
  grants::HomeFacts facts = home_facts(pool, standing);
  facts.store_id = own.store_id;
  facts.used_here = std::move(used.busy);
  facts.random = number();
  grants::HomeStep next = grants::next_ledger(before, facts);
  std::ranges::move(next.problems, std::back_inserter(standing.problems));
  standing.ledger = next.ledger;
  if (next.ledger == before) co_return standing;
  // When another controller was faster, the next tick looks again.
  std::optional<std::string> value = grants::encode(next.ledger);
  CO_TRY_OK(co_await records_.write(key, own.revision, std::move(value)));
  co_return standing;
}

// Of a cluster that is not the home, but was: its ledger stops the home. It goes when it has
// nobody's parts, owes nobody a fence, and can have forgotten nothing.
asio::awaitable<Result<void>> PoolGrants::drop_ledger(std::string pool,
                                                      std::vector<std::string>& problems) {
  std::string key = grants::ledger_key(pool);
  CO_TRY(own, co_await records_.read(key));
  if (!own.pair) co_return Result<void>{};
  CO_TRY(ledger, grants::decode_ledger(*own.pair));
  bool fences = std::ranges::any_of(ledger.members,
                                    [](const auto& member) { return member.second.gone_at > 0; });
  if (!ledger.grants.empty() || fences || (ledger.recovering && ledger.generation.number > 1)) {
    problems.push_back(
        fmt::format("{} was the home of this pool, and not all parts are given back", cluster_));
    co_return Result<void>{};
  }
  std::optional<std::string> erased;
  CO_TRY_OK(co_await records_.write(std::move(key), own.revision, std::move(erased)));
  co_return Result<void>{};
}

asio::awaitable<Result<std::vector<Prefix>>> PoolGrants::reclaim(std::string pool,
                                                                 std::string cluster,
                                                                 bool dry_run) {
  std::string key = grants::ledger_key(pool);
  CO_TRY(own, co_await records_.read(key));
  if (!own.pair)
    co_return fail(Code::kFailedPrecondition, "{} is not the home of a shared pool {}", cluster_,
                   pool);
  CO_TRY(ledger, grants::decode_ledger(*own.pair));
  std::vector<Prefix> parts;
  for (const grants::Grant& grant : ledger.grants)
    if (grant.cluster == cluster) parts.push_back(grant.range);
  CO_TRY(without, grants::without_cluster(std::move(ledger), cluster));
  if (dry_run) co_return parts;
  auto remote = remotes_.find(cluster);
  if (remote != remotes_.end() && remote->second->is_heard(context_.clock.now()))
    co_return fail(Code::kFailedPrecondition,
                   "cluster {} lives: its store answers. Take it out of the pool in its own "
                   "manifests, and it gives its parts back",
                   cluster);
  std::optional<std::string> value = grants::encode(without);
  CO_TRY(written, co_await records_.write(key, own.revision, std::move(value)));
  if (!written) co_return fail(Code::kAborted, "the grants of {} changed: try again", pool);
  context_.log.info("pool {}: cluster {} is gone, its {} parts are free", pool, cluster,
                    parts.size());
  co_return parts;
}

}  // namespace tombolo
