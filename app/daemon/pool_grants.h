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
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/daemon/published.h"
#include "core/kv.h"
#include "core/tables.h"
#include "ipamd/grants/grants.h"
#include "ipamd/pools/pools.h"

namespace tombolo {

struct SharedPool {
  std::string name;
  PoolSharing sharing;
  std::vector<std::pair<Ip, Ip>> addresses;  // first and last of each range that is given out
  std::int64_t rest_ms = 0;                  // of a freed address before its part is given back
  bool leaving = false;                      // gives out nothing any more
};

// Those of the objects in force that are shared. Empty when they cannot be read: what is in force
// was judged before.
std::vector<SharedPool> shared_pools(const std::vector<PoolObject>& objects);

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

  // An operator says that a cluster is gone for ever with all its pods: its parts are free.
  // kFailedPrecondition: this is not the pool's home; kNotFound: it has none; kAborted: try again.
  asio::awaitable<Result<void>> reclaim(std::string pool, std::string cluster);

  // By pool.
  const std::map<std::string, Standing, std::less<>>& standing() const { return standing_; }

 private:
  class Remote;
  struct Own {
    std::int64_t revision = 0;  // of the record; 0: there is none
    std::uint64_t store_id = 0;
    std::optional<KeyValue> pair;
  };
  struct Used {
    std::set<Prefix> busy;
    std::size_t in_use = 0;
  };
  asio::awaitable<void> run();
  asio::awaitable<std::vector<SharedPool>> pools_now();
  asio::awaitable<Result<void>> step(SharedPool pool);
  asio::awaitable<Result<void>> step_home(SharedPool pool, std::set<Prefix> busy);
  asio::awaitable<Result<Own>> read(std::string key);
  asio::awaitable<Result<bool>> write(std::string key, std::int64_t revision, std::string value);
  asio::awaitable<Result<Used>> claims_in_store(SharedPool pool, std::vector<grants::Part> parts);
  Used claims_as_heard(const SharedPool& pool, const std::vector<grants::Part>& parts) const;
  void note(Used& used, const SharedPool& pool, const std::vector<grants::Part>& parts,
            const AddressClaim& claim) const;
  void report(const std::string& pool);
  std::int64_t number() { return static_cast<std::int64_t>(context_.rng.next() >> 2U) + 1; }

  Options options_;
  std::string cluster_;
  const Table<AddressClaim>& claims_;
  Pools pools_;
  Table<ReconcileStatus>::Writer status_;
  RoleContext context_;
  std::map<std::string, std::unique_ptr<Remote>, std::less<>> remotes_;
  std::map<std::string, Standing, std::less<>> standing_;
  std::map<std::string, std::string> told_;
  std::uint64_t store_id_ = 0;
  MonotonicTime store_since_{};
};

}  // namespace tombolo
