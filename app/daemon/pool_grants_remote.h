// What another cluster says about shared pools: the last that was heard of each record. It may be
// old, and it stays when the cluster is away: ipamd/grants lives with that. Control thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "app/daemon/pool_grants.h"
#include "core/store/follow.h"

namespace tombolo {

class PoolGrants::Remote final {
 public:
  Remote(std::string cluster, std::unique_ptr<Kv> store, Duration retry_cap, RoleContext context);
  // Once.
  void start();
  bool started() const { return started_; }
  // Ends its tasks. Before the destructor.
  asio::awaitable<void> stop();

  // Its store answers.
  bool is_heard(MonotonicTime now) const {
    return ledger_follower_.watching() && now - ledger_follower_.last_heard() < kHeardLately;
  }
  const std::map<std::string, grants::GrantLedger>& ledgers() const { return ledgers_.rows; }
  const std::map<std::string, grants::PoolParts>& parts() const { return parts_.rows; }

 private:
  static constexpr Duration kHeardLately = std::chrono::seconds(5);
  static constexpr std::size_t kMostPools = 1000;

  // By pool. A key that goes leaves what it said when `remembers`: an old version is as good as any
  // of what a grantee had; a ledger that is erased has nobody's parts in it.
  template <class Row>
  struct Heard final : FollowHandler {
    using Decode = Result<Row> (*)(const KeyValue&);
    Heard(Decode how, std::string_view below, bool remembered, Logger to)
        : decode(how), prefix(below), remembers(remembered), log(std::move(to)) {}
    void on_put(const KeyValue& kv) override {
      Result<Row> row = decode(kv);
      if (!row)
        log.warning("refused {}: {}", kv.key, row.error().what);
      else if (rows.size() < kMostPools || rows.contains(row->pool))
        rows.insert_or_assign(row->pool, std::move(*row));
      else
        log.warning("refused {}: {} pools are the limit", kv.key, kMostPools);
    }
    void on_delete(const std::string& key) override {
      if (!remembers) rows.erase(key.substr(prefix.size()));
    }
    void on_listed(const std::set<std::string>& keys) override {
      if (remembers) return;
      std::erase_if(rows, [&](const auto& entry) {
        return !keys.contains(fmt::format("{}{}", prefix, entry.first));
      });
    }
    Decode decode;
    std::string_view prefix;
    bool remembers;
    Logger log;
    std::map<std::string, Row> rows;
  };

  std::unique_ptr<Kv> store_;
  TaskGroup tasks_;
  Heard<grants::GrantLedger> ledgers_;
  Heard<grants::PoolParts> parts_;
  PrefixFollower ledger_follower_;
  PrefixFollower parts_follower_;
  bool started_ = false;
};

}  // namespace tombolo
