// Grants over pools.
#include "ipamd/allocator/allocator.h"

#include <algorithm>

namespace tombolo {

Result<void> Allocator::set_blocks(std::string_view pool, const std::vector<Prefix>& blocks) {
  return pools_[std::string(pool)].set_blocks(blocks);
}

const AddressPool* Allocator::pool(std::string_view name) const {
  auto at = pools_.find(name);
  return at == pools_.end() ? nullptr : &at->second;
}

Result<Grant> Allocator::allocate(const std::string& owner, std::string_view pool_name,
                                  const std::vector<Family>& families) {
  if (grants_.contains(owner))
    return fail(Code::kAlreadyExists, "{} holds addresses already", owner);
  auto at = pools_.find(pool_name);
  if (at == pools_.end() || (!at->second.has(Family::kV4) && !at->second.has(Family::kV6)))
    return fail(Code::kFailedPrecondition, "the pool {} has no block of addresses yet", pool_name);
  AddressPool& pool = at->second;
  Grant grant{0, at->first, {}};
  for (Family family : {Family::kV4, Family::kV6}) {
    bool wanted = families.empty() ? pool.has(family) : std::ranges::count(families, family) > 0;
    if (!wanted) continue;
    auto ip = pool.has(family) ? pool.take(family)
                               : fail(Code::kFailedPrecondition, "no block of {} addresses yet",
                                      to_string(family));
    if (!ip) {
      // All or nothing. What goes back goes to the end of the queue: it was never answered, but
      // that costs no more than its turn.
      for (Ip taken : grant.ips) pool.give_back(taken);
      return std::unexpected(std::move(ip).error().with_context(fmt::format("pool {}", pool_name)));
    }
    grant.ips.push_back(*ip);
  }
  grant.sequence = ++last_sequence_;
  grants_.emplace(owner, grant);
  return grant;
}

Result<Grant> Allocator::release(const std::string& owner, std::uint64_t sequence) {
  auto at = grants_.find(owner);
  if (at == grants_.end()) return fail(Code::kNotFound, "{} holds no addresses", owner);
  if (at->second.sequence != sequence)
    return fail(Code::kAborted, "{} holds lease {} by now, not {}", owner, at->second.sequence,
                sequence);
  Grant grant = std::move(at->second);
  grants_.erase(at);
  for (Ip ip : grant.ips) pools_[grant.pool].give_back(ip);
  return grant;
}

const Grant* Allocator::find(const std::string& owner) const {
  auto at = grants_.find(owner);
  return at == grants_.end() ? nullptr : &at->second;
}

Result<void> Allocator::restore(const std::string& owner, Grant grant) {
  if (grants_.contains(owner))
    return fail(Code::kAlreadyExists, "{} holds addresses already", owner);
  AddressPool& pool = pools_[grant.pool];
  for (std::size_t i = 0; i < grant.ips.size(); ++i) {
    auto restored = pool.restore_in_use(grant.ips[i]);
    if (restored) continue;
    for (std::size_t j = 0; j < i; ++j) pool.give_back(grant.ips[j]);
    return restored;
  }
  last_sequence_ = std::max(last_sequence_, grant.sequence);
  grants_.emplace(owner, std::move(grant));
  return {};
}

void Allocator::restore_freed(std::string_view pool, Ip ip) {
  pools_[std::string(pool)].restore_freed(ip);
}

void Allocator::restore_sequence(std::uint64_t last) {
  last_sequence_ = std::max(last_sequence_, last);
}

}  // namespace tombolo
