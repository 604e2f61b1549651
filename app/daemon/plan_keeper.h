// The fleet's plan in the cluster's store: reads it into the table `plan_blocks`, and applies a new
// one. One value holds the whole plan with who applied it and why, so that a change is one
// compare-and-swap. Controller; control thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/store/follow.h"
#include "core/tables.h"
#include "core/task_group.h"
#include "ipamd/plan/plan.h"

namespace tombolo {

struct AppliedPlan {
  Plan plan;
  std::vector<std::string> changes;  // empty: the plan in force was this one already
  std::int64_t store_revision = 0;
};

class PlanKeeper final : private FollowHandler {
 public:
  PlanKeeper(Kv& kv, Table<PlanBlock>::Writer blocks, TaskGroup& tasks, Clock& clock, Rng& rng,
             Logger log);
  // Until the task group is cancelled.
  asio::awaitable<void> run() { return follower_.run(); }

  // The plan in force; nullptr while there is none. Valid until the next co_await.
  const Plan* current() const { return plan_ ? &*plan_ : nullptr; }
  std::int64_t store_revision() const { return store_revision_; }
  const PrefixFollower& follower() const { return follower_; }

  // Plans `fleet` beside the plan in force and stores the result unless nothing changes or
  // `dry_run`. kAborted when somebody else applied a plan meanwhile; make_plan's errors.
  asio::awaitable<Result<AppliedPlan>> apply(Fleet fleet, std::string who, std::string reason,
                                             bool dry_run);

 private:
  void on_put(const KeyValue& kv) override;
  void on_delete(const std::string& key) override;
  void on_listed(const std::set<std::string>& keys) override;

  Kv& kv_;
  Table<PlanBlock>::Writer blocks_;
  Clock& clock_;
  Logger log_;
  std::optional<Plan> plan_;
  std::int64_t store_revision_ = 0;
  PrefixFollower follower_;
};

// The plan's text as it is stored: plan_to_json with a member "applied" beside it.
std::string encode_plan(const Plan& plan, WallTime now, std::string_view who,
                        std::string_view reason);
Result<Plan> decode_plan(const KeyValue& kv);

}  // namespace tombolo
