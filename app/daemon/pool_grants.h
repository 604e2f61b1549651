// Pools that several clusters share: this cluster's half of the conversation about each. It reads
// the other clusters' ledgers and parts, and writes its own by transactions that compare; what to
// write, ipamd/grants decides.
//
//   own claims, own records, remote records --ipamd/grants--> tombolo/v1/claimparts/POOL
//                                            (home only)  --> tombolo/v1/poolgrants/POOL
//
// A controller that dies in the middle has written a record or has not; another one goes on.
// Controller; control thread.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/daemon/pool_judge.h"
#include "app/daemon/pool_records.h"
#include "app/daemon/published.h"

namespace tombolo {

class PoolGrants {
 public:
  struct Options {
    Duration tick = std::chrono::seconds(1);
    // In a store that is not the one its records were written in, nodes first claim back what they
    // hold (ClaimsOptions::settle).
    Duration settle = std::chrono::seconds(30);
    Duration follow_retry_cap = std::chrono::seconds(30);
  };
  using Pools = std::function<std::vector<SharedPool>()>;

  // How a pool stands, for people.
  struct Standing {
    std::optional<grants::GrantLedger> ledger;  // the home's, as last read
    std::optional<grants::PoolParts> parts;     // our own
    std::vector<std::string> problems;
  };

  // `claims` is this cluster's, by the mirror of its store. All outlive the tasks of the group.
  PoolGrants(Options options, std::string cluster, const Table<AddressClaim>& claims, Pools pools,
             Table<ReconcileStatus>::Writer status, RoleContext context);
  ~PoolGrants();
  void start();

  // The store of another cluster, read while there are shared pools. One of that name before makes
  // way.
  asio::awaitable<void> add_remote(std::string cluster, std::unique_ptr<Kv> store);
  asio::awaitable<void> remove_remote(std::string cluster);

  // An operator says that a cluster is gone for ever with all its pods: its parts, which are the
  // answer, are free. With `dry_run` they are only looked at. kFailedPrecondition: this is not the
  // pool's home, or the cluster is heard; kNotFound: it has none; kAborted: try again.
  asio::awaitable<Result<std::vector<Prefix>>> reclaim(std::string pool, std::string cluster,
                                                       bool dry_run);

  // Parts that are granted to other clusters: nobody else may have them, whatever is written.
  // nullopt while that is not known. `changed` is called when it is another answer than before.
  std::optional<std::vector<PoolUse>> granted_to_others() const { return granted_; }
  void on_granted(std::function<void()> changed) { granted_changed_ = std::move(changed); }

  // By pool.
  const std::map<std::string, Standing, std::less<>>& standing() const { return standing_; }

 private:
  class Remote;
  asio::awaitable<void> run();
  asio::awaitable<Result<std::vector<SharedPool>>> pools_now();
  asio::awaitable<Result<void>> read_ledgers(std::map<std::string, SharedPool>& left);
  asio::awaitable<Result<void>> read_parts(std::map<std::string, SharedPool>& left);
  asio::awaitable<Result<Standing>> step(SharedPool pool);
  asio::awaitable<Result<PoolUsage>> usage(SharedPool pool, PoolRecords::Own own,
                                           std::optional<grants::PoolParts> before);
  asio::awaitable<Result<Standing>> step_home(SharedPool pool, PoolUsage used, Standing standing);
  asio::awaitable<Result<void>> drop_ledger(std::string pool, std::vector<std::string>& problems);
  grants::HomeFacts home_facts(const SharedPool& pool, const Standing& standing) const;
  void forget_standing(const std::vector<SharedPool>& pools);
  void tell(const std::string& pool, const std::string& text);
  void report(const std::string& pool);
  std::int64_t number() { return static_cast<std::int64_t>(context_.rng.next() >> 2U) + 1; }

  Options options_;
  std::string cluster_;
  const Table<AddressClaim>& claims_;
  Pools pools_;
  Table<ReconcileStatus>::Writer status_;
  RoleContext context_;
  PoolRecords records_;
  std::map<std::string, std::unique_ptr<Remote>, std::less<>> remotes_;
  std::list<std::unique_ptr<Remote>> leaving_;  // whose tasks are ending
  std::optional<std::vector<PoolUse>> granted_;
  std::function<void()> granted_changed_;
  std::map<std::string, Standing, std::less<>> standing_;
  std::map<std::string, std::string> told_;
  std::uint64_t store_id_ = 0;
  MonotonicTime store_since_{};
};

}  // namespace tombolo
