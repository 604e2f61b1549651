// Transactions over pools.
#include "ipamd/allocator/allocator.h"

#include <algorithm>
#include <boost/algorithm/string/join.hpp>

namespace tombolo {
namespace {

Result<Ip> take_exact(AddressPool& pool, Ip ip) {
  TRY_OK(pool.take_exact(ip));
  return ip;
}

}  // namespace

AddressPool& Allocator::pool_named(std::string_view name) {
  auto at = pools_.find(name);
  return at == pools_.end() ? pools_[std::string(name)] : at->second;
}

Result<void> Allocator::set_blocks(std::string_view pool, const std::vector<Prefix>& blocks) {
  return pool_named(pool).set_blocks(blocks);
}

Result<void> Allocator::set_ranges(std::string_view pool, std::vector<IpRange> ranges) {
  return pool_named(pool).set_ranges(std::move(ranges));
}

void Allocator::set_rest(std::string_view pool, Rest rest) {
  pool_named(pool).set_rest(rest);
}

const AddressPool* Allocator::pool(std::string_view name) const {
  auto at = pools_.find(name);
  return at == pools_.end() ? nullptr : &at->second;
}

Result<std::vector<AddressWish>> Allocator::wishes(std::string_view pool_name,
                                                   const std::vector<Family>& families) const {
  const AddressPool* found = pool(pool_name);
  if (found == nullptr || (!found->has(Family::kV4) && !found->has(Family::kV6)))
    return fail(Code::kFailedPrecondition, "the pool {} has no block of addresses yet", pool_name);
  std::vector<AddressWish> result;
  for (Family family : {Family::kV4, Family::kV6}) {
    bool wanted = families.empty() ? found->has(family) : std::ranges::count(families, family) > 0;
    if (wanted) result.push_back({family, {std::string(pool_name)}, std::nullopt});
  }
  return result;
}

Result<PooledIp> Allocator::take_one(const AddressWish& wish, std::int64_t now_ms) {
  using Patience = AddressPool::Patience;
  // The error that is told is that of the first pool: the one that was wanted most.
  std::optional<Error> why;
  bool several = wish.pools.size() > 1;
  for (Patience patience : {Patience::kRested, Patience::kNone}) {
    if (patience == Patience::kRested && (!several || wish.exact)) continue;
    for (const std::string& name : wish.pools) {
      auto at = pools_.find(name);
      if (at == pools_.end() || !at->second.has(wish.family)) continue;
      Result<Ip> ip = wish.exact ? take_exact(at->second, *wish.exact)
                                 : at->second.take(wish.family, now_ms, patience);
      if (ip) return PooledIp{name, *ip};
      if (patience == Patience::kNone && !why)
        why = std::move(ip).error().with_context(fmt::format("pool {}", name));
    }
  }
  if (why) return std::unexpected(std::move(*why));
  return fail(Code::kFailedPrecondition, "pool {}: no block of {} addresses yet",
              boost::join(wish.pools, ", "), to_string(wish.family));
}

Result<std::vector<PooledIp>> Allocator::take(std::span<const AddressWish> wishes,
                                              std::int64_t now_ms) {
  std::vector<PooledIp> taken;
  taken.reserve(wishes.size());
  for (const AddressWish& wish : wishes) {
    auto one = take_one(wish, now_ms);
    if (!one) {
      // All or nothing. What goes back goes to the end of the queue: it was never answered, but
      // that costs no more than its turn.
      give_back(taken, now_ms);
      return std::unexpected(std::move(one).error());
    }
    taken.push_back(std::move(*one));
  }
  return taken;
}

void Allocator::give_back(std::span<const PooledIp> addresses, std::int64_t now_ms) {
  for (const PooledIp& address : addresses) pool_named(address.pool).give_back(address.ip, now_ms);
}

Result<void> Allocator::restore(std::span<const PooledIp> addresses) {
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    auto restored = pool_named(addresses[i].pool).restore_in_use(addresses[i].ip);
    if (restored) continue;
    give_back(addresses.first(i));
    return restored;
  }
  return {};
}

void Allocator::restore_freed(std::string_view pool, Ip ip, std::int64_t released_ms) {
  pool_named(pool).restore_freed(ip, released_ms);
}

void Allocator::restore_sequence(std::uint64_t last) {
  last_sequence_ = std::max(last_sequence_, last);
}

}  // namespace tombolo
