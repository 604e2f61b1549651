// The plan's record and its compare-and-swap.
#include "app/daemon/plan_keeper.h"

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

std::string encode_plan(const Plan& plan, WallTime now, std::string_view who,
                        std::string_view reason) {
  json::value document = plan_to_json(plan);
  document.as_object()["applied"] = {
      {"time", format_rfc3339(now)}, {"by", who}, {"reason", reason}};
  return to_json(document);
}

Result<Plan> decode_plan(const KeyValue& kv) {
  auto document = parse_json(kv.value);
  if (!document) return std::unexpected(std::move(document).error().with_context(kv.key));
  DocumentPlace place{kv.key, {}};
  Cursor root(*document, place);
  return plan_from_json(root);
}

PlanKeeper::PlanKeeper(Kv& kv, Table<PlanBlock>::Writer blocks, TaskGroup& tasks, Clock& clock,
                       Rng& rng, Logger log)
    : kv_(kv),
      blocks_(blocks),
      clock_(clock),
      log_(log),
      follower_(follow_options(), kv, *this, tasks, clock, rng, log) {}

void PlanKeeper::on_put(const KeyValue& kv) {
  if (kv.key != records::kPlanKey) return;
  auto plan = decode_plan(kv);
  if (!plan)
    return log_.error("the stored plan is refused, the last good one stays: {}",
                      plan.error().text());
  blocks_.replace_all(blocks_of(*plan));
  plan_ = std::move(*plan);
  store_revision_ = kv.mod_revision;
}

void PlanKeeper::on_delete(const std::string& key) {
  if (key == records::kPlanKey)
    log_.error("the plan was deleted from the store; the last one stays in force here");
}

void PlanKeeper::on_listed(const std::set<std::string>& keys) {
  // A plan that is there but was refused is not "no plan".
  if (plan_ || keys.empty()) blocks_.mark_synced();
}

asio::awaitable<Result<AppliedPlan>> PlanKeeper::apply(Fleet fleet, std::string who,
                                                       std::string reason, bool dry_run) {
  std::string key(records::kPlanKey);
  CO_TRY(stored, co_await kv_.get(key));
  std::optional<Plan> before;
  if (stored) {
    CO_TRY(decoded, decode_plan(*stored));
    before = std::move(decoded);
  } else if (plan_) {
    before = *plan_;  // it was deleted from the store, but clusters live by it
  }
  CO_TRY(plan, make_plan(fleet, before ? &*before : nullptr));
  AppliedPlan applied;
  applied.store_revision = stored ? stored->mod_revision : 0;
  applied.changes = diff_plans(before ? *before : Plan{}, plan);
  applied.plan = std::move(plan);
  if (applied.changes.empty() || dry_run) co_return applied;

  TxnRequest request;
  Compare unchanged;
  unchanged.key = key;
  unchanged.number = applied.store_revision;
  request.compares.push_back(std::move(unchanged));
  Put put{key, encode_plan(applied.plan, clock_.wall_now(), who, reason), 0};
  request.then.emplace_back(std::move(put));
  CO_TRY(result, co_await kv_.txn(std::move(request)));
  if (!result.succeeded)
    co_return fail(Code::kAborted, "another plan was applied meanwhile; look at it and try again");
  applied.store_revision = result.revision;
  co_return applied;
}

}  // namespace tombolo
