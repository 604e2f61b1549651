// Which pools services have addresses of, and the loop that hands them on.
#include "app/daemon/load_balancer_pools.h"

#include <algorithm>

namespace tombolo {
namespace {

// How often it is looked whether the addresses of services have been listed.
constexpr Duration kLookAgain = std::chrono::milliseconds(100);

}  // namespace

std::vector<IpPool> pools_for_services(const std::vector<PoolObject>& objects) {
  std::vector<IpPool> pools;
  auto catalog = catalog_of(objects);
  if (!catalog) return pools;
  for (const IpPool& pool : catalog->pools()) {
    if (!pool.load_balancer) continue;
    pools.push_back(pool);
    pools.back().ranges = catalog->usable(pool);
  }
  return pools;
}

std::vector<PoolUse> uses_by_services(const std::vector<IpPool>& pools,
                                      const std::vector<Ip>& ips) {
  std::vector<PoolUse> uses;
  for (const Ip& ip : ips) {
    auto pool =
        std::ranges::find_if(pools, [&](const IpPool& one) { return one.subnet.contains(ip); });
    uses.push_back({pool == pools.end() ? "" : pool->name, Prefix::host(ip)});
  }
  return uses;
}

LoadBalancerPools::LoadBalancerPools(PoolKeeper& pools, RoleContext context)
    : keeper_(pools),
      context_(context),
      changed_(context.tasks.executor()),
      pools_tracker_(pools.track_pools([this] { changed_.notify_all(); })),
      reservations_tracker_(pools.track_reservations([this] { changed_.notify_all(); })) {}

void LoadBalancerPools::read() {
  pools_ = pools_for_services(keeper_.in_force());
  spans_.clear();
  for (const IpPool& pool : pools_) {
    if (pool.disabled) continue;
    for (const IpRange& range : pool.ranges) spans_.emplace_back(range.first, range.last);
  }
}

asio::awaitable<void> LoadBalancerPools::run(controller::ControllerSync& sync) {
  // The keeper decides nothing before it knows what services have.
  while (!sync.load_balancer_ips())
    if (auto slept = co_await context_.clock.sleep_for(kLookAgain); !slept) co_return;
  keeper_.reconsider();
  while (!context_.tasks.cancelled()) {
    pools_tracker_->take();
    reservations_tracker_->take();
    read();
    sync.load_balancer_spans_changed();
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

std::optional<std::vector<PoolUse>> LoadBalancerPools::uses(
    const controller::ControllerSync& sync) const {
  auto ips = sync.load_balancer_ips();
  if (!ips) return std::nullopt;
  return uses_by_services(pools_, *ips);
}

}  // namespace tombolo
