// All pools and reservations of a cluster, checked against each other.
#include <algorithm>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostObjects = 10'000;

// Sorted by name; kInvalidArgument when two have one name.
template <class Object>
Result<void> sort_by_name(std::vector<Object>& objects, std::string_view what) {
  if (objects.size() > kMostObjects)
    return fail(Code::kInvalidArgument, "{} {}s; the limit is {}", objects.size(), what,
                kMostObjects);
  std::ranges::sort(objects, [](const Object& a, const Object& b) {
    return std::tie(a.name, a.place) < std::tie(b.name, b.place);
  });
  auto twin = std::ranges::adjacent_find(objects, {}, &Object::name);
  if (twin == objects.end()) return {};
  return fail(Code::kInvalidArgument, "{}: the {} '{}' stands twice (also at {})",
              std::next(twin)->place, what, twin->name, twin->place);
}

}  // namespace

std::string_view to_string(PoolKind kind) {
  return kind == PoolKind::kOverlay ? "overlay" : "underlay";
}

Result<PoolCatalog> PoolCatalog::make(std::vector<IpPool> pools,
                                      std::vector<IpReservation> reservations) {
  TRY_OK(sort_by_name(pools, "pool"));
  TRY_OK(sort_by_name(reservations, "reservation"));
  PoolCatalog catalog;
  catalog.pools_ = std::move(pools);
  catalog.reservations_ = std::move(reservations);
  struct Owned {
    IpRange range;
    const IpPool* pool;
  };
  std::vector<Owned> all;
  for (const IpPool& pool : catalog.pools_)
    for (const IpRange& range : catalog.usable(pool)) all.push_back({range, &pool});
  std::ranges::sort(all, {}, &Owned::range);
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i - 1].range.contains(all[i].range.first))
      return fail(Code::kInvalidArgument, "{}: the pools '{}' and '{}' would both give out {}",
                  all[i].pool->place, all[i - 1].pool->name, all[i].pool->name,
                  all[i].range.first.str());
  return catalog;
}

const IpPool* PoolCatalog::find(std::string_view name) const {
  auto at = std::ranges::lower_bound(pools_, name, {}, &IpPool::name);
  return at != pools_.end() && at->name == name ? &*at : nullptr;
}

std::vector<IpRange> PoolCatalog::usable(const IpPool& pool) const {
  std::vector<IpRange> without = pool.excluded;
  if (pool.gateway) without.push_back({*pool.gateway, *pool.gateway});
  IpRange inside = usable_range(pool.subnet);
  for (Ip edge : {pool.subnet.first(), pool.subnet.last()})
    if (!inside.contains(edge)) without.push_back({edge, edge});
  for (const IpReservation& reservation : reservations_)
    without.insert(without.end(), reservation.ranges.begin(), reservation.ranges.end());
  std::vector<IpRange> from = pool.ranges;
  if (from.empty()) from.push_back(inside);
  return subtract(std::move(from), std::move(without));
}

}  // namespace tombolo
