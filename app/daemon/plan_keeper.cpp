// The plan's record and its compare-and-swap.
#include "app/daemon/plan_keeper.h"

#include <algorithm>

#include "core/records/records.h"

namespace tombolo {
namespace {

FollowOptions follow_options() {
  FollowOptions options;
  options.name = "plan";
  options.prefix = records::kPlanKey;
  return options;
}

}  // namespace

PlanKeeper::PlanKeeper(Kv& kv, Table<PlanBlock>::Writer blocks, TaskGroup& tasks, Clock& clock,
                       Rng& rng, Logger log)
    : kv_(kv),
      blocks_(blocks),
      clock_(clock),
      log_(log),
      follower_(follow_options(), kv, *this, tasks, clock, rng, log) {}

void PlanKeeper::on_put(const KeyValue& kv) {
  if (kv.key != records::kPlanKey) return;
  auto record = decode_plan(kv);
  if (!record)
    return log_.error("the stored plan is refused, the last good one stays: {}",
                      record.error().text());
  blocks_.replace_all(blocks_of(record->plan));
  record_ = std::move(*record);
  store_revision_ = kv.mod_revision;
}

void PlanKeeper::on_delete(const std::string& key) {
  if (key == records::kPlanKey)
    log_.error("the plan was deleted from the store; the last one stays in force here");
}

void PlanKeeper::on_listed(const std::set<std::string>& keys) {
  // A plan that is there but was refused is not "no plan".
  if (record_ || keys.empty()) blocks_.mark_synced();
}

asio::awaitable<Result<PlanKeeper::Base>> PlanKeeper::base() {
  Base base;
  std::string key(records::kPlanKey);
  CO_TRY(stored, co_await kv_.get(key));
  if (stored) {
    CO_TRY(decoded, decode_plan(*stored));
    base.mod_revision = stored->mod_revision;
    base.last_number = decoded.number;
    base.record = std::move(decoded);
    co_return base;
  }
  base.record = record_;  // it was deleted from the store, but clusters live by it
  std::vector<std::string> damaged;
  CO_TRY(past, co_await read_plan_history(kv_, damaged));
  if (record_) base.last_number = record_->number;
  if (!past.empty()) base.last_number = std::max(base.last_number, past.back().number);
  co_return base;
}

asio::awaitable<Result<AppliedPlan>> PlanKeeper::put_in_force(Base base, PlanRecord next,
                                                              bool dry_run) {
  AppliedPlan applied;
  applied.store_revision = base.mod_revision;
  applied.changes = diff_plans(base.record ? base.record->plan : Plan{}, next.plan);
  applied.number = applied.changes.empty() ? base.last_number : base.last_number + 1;
  next.number = applied.number;
  next.time = clock_.wall_now();
  applied.plan = next.plan;
  if (applied.changes.empty()) co_return applied;
  if (check_) {
    CO_TRY_OK(check_(next.plan));
  }
  if (dry_run) co_return applied;

  TxnRequest request;
  Compare unchanged;
  unchanged.key = records::kPlanKey;
  unchanged.number = base.mod_revision;
  request.compares.push_back(std::move(unchanged));
  request.then = history_operations(next, base.record ? &*base.record : nullptr);
  Put put{std::string(records::kPlanKey), encode_plan(next), 0};
  request.then.emplace_back(std::move(put));
  CO_TRY(result, co_await kv_.txn(std::move(request)));
  if (!result.succeeded)
    co_return fail(Code::kAborted, "another plan was applied meanwhile; look at it and try again");
  applied.store_revision = result.revision;
  co_return applied;
}

asio::awaitable<Result<AppliedPlan>> PlanKeeper::apply(Fleet fleet, std::string who,
                                                       std::string reason, bool dry_run) {
  CO_TRY(before, co_await base());
  PlanRecord next;
  CO_TRY(plan, make_plan(fleet, before.record ? &before.record->plan : nullptr));
  next.plan = std::move(plan);
  next.who = std::move(who);
  next.reason = std::move(reason);
  co_return co_await put_in_force(std::move(before), std::move(next), dry_run);
}

asio::awaitable<Result<AppliedPlan>> PlanKeeper::rollback(std::int64_t number, std::string who,
                                                          std::string reason, bool dry_run) {
  CO_TRY(before, co_await base());
  CO_TRY(next, co_await read_historic_plan(kv_, number));
  CO_TRY_OK(check_disjoint(next.plan));
  next.restores = number;
  next.who = std::move(who);
  next.reason = std::move(reason);
  co_return co_await put_in_force(std::move(before), std::move(next), dry_run);
}

}  // namespace tombolo
