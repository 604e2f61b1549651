// Makes the keys under a prefix of a store equal to what is wanted: the untyped half of
// KvPublisher. Writes go out in transactions of many keys. What the store loses (an expired lease,
// a restored backup, a foreign delete) is found and written again. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo {

struct PublishOptions {
  std::string name;
  std::string prefix;
  bool leased = false;  // nothing is written before use_lease()
  // How often the store is asked (one key, and the count) whether it still holds what was written.
  Duration check_interval = std::chrono::seconds(30);
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
  // Which keys under the prefix are ours: others are never touched. Empty: all.
  std::function<bool(const KeyValue&)> owns;
};

class KeyPublisher {
 public:
  struct Change {
    std::string key;
    std::optional<std::string> value;  // nothing: the key must not be there
  };

  KeyPublisher(PublishOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
               Logger log);
  // Remembers and writes. On an error nothing or a part is written; the store gets the rest when
  // the caller tries again.
  asio::awaitable<Result<void>> apply(std::vector<Change> changes);
  // From now on, keys that nobody asked for are removed. Compares the whole prefix and repairs it.
  asio::awaitable<Result<void>> prune();
  // Until the group is cancelled: repairs what the store lost.
  asio::awaitable<void> run();
  // Everything is to be written under this lease.
  void use_lease(std::int64_t lease);
  std::size_t size() const { return wanted_.size(); }
  std::uint64_t repairs() const { return repairs_; }

 private:
  struct Wanted {
    std::string value;
    std::int64_t lease = 0;
    bool written = false;
  };
  asio::awaitable<Result<void>> lock();
  void unlock();
  asio::awaitable<Result<void>> write(std::set<std::string> keys);
  asio::awaitable<Result<void>> write_batches(const std::set<std::string>& keys);
  asio::awaitable<Result<void>> repair();
  asio::awaitable<Result<bool>> store_agrees();
  void note_cluster(std::uint64_t cluster_id);

  PublishOptions options_;
  Kv& kv_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  Signal unlocked_;
  bool locked_ = false;
  bool pruning_ = false;
  bool repair_needed_ = false;
  std::uint64_t repairs_ = 0;
  std::int64_t lease_ = 0;
  std::uint64_t cluster_id_ = 0;
  std::map<std::string, Wanted> wanted_;
  std::set<std::string> owed_;  // keys that a failed write left to do
};

}  // namespace tombolo
