// The leases of the embedded store: who is alive until when, and which keys hang on whom. Times to
// live start anew when the store starts, as etcd does when its leader changes. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"

namespace tombolo {

class LeaseTable {
 public:
  struct Lease {
    std::int64_t ttl_s = 0;
    MonotonicTime deadline{};
    std::set<std::string> keys;
  };

  bool contains(std::int64_t id) const { return leases_.contains(id); }
  const Lease* find(std::int64_t id) const {
    auto at = leases_.find(id);
    return at == leases_.end() ? nullptr : &at->second;
  }
  const std::map<std::int64_t, Lease>& all() const { return leases_; }

  void grant(std::int64_t id, std::int64_t ttl_s, MonotonicTime now) {
    Lease& lease = leases_[id];
    lease.ttl_s = ttl_s;
    set_deadline(id, lease, now);
  }
  // The time to live, 0 when there is no such lease.
  std::int64_t refresh(std::int64_t id, MonotonicTime now) {
    auto at = leases_.find(id);
    if (at == leases_.end()) return 0;
    deadlines_.erase({at->second.deadline, id});
    set_deadline(id, at->second, now);
    return at->second.ttl_s;
  }
  void erase(std::int64_t id) {
    auto at = leases_.find(id);
    if (at == leases_.end()) return;
    deadlines_.erase({at->second.deadline, id});
    leases_.erase(at);
  }
  void attach(std::int64_t id, const std::string& key) {
    if (auto at = leases_.find(id); at != leases_.end()) at->second.keys.insert(key);
  }
  void detach(std::int64_t id, const std::string& key) {
    if (auto at = leases_.find(id); at != leases_.end()) at->second.keys.erase(key);
  }
  void clear() {
    leases_.clear();
    deadlines_.clear();
  }

  // At most `limit` leases whose time is over.
  std::vector<std::int64_t> expired(MonotonicTime now, std::size_t limit) const {
    std::vector<std::int64_t> ids;
    for (const auto& [deadline, id] : deadlines_) {
      if (deadline > now || ids.size() >= limit) break;
      ids.push_back(id);
    }
    return ids;
  }
  std::optional<MonotonicTime> next_deadline() const {
    if (deadlines_.empty()) return std::nullopt;
    return deadlines_.begin()->first;
  }

 private:
  void set_deadline(std::int64_t id, Lease& lease, MonotonicTime now) {
    // The longest time to live that etcd takes is 285 years: more than the clock can count.
    std::int64_t ttl_s = std::min<std::int64_t>(lease.ttl_s, 4'000'000'000);
    lease.deadline = now + std::chrono::seconds(ttl_s);
    deadlines_.insert({lease.deadline, id});
  }
  std::map<std::int64_t, Lease> leases_;
  std::set<std::pair<MonotonicTime, std::int64_t>> deadlines_;
};

}  // namespace tombolo
