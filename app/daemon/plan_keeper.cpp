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
  if (!applied.changes.empty() && check_) {
    CO_TRY_OK(check_(next.plan));
  }
  if (dry_run) co_return applied;
  std::optional<PlanRecord> before;
  if (base.record) {
    CO_TRY(found, co_await kept(base.record->number));
    before = std::move(found);
  }
  if (applied.changes.empty()) {
    const FleetText stored = before ? before->fleet : FleetText{};
    if (!base.record || next.fleet.text.empty() || next.fleet == stored) co_return applied;
    // The same plan from another text: who applied the plan, and when, stays.
    PlanRecord record = before ? *before : *base.record;
    record.fleet = next.fleet;
    Put put{plan_history_key(record.number), encode_historic_plan(record), 0};
    std::vector<Operation> operations;
    operations.emplace_back(std::move(put));
    CO_TRY(revision, co_await commit(base.mod_revision, std::move(operations)));
    log_.info("the fleet file of plan {} is stored, revision {}", record.number, revision);
    co_return applied;
  }
  const bool missing = base.record && !before;
  std::vector<Operation> operations = history_operations(next, missing ? &*base.record : nullptr);
  Put put{std::string(records::kPlanKey), encode_plan(next), 0};
  operations.emplace_back(std::move(put));
  CO_TRY(revision, co_await commit(base.mod_revision, std::move(operations)));
  applied.store_revision = revision;
  co_return applied;
}

// As long as the plan in force is the one of this revision.
asio::awaitable<Result<std::int64_t>> PlanKeeper::commit(std::int64_t mod_revision,
                                                         std::vector<Operation> operations) {
  TxnRequest request;
  Compare unchanged;
  unchanged.key = records::kPlanKey;
  unchanged.number = mod_revision;
  request.compares.push_back(std::move(unchanged));
  request.then = std::move(operations);
  CO_TRY(result, co_await kv_.txn(std::move(request)));
  if (!result.succeeded)
    co_return fail(Code::kAborted, "another plan was applied meanwhile; look at it and try again");
  co_return result.revision;
}

asio::awaitable<Result<std::optional<PlanRecord>>> PlanKeeper::kept(std::int64_t number) {
  std::string key = plan_history_key(number);
  CO_TRY(stored, co_await kv_.get(key));
  if (!stored) co_return std::optional<PlanRecord>();
  auto record = decode_plan(*stored);
  if (!record) {
    log_.error("the history: {}", record.error().text());
    co_return std::optional<PlanRecord>();
  }
  co_return std::optional<PlanRecord>(std::move(*record));
}

asio::awaitable<Result<PlanRecord>> PlanKeeper::in_force() {
  if (!record_) co_return fail(Code::kNotFound, "no plan is in force yet (tombolo plan apply)");
  PlanRecord record = *record_;
  CO_TRY(found, co_await kept(record.number));
  // A number belongs to one plan, unless a version without history applied it.
  if (found && found->plan == record.plan) record.fleet = std::move(found->fleet);
  co_return record;
}

asio::awaitable<Result<AppliedPlan>> PlanKeeper::apply(Fleet fleet, std::string who,
                                                       std::string reason, bool dry_run,
                                                       FleetText text) {
  CO_TRY(before, co_await base());
  PlanRecord next;
  CO_TRY(plan, make_plan(fleet, before.record ? &before.record->plan : nullptr));
  next.plan = std::move(plan);
  next.fleet = std::move(text);
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
