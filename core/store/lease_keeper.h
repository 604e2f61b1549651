// Keeps one lease of a store alive: grants it, refreshes it three times per time to live, grants a
// new one when the store has lost it, and tells so. Control thread only.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo {

struct LeaseKeeperOptions {
  std::string name;
  std::chrono::seconds ttl{60};
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
};

class LeaseKeeper {
 public:
  LeaseKeeper(LeaseKeeperOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
              Logger log);
  // Called with the id of every lease that is granted, also with one that is there already. It only
  // sets a flag or wakes somebody: everything written under the earlier lease is gone.
  void on_grant(std::function<void(std::int64_t)> callback);
  // Until the group is cancelled. The lease is left to expire: a restart must not remove what is
  // still true.
  asio::awaitable<void> run();
  // Gives the lease back, and with it every key under it.
  asio::awaitable<Result<void>> release();
  // 0 while there is none.
  std::int64_t lease() const { return lease_; }
  // Before this time the store does not end the lease: a whole time to live after the last request
  // that it answered was sent.
  MonotonicTime kept_until() const { return kept_until_; }

 private:
  asio::awaitable<Result<void>> grant();

  LeaseKeeperOptions options_;
  Kv& kv_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  std::vector<std::function<void(std::int64_t)>> callbacks_;
  std::int64_t lease_ = 0;
  MonotonicTime kept_until_{};
};

}  // namespace tombolo
