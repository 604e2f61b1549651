// The fleet's plan in the cluster's store: reads it into the table `plan_blocks`, applies a new
// one, and puts an older one back in force. One value holds the whole plan with who applied it and
// why, so that a change is one compare-and-swap. Controller; control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "app/daemon/plan_history.h"
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
  std::int64_t number = 0;           // its number in the history; with dry_run: it would have this
  std::vector<std::string> changes;  // empty: the plan in force was this one already
  std::int64_t store_revision = 0;
};

class PlanKeeper final : private FollowHandler {
 public:
  PlanKeeper(Kv& kv, Table<PlanBlock>::Writer blocks, TaskGroup& tasks, Clock& clock, Rng& rng,
             Logger log);
  // Until the task group is cancelled.
  asio::awaitable<void> run() { return follower_.run(); }

  // Asked before a plan is put in force, also for a dry run; what it refuses is refused.
  void check_with(std::function<Result<void>(const Plan&)> check) { check_ = std::move(check); }

  // The plan in force; nullptr while there is none. Valid until the next co_await.
  const Plan* current() const { return record_ ? &record_->plan : nullptr; }
  const PlanRecord* record() const { return record_ ? &*record_ : nullptr; }
  std::int64_t store_revision() const { return store_revision_; }
  const PrefixFollower& follower() const { return follower_; }

  // Plans `fleet` beside the plan in force and stores the result, and `text`, which it was read
  // from, beside it, unless nothing changes or `dry_run`. A text that changes nothing of the plan
  // replaces the stored one. kAborted when somebody else applied a plan meanwhile; make_plan's
  // errors.
  asio::awaitable<Result<AppliedPlan>> apply(Fleet fleet, std::string who, std::string reason,
                                             bool dry_run, FleetText text = {});
  // Puts the plan of this number back in force, under a new number, unless nothing changes or
  // `dry_run`. kNotFound when the history has it no longer, kFailedPrecondition when its ranges
  // overlap; else as apply().
  asio::awaitable<Result<AppliedPlan>> rollback(std::int64_t number, std::string who,
                                                std::string reason, bool dry_run);
  // Oldest first; the plan in force is the last one. Damaged records are left out and named.
  asio::awaitable<Result<std::vector<PlanRecord>>> history(std::vector<std::string>& damaged) {
    return read_plan_history(kv_, damaged);
  }
  asio::awaitable<Result<PlanRecord>> historic(std::int64_t number) {
    return read_historic_plan(kv_, number);
  }
  // The plan in force with its fleet file, whose text is empty when a version that stored none
  // applied it. kNotFound when no plan is in force.
  asio::awaitable<Result<PlanRecord>> in_force();

 private:
  // What a change begins with: the plan in force and the revision that it must still have.
  struct Base {
    std::optional<PlanRecord> record;
    std::int64_t mod_revision = 0;
    std::int64_t last_number = 0;
  };
  asio::awaitable<Result<Base>> base();
  asio::awaitable<Result<AppliedPlan>> put_in_force(Base base, PlanRecord next, bool dry_run);
  // What the history has of a plan; none when it has nothing that can be read.
  asio::awaitable<Result<std::optional<PlanRecord>>> kept(std::int64_t number);
  asio::awaitable<Result<std::int64_t>> commit(std::int64_t mod_revision,
                                               std::vector<Operation> operations);

  void on_put(const KeyValue& kv) override;
  void on_delete(const std::string& key) override;
  void on_listed(const std::set<std::string>& keys) override;

  Kv& kv_;
  std::function<Result<void>(const Plan&)> check_;
  Table<PlanBlock>::Writer blocks_;
  Clock& clock_;
  Logger log_;
  std::optional<PlanRecord> record_;
  std::int64_t store_revision_ = 0;
  PrefixFollower follower_;
};

}  // namespace tombolo
