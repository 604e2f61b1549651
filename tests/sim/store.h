// The store of one cluster as the fleet sees it: a MemoryStore (etcd's semantics, held to the real
// engines by core/store's suites) behind a simulated network. Requests take time, may be lost on
// the way there or back, and are applied when they arrive; watches deliver late, in pieces, each
// at its own pace; leases expire in virtual time; the disk may be full; a backup may be put back.
//
//   process -> SimKv -> Wire -> SimStore -> Wire -> process
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "core/store/memory_kv.h"
#include "tests/sim/mistakes.h"
#include "tests/sim/world.h"

namespace tombolo::sim {

// What lies between two machines. One per pair, shared by all connections between them.
struct Wire {
  bool there = true;      // requests arrive
  bool back = true;       // answers and events arrive
  bool isolated = false;  // one of its ends is cut off; heals with that end, not with the wire
  double loss = 0;        // of single messages; TCP makes it delay, a broken connection an error
  Duration delay = 500us;
  Duration healthy_delay = 500us;
  Duration quiet_since{};    // nothing is wrong with it from then on
  std::uint64_t breaks = 0;  // rises when connections are reset
  bool up() const { return reaches() && answers(); }
  bool reaches() const { return there && !isolated; }
  bool answers() const { return back && !isolated; }
  void set_delay(Duration of_messages) { delay = healthy_delay = of_messages; }
  void heal() {
    there = back = true;
    loss = 0;
    delay = healthy_delay;
  }
};

class SimWatch;

// What no reader can read.
inline constexpr std::string_view kBroken = "{\"broken";

class SimStore {
 public:
  SimStore(World& world, Lane& lane, std::string name, std::uint64_t cluster_id);

  MemoryStore& memory() { return memory_; }
  World& world() { return world_; }
  const std::string& name() const { return name_; }

  // Faults.
  bool disk_full = false;
  bool lose_writes = false;  // a mistake: says it wrote, and did not
  bool down = false;         // the process that serves it does not run
  void restart();            // every connection breaks
  void save_backup();
  bool has_backup() const { return backup_.has_value(); }
  void restore_backup();
  void compact();
  // Something else writes to it, past everybody who knows how.
  void write_past(const std::string& key, const std::string& value, std::int64_t lease);

  // For SimKv.
  Result<TxnResult> txn(const TxnRequest& request);
  Result<std::int64_t> lease_grant(std::chrono::seconds ttl);
  Result<void> lease_keep_alive(std::int64_t lease);
  Result<void> lease_revoke(std::int64_t lease);
  void add_watch(const std::shared_ptr<SimWatch>& watch) { watches_.push_back(watch); }
  std::uint64_t epoch() const { return epoch_; }

 private:
  struct Lease {
    std::chrono::seconds ttl;
    Duration deadline;
  };
  void look_at_lease(std::int64_t lease);
  void tell_watches();

  World& world_;
  std::string name_;
  MemoryStore memory_;
  std::map<std::int64_t, Lease> leases_;
  std::optional<MemoryStore::Backup> backup_;
  std::uint64_t next_cluster_id_;
  std::uint64_t epoch_ = 0;  // rises when connections to it break
  std::list<std::weak_ptr<SimWatch>> watches_;
};

// One client's connection. `alive` of its process: a dead process's requests go nowhere.
class SimKv final : public Kv {
 public:
  SimKv(SimStore& store, Wire& wire, std::shared_ptr<const bool> alive)
      : store_(store), wire_(wire), alive_(std::move(alive)) {}

  asio::awaitable<Result<RangeResult>> range(RangeRequest request) override;
  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override;
  asio::awaitable<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override;
  asio::awaitable<Result<std::int64_t>> lease_grant(std::chrono::seconds ttl) override;
  asio::awaitable<Result<void>> lease_keep_alive(std::int64_t lease) override;
  asio::awaitable<Result<void>> lease_revoke(std::int64_t lease) override;

  Mistake mistake = Mistake::kNone;

 private:
  template <class T>
  asio::awaitable<Result<T>> call(std::function<Result<T>()> serve);

  SimStore& store_;
  Wire& wire_;
  std::shared_ptr<const bool> alive_;
  int lists_ = 0;
};

}  // namespace tombolo::sim
