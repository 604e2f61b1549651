// Follows one prefix of a store: lists it page by page at one revision, then watches from there.
// On a broken connection it watches on from where it was; on compaction, or when another store
// answers (also the same one that went back to an earlier revision), it lists again. Retries for
// ever with back-off. The untyped half of KvMirror; control thread only.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo {

struct FollowOptions {
  std::string name;  // for logs and metrics
  std::string prefix;
  std::int64_t page = 1000;  // keys asked for at once
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
  Duration progress_interval = std::chrono::seconds(1);
  // A watch that says nothing for so long, though asked for progress, is given up and made anew.
  Duration silence_limit = std::chrono::seconds(15);
};

class FollowHandler {
 public:
  virtual ~FollowHandler() = default;
  // A list begins: the pairs that follow until on_listed() are of this revision of this store.
  virtual void on_listing(std::int64_t /*revision*/, std::uint64_t /*cluster_id*/) {}
  virtual void on_put(const KeyValue& kv) = 0;
  virtual void on_delete(const std::string& key) = 0;
  // For those who write the keys themselves, and so may know of a later revision than the watch.
  virtual void on_delete_at(const std::string& key, std::int64_t /*revision*/) { on_delete(key); }
  // A list is complete: these keys are there and no others.
  virtual void on_listed(const std::set<std::string>& keys) = 0;
  // Everything up to this revision has been handed over, by the watch.
  virtual void on_revision(std::int64_t /*revision*/) {}
};

class PrefixFollower {
 public:
  // Everything referred to outlives the tasks of the group.
  PrefixFollower(FollowOptions options, Kv& kv, FollowHandler& handler, TaskGroup& tasks,
                 Clock& clock, Rng& rng, Logger log);
  // Until the group is cancelled.
  asio::awaitable<void> run();

  // Lists again soon, whatever has been seen.
  void relist();

  const FollowOptions& options() const { return options_; }
  // When the store last proved itself alive; the epoch of the clock before the first time.
  MonotonicTime last_heard() const { return last_heard_; }
  bool watching() const { return watch_ != nullptr; }
  // Everything up to this revision of the store has been handed over; 0 before the first list.
  std::int64_t revision() const { return revision_; }
  std::uint64_t cluster_id() const { return cluster_id_; }
  // Asks the store for its revision now instead of at the next interval: two rounds later
  // revision() has it. One question at a time; nothing happens while there is no watch. Changes
  // nothing that a reader of the records could see.
  void ask_now() const;
  std::uint64_t lists() const { return lists_; }
  // Why the last attempt failed; empty while all is well.
  const std::string& last_error() const { return last_error_; }

 private:
  asio::awaitable<Result<void>> list();
  asio::awaitable<Result<void>> follow();
  asio::awaitable<Result<void>> compare_revisions();
  asio::awaitable<void> ask_for_progress();
  asio::awaitable<void> ask_once(std::shared_ptr<Watch> watch) const;
  void hear();
  void complain(const Error& error);

  FollowOptions options_;
  Kv& kv_;
  FollowHandler& handler_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  std::shared_ptr<Watch> watch_;
  MonotonicTime last_heard_{};
  std::int64_t revision_ = 0;
  std::uint64_t cluster_id_ = 0;
  std::uint64_t lists_ = 0;
  bool list_needed_ = true;
  mutable bool asked_ = false;  // ask_now() waits for its first answer
  std::uint32_t attempts_ = 0;
  std::string last_error_;
};

}  // namespace tombolo
