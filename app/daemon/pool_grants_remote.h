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

  const std::map<std::string, grants::GrantLedger>& ledgers() const { return ledgers_.rows; }
  const std::map<std::string, grants::PoolParts>& parts() const { return parts_.rows; }

 private:
  template <class Row>
  struct Heard final : FollowHandler {
    using Decode = Result<Row> (*)(const KeyValue&);
    Heard(Decode how, Logger to) : decode(how), log(std::move(to)) {}
    void on_put(const KeyValue& kv) override {
      Result<Row> row = decode(kv);
      if (row)
        rows.insert_or_assign(row->pool, std::move(*row));
      else
        log.warning("refused {}: {}", kv.key, row.error().what);
    }
    // What was there once is as good as any old version.
    void on_delete(const std::string&) override {}
    void on_listed(const std::set<std::string>&) override {}
    Decode decode;
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
