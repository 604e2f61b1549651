// Pools that are for services of type LoadBalancer (IPPool's allowedUses), between the pools in
// force and the allocator of service addresses: what it may give beside the plan's ranges, and what
// of them is in use, so that no pool leaves while a service has an address of it.
//
//   pools in force -> spans() -> ControllerSync -> addresses in the store -> uses() -> PoolKeeper
//
// Controller; control thread.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "app/daemon/pool_keeper.h"
#include "ipamd/pools/pools.h"
#include "servicesync/controller/controller_sync.h"

namespace tombolo {

// The pools among `objects` that services may have addresses of. Empty when one cannot be read:
// what is in force was judged before.
std::vector<IpPool> pools_for_services(const std::vector<PoolObject>& objects);
// What is in use of them, one address each.
std::vector<PoolUse> uses_by_services(const std::vector<IpPool>& pools, const std::vector<Ip>& ips);

class LoadBalancerPools {
 public:
  using Spans = std::vector<std::pair<Ip, Ip>>;  // first and last

  // All of them outlive the tasks of the group.
  LoadBalancerPools(PoolKeeper& pools, RoleContext context);
  // Until the group is cancelled. `sync` asks spans().
  asio::awaitable<void> run(controller::ControllerSync& sync);

  const Spans& spans() const { return spans_; }
  // Nullopt while it is not known which addresses services have.
  std::optional<std::vector<PoolUse>> uses(const controller::ControllerSync& sync) const;

 private:
  void read();

  PoolKeeper& keeper_;
  RoleContext context_;
  Signal changed_;
  std::unique_ptr<Table<PoolObject>::Tracker> pools_tracker_;
  std::unique_ptr<Table<PoolObject>::Tracker> reservations_tracker_;
  std::vector<IpPool> pools_;
  Spans spans_;
};

}  // namespace tombolo
