// What a controller reads and writes of shared pools in its own store: records that are compared,
// and the claims of a pool by part. Controller; control thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
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

// What is used of a pool, by its parts: those that it is cut into, and those that this cluster has.
struct PoolUsage {
  std::set<Prefix> busy;                  // an address is in use, kept, or must rest
  std::map<Prefix, std::size_t> by_part;  // how many are in use or kept
  std::set<Prefix> pinned;                // one is fixed for somebody
  std::size_t in_use = 0;                 // of the pool
  void note(const SharedPool& pool, const std::vector<grants::Part>& parts,
            const AddressClaim& claim, std::int64_t now_unix_ms);
};

class PoolRecords {
 public:
  struct Own {
    std::int64_t revision = 0;  // of the record; 0: there is none
    std::uint64_t store_id = 0;
    std::optional<KeyValue> pair;
  };

  PoolRecords(Kv& kv, Clock& clock) : kv_(kv), clock_(clock) {}
  asio::awaitable<Result<Own>> read(std::string key);
  // False: it is not of that revision any more, and nothing was written. No value: it is erased.
  asio::awaitable<Result<bool>> write(std::string key, std::int64_t revision,
                                      std::optional<std::string> value);
  // A claim that cannot be read is somebody's.
  asio::awaitable<Result<PoolUsage>> usage(SharedPool pool, std::vector<grants::Part> parts);
  PoolUsage usage_as_heard(const Table<AddressClaim>& claims, const SharedPool& pool,
                           const std::vector<grants::Part>& parts) const;

 private:
  Kv& kv_;
  Clock& clock_;
};

}  // namespace tombolo
