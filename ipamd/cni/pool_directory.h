// What an ADD has to know to choose pools: the pools in force, and the pod.
//
//   pools, reservations (mirrors of the store) -> catalog
//   store: tombolo/v1/podinfo/ --one read per ADD, while there are pools--> PodInfo
//
// Control thread.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "core/kv.h"
#include "core/log.h"
#include "core/table.h"
#include "core/tables.h"
#include "ipamd/pools/pools.h"

namespace tombolo {

class PoolDirectory {
 public:
  // `known`: the tables have been read, in this life or an earlier one.
  PoolDirectory(Table<PoolObject>& pools, Table<PoolObject>& reservations,
                std::function<bool()> known, Kv& kv, Logger log);

  bool known() const { return known_(); }

  // The last one that was good. Rows that make none (they come one by one) leave it as it is.
  const PoolCatalog& catalog();
  // Another number for every catalog; 0 before the first.
  std::uint64_t generation() const { return generation_; }
  // One that is for pods. Those for services are none of their business.
  bool any() {
    return std::ranges::any_of(catalog().pools(),
                               [](const IpPool& pool) { return !pool.load_balancer; });
  }
  // Why the rows make no catalog; empty: they do.
  const std::string& trouble() const { return trouble_; }

  // What is known of the pod: of itself, else of the controller with the longest name whose pods
  // have names like this. kNotFound: nothing (yet); kUnavailable: the store is away, which it tells
  // after the request's own time limit. One transaction.
  asio::awaitable<Result<PodInfo>> find_pod(std::string name_space, std::string pod_name);

 private:
  void take();

  Table<PoolObject>& pools_;
  Table<PoolObject>& reservations_;
  std::function<bool()> known_;
  Kv& kv_;
  Logger log_;
  std::unique_ptr<Table<PoolObject>::Tracker> pool_tracker_;
  std::unique_ptr<Table<PoolObject>::Tracker> reservation_tracker_;
  PoolCatalog catalog_;
  std::string trouble_;
  std::uint64_t generation_ = 0;
};

}  // namespace tombolo
