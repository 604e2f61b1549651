// The pools of the cluster in its store, and what agents ask about pods to choose among them.
//
//   pool_objects (manifests), claims, plan --judge_pools--> tombolo/v1/pools/, reservations/
//   pod_infos ----------------while there are pools-------> tombolo/v1/podinfo/
//
// What was in force when an earlier controller ended is read first and stays in force while what is
// written is not good. Controller; control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "app/daemon/pool_judge.h"
#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/store/mirror.h"
#include "core/tables.h"
#include "ipamd/pools/pools.h"

namespace tombolo {

struct PoolKeeperOptions {
  // How long a pool gives out nothing before it goes: longer than an agent needs to hear of it.
  Duration leave_after = std::chrono::seconds(10);
  Duration check_interval = std::chrono::seconds(30);  // of the store's records
};

class PoolKeeper {
 public:
  // What is in use; nullopt while that is not known: nothing is decided then.
  using Uses = std::function<std::optional<std::vector<PoolUse>>()>;

  PoolKeeper(PoolKeeperOptions options, ControllerTables& tables, Uses uses,
             Table<ReconcileStatus>::Writer status, RoleContext context);
  ~PoolKeeper();
  void start(Settling& settling);
  // Judges again: it is known now what is in use.
  void reconsider();

  const Table<PoolObject>& pools() const { return pools_.table(); }  // in force
  const Table<PoolObject>& reservations() const { return reservations_.table(); }
  std::vector<PoolObject> in_force() const { return objects_of(pools(), reservations()); }
  using Tracker = Table<PoolObject>::Tracker;
  std::unique_ptr<Tracker> track_pools(std::function<void()> wake) {
    return pools_.track(std::move(wake));
  }
  std::unique_ptr<Tracker> track_reservations(std::function<void()> wake) {
    return reservations_.track(std::move(wake));
  }

 private:
  asio::awaitable<void> run();
  asio::awaitable<void> look_again();
  bool ready() const;
  void take_over();
  void judge();
  void tell(const PoolJudgement& judgement);
  void publish_pods();

  PoolKeeperOptions options_;
  ControllerTables& tables_;
  Uses uses_;
  Table<ReconcileStatus>::Writer status_;
  RoleContext context_;
  Signal changed_;
  bool due_ = true;
  bool took_over_ = false;  // what was in force before is in the published tables
  bool pods_published_ = false;
  std::string told_;
  std::map<std::string, MonotonicTime> leaving_since_;
  std::unique_ptr<Table<PoolObject>::Tracker> written_;
  std::unique_ptr<Table<PodInfo>::Tracker> infos_;
  std::unique_ptr<Table<PlanBlock>::Tracker> plan_;
  // Until the first judgement; later ones look at what is in use by themselves.
  std::unique_ptr<Table<AddressClaim>::Tracker> claims_;
  std::unique_ptr<Table<PoolBlock>::Tracker> blocks_;
  Table<PoolObject> stored_pools_;
  Table<PoolObject> stored_reservations_;
  std::unique_ptr<Table<PoolObject>::Tracker> stored_;
  std::unique_ptr<Table<PoolObject>::Tracker> stored_too_;
  KvMirror<PoolObject> pool_mirror_;
  KvMirror<PoolObject> reservation_mirror_;
  PublishedTable<PoolObject> pools_;
  PublishedTable<PoolObject> reservations_;
  PublishedTable<PodInfo> pods_;
};

}  // namespace tombolo
