// What the controller writes into its cluster's store: frontends, policies and workloads for the
// own agents; services, exports, configuration, canaries and the heartbeat for other clusters.
// Reconcilers at the end of the flow; control thread.
//
// What other clusters read is under one lease, as with Cilium: when nobody has kept it for its time
// to live (15 minutes), readers see it go. What the own agents need is under none.
#pragma once

#include "core/store/lease_keeper.h"
#include "core/store/publisher.h"
#include "servicesync/controller/rows.h"

namespace tombolo::controller {

struct AnnouncerOptions {
  cilium::Origin origin;  // this cluster
  std::chrono::seconds lease_ttl{900};
  Duration heartbeat = std::chrono::seconds(60);
  Duration canary_check = std::chrono::milliseconds(100);
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
};

class Announcer {
 public:
  Announcer(AnnouncerOptions options, Kv& kv, ControllerTables& tables, InnerTables& inner,
            Table<StoreRecord>::Writer configs, Table<StoreRecord>::Writer canaries,
            Table<ReconcileStatus>::Writer status, TaskGroup& tasks, Clock& clock, Rng& rng,
            Logger log);
  ~Announcer();
  void start();
  std::vector<const ReconcilerView*> reconcilers() const;

 private:
  template <class Row>
  struct Channel;
  asio::awaitable<void> beat();
  asio::awaitable<void> raise_canaries();
  std::unique_ptr<Channel<StoreRecord>> channel(const std::string& name, std::string prefix,
                                                bool leased, Table<StoreRecord>& table);

  AnnouncerOptions options_;
  Kv& kv_;
  InnerTables& inner_;
  Table<StoreRecord>::Writer configs_;
  Table<StoreRecord>::Writer canaries_;
  Table<ReconcileStatus>::Writer status_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  LeaseKeeper lease_;
  std::unique_ptr<Channel<Frontend>> frontends_;
  std::unique_ptr<Channel<Policy>> policies_;
  std::unique_ptr<Channel<StoreRecord>> workloads_;
  std::unique_ptr<Channel<StoreRecord>> services_;
  std::unique_ptr<Channel<StoreRecord>> exports_;
  std::unique_ptr<Channel<StoreRecord>> config_keys_;
  std::unique_ptr<Channel<StoreRecord>> canary_keys_;
};

}  // namespace tombolo::controller
