// The loop that makes the world equal to the rows of one table. Three small operations: update is
// idempotent, erasing what is absent succeeds, prune runs once after the table is synced. Progress
// and errors go to the status table.
#pragma once

#include <algorithm>
#include <string>

#include "core/clock.h"
#include "core/log.h"
#include "core/table.h"
#include "core/tables.h"
#include "core/task_group.h"

namespace tombolo {

template <class Row>
class ReconcileOperations {
 public:
  struct Change {
    std::string key;
    std::optional<Row> row;  // nothing: erase
  };
  virtual ~ReconcileOperations() = default;
  virtual asio::awaitable<Result<void>> update(Row row) = 0;
  virtual asio::awaitable<Result<void>> erase(std::string key) = 0;
  // Removes from the world what no row stands for (left by an earlier life). Called once, when the
  // table is synced.
  virtual asio::awaitable<Result<void>> prune(std::vector<Row> rows) = 0;

  // For worlds that take many changes at once: how many to hand over, and the call that takes them.
  // Answers one result per change, in their order.
  virtual std::size_t batch_limit() const { return 1; }
  virtual asio::awaitable<std::vector<Result<void>>> apply(std::vector<Change> changes) {
    std::vector<Result<void>> results;
    for (Change& change : changes) {
      if (change.row)
        results.push_back(co_await update(std::move(*change.row)));
      else
        results.push_back(co_await erase(change.key));
    }
    co_return results;
  }
};

struct ReconcilerOptions {
  std::string name;
  Duration retry_base = std::chrono::milliseconds(50);
  Duration retry_cap = std::chrono::seconds(10);
};

// What `tombolo wait` looks at.
class ReconcilerView {
 public:
  virtual ~ReconcilerView() = default;
  virtual const std::string& name() const = 0;
  // Every change made to the table so far is in the world, nothing failed, and the prune is done.
  virtual bool settled() const = 0;
};

// Runs until cancelled. Failed keys (and a failed prune) are retried with back-off and do not hold
// up the others.
template <class Row>
class Reconciler final : public ReconcilerView {
 public:
  Reconciler(ReconcilerOptions options, Table<Row>& table, ReconcileOperations<Row>& operations,
             Table<ReconcileStatus>::Writer status, TaskGroup& tasks, Clock& clock, Rng& rng,
             Logger log)
      : options_(std::move(options)),
        table_(table),
        operations_(operations),
        status_(status),
        clock_(clock),
        rng_(rng),
        log_(log.with("reconciler", options_.name)),
        changed_(tasks.executor()),
        tasks_(tasks) {
    tracker_ = table_.track([this] { changed_.notify_all(); });
  }

  const std::string& name() const override { return options_.name; }
  bool settled() const override {
    return !busy_ && pruned_ && retry_.empty() && !tracker_->pending();
  }

  asio::awaitable<void> run() {
    while (!tasks_.cancelled()) {
      busy_ = true;
      bool due = clock_.now() >= retry_at_;
      std::set<std::string> keys = tracker_->take();
      if (due) keys.merge(std::exchange(retry_, {}));
      for (const std::string& key : keys) retry_.erase(key);
      std::uint64_t target = table_.revision();
      for (auto next = keys.begin(); next != keys.end();) {
        std::vector<std::string> batch;
        for (; next != keys.end() && batch.size() < operations_.batch_limit(); ++next)
          batch.push_back(*next);
        co_await reconcile(std::move(batch));
        if (tasks_.cancelled()) co_return;
      }
      if (due || !prune_failed_) co_await prune_once();
      busy_ = false;
      report(target);
      if (tracker_->pending()) continue;
      if (retry_.empty() && !prune_failed_) {
        rounds_ = 0;
        if (auto woken = co_await changed_.wait(); !woken) co_return;
        continue;
      }
      if (clock_.now() >= retry_at_)
        retry_at_ =
            clock_.now() + backoff(rounds_++, options_.retry_base, options_.retry_cap, rng_);
      if (!co_await rest()) co_return;
    }
  }

 private:
  // Until the failed ones are due or something changes; false when cancelled.
  asio::awaitable<bool> rest() {
    constexpr Duration kLook = std::chrono::milliseconds(20);
    while (!tracker_->pending() && clock_.now() < retry_at_) {
      Duration pause = std::min<Duration>(kLook, retry_at_ - clock_.now());
      if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return false;
    }
    co_return true;
  }

  asio::awaitable<void> reconcile(std::vector<std::string> keys) {
    std::vector<typename ReconcileOperations<Row>::Change> changes;
    for (const std::string& key : keys) {
      const Row* row = table_.find(key);
      changes.push_back({key, row == nullptr ? std::nullopt : std::optional<Row>(*row)});
    }
    std::vector<Result<void>> results = co_await operations_.apply(std::move(changes));
    ENSURE(results.size() == keys.size(), "{}: {} results for {} changes", options_.name,
           results.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) note_result(keys[i], results[i]);
  }

  void note_result(const std::string& key, const Result<void>& done) {
    if (done) {
      if (failing_.erase(key) > 0) status_.erase(options_.name + "|" + key);
      return;
    }
    retry_.insert(key);
    std::uint32_t attempts = ++failing_[key];
    if (attempts == 1) log_.warning("{}: {}", key, done.error().text());
    ReconcileStatus line{options_.name,     key,      ReconcileState::kError,
                         table_.revision(), attempts, done.error().text()};
    status_.upsert(std::move(line));
  }

  asio::awaitable<void> prune_once() {
    if (pruned_ || !table_.synced()) co_return;
    std::vector<Row> rows;
    for (const auto& [key, versioned] : table_.rows()) rows.push_back(versioned.row);
    auto done = co_await operations_.prune(std::move(rows));
    if (done)
      pruned_ = true;
    else if (!prune_failed_)
      log_.warning("prune: {}", done.error().text());
    prune_failed_ = !done;
  }

  void report(std::uint64_t target) {
    bool done = retry_.empty() && pruned_;
    ReconcileStatus line{options_.name, "", done ? ReconcileState::kDone : ReconcileState::kPending,
                         target,        0,  ""};
    status_.upsert(std::move(line));
  }

  ReconcilerOptions options_;
  Table<Row>& table_;
  ReconcileOperations<Row>& operations_;
  Table<ReconcileStatus>::Writer status_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  Signal changed_;
  TaskGroup& tasks_;
  std::unique_ptr<typename Table<Row>::Tracker> tracker_;
  std::set<std::string> retry_;
  std::map<std::string, std::uint32_t> failing_;
  std::uint32_t rounds_ = 0;
  MonotonicTime retry_at_{};  // before it, failed ones rest
  bool pruned_ = false;
  bool prune_failed_ = false;  // the last attempt
  bool busy_ = false;
};

}  // namespace tombolo
