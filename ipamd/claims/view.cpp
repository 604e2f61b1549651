// Records by address, by identity and (on this node) by holder, and what they mean to the order in
// which addresses are chosen.
#include <algorithm>

#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

// The address that a key of a claim names; nothing when it is no such key.
std::optional<PooledIp> address_of(std::string_view key) {
  if (!key.starts_with(records::kClaimsPrefix)) return std::nullopt;
  key.remove_prefix(records::kClaimsPrefix.size());
  std::size_t slash = key.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  Result<Ip> ip = Ip::parse(key.substr(slash + 1));
  if (!ip) return std::nullopt;
  return PooledIp{std::string(key.substr(0, slash)), *ip};
}

}  // namespace

Result<void> ClaimView::set_pools(std::vector<ClaimPool> pools) {
  std::map<std::string, PoolOrder> orders;
  for (const ClaimPool& pool : pools) {
    if (pool.block_length != 0) continue;
    auto [at, is_new] = orders.try_emplace(pool.name);
    if (!is_new) return fail(Code::kInvalidArgument, "pool {} is there twice", pool.name);
    if (auto set = at->second.set_ranges(pool.ranges); !set)
      return std::unexpected(std::move(set).error().with_context("pool " + pool.name));
  }
  for (auto& [name, pool] : pools_) pool.order.reset();
  for (ClaimPool& pool : pools) {
    if (pool.block_length != 0) continue;
    Pool& at = pools_[pool.name];
    at.order = std::move(orders[pool.name]);
    at.ranges = std::move(pool.ranges);
    at.rest = pool.rest;
    at.granted = pool.granted;
    reorder(pool.name);
  }
  std::erase_if(pools_, [](const auto& entry) {
    return !entry.second.order && entry.second.records.empty() && entry.second.pending.empty();
  });
  return {};
}

std::vector<IpRange> held_ranges(const grants::PoolParts& parts,
                                 const std::vector<IpRange>& ranges) {
  std::vector<IpRange> held;
  for (const grants::Part& part : parts.parts)
    for (const IpRange& range : ranges) {
      IpRange common{std::max(range.first, part.range.first()),
                     std::min(range.last, part.range.last())};
      if (part.state == grants::PartState::kHeld && common.first <= common.last)
        held.push_back(common);
    }
  return held;
}

// Of a pool that several clusters share: what is in the parts that this one has, in this store.
std::vector<IpRange> ClaimView::ranges_of(const std::string& name, const Pool& pool) const {
  if (!pool.granted) return pool.ranges;
  auto seen = parts_.find(name);
  if (seen == parts_.end() || !seen->second.parts || seen->second.parts->store_id != store_id_)
    return {};
  return held_ranges(*seen->second.parts, pool.ranges);
}

void ClaimView::reorder(const std::string& name) {
  auto at = pools_.find(name);
  if (at == pools_.end() || !at->second.order) return;
  Pool& pool = at->second;
  // Parts that overlap allow nothing.
  if (!pool.order->set_ranges(ranges_of(name, pool))) {
    auto none = pool.order->set_ranges({});
    ENSURE(none.has_value(), "no range is always good");
  }
  pool.order->set_rest(pool.rest);
  for (const auto& [ip, record] : pool.records) settle(pool, ip);
  for (Ip ip : pool.pending) settle(pool, ip);
}

std::optional<std::pair<std::string, std::int64_t>> ClaimView::guard(std::string_view pool) const {
  auto at = pools_.find(pool);
  if (at == pools_.end() || !at->second.granted) return std::nullopt;
  auto seen = parts_.find(pool);
  return std::pair(grants::parts_key(pool), seen == parts_.end() ? 0 : seen->second.revision);
}

bool ClaimView::is_of_pool(std::string_view pool, Ip ip) const {
  auto at = pools_.find(pool);
  return at != pools_.end() && std::ranges::any_of(at->second.ranges, [&](const IpRange& range) {
           return range.contains(ip);
         });
}

// The order is told what the record says.
void ClaimView::settle(Pool& pool, Ip ip) {
  if (!pool.order) return;
  auto record = pool.records.find(ip);
  if (pool.pending.contains(ip) || (record != pool.records.end() && record->second.occupied))
    pool.order->occupy(ip);
  else if (record != pool.records.end())
    pool.order->set_free(ip, record->second.released_unix_ms);
  else
    pool.order->set_fresh(ip);
}

void ClaimView::set(const PooledIp& address, Record record) {
  Pool& pool = pools_[address.pool];
  Record& at = pool.records[address.ip];
  if (at.revision > record.revision) return;
  if (at.occupied) {
    auto mine = mine_.find(at.occupied->holder);
    if (mine != mine_.end() && at.occupied->node == node_) {
      mine->second.erase(address);
      if (mine->second.empty()) mine_.erase(mine);
    }
  }
  at = std::move(record);
  if (at.occupied && at.occupied->held() && at.occupied->node == node_)
    mine_[at.occupied->holder].insert(address);
  settle(pool, address.ip);
}

void ClaimView::forget(const PooledIp& address, std::int64_t revision) {
  auto pool = pools_.find(address.pool);
  if (pool == pools_.end()) return;
  auto record = pool->second.records.find(address.ip);
  if (record == pool->second.records.end() || record->second.revision > revision) return;
  set(address, {revision, 0, nullptr});  // no longer anybody's
  pool->second.records.erase(address.ip);
  settle(pool->second, address.ip);
}

Result<void> ClaimView::put(const KeyValue& kv, std::int64_t now_ms) {
  if (kv.key.starts_with(grants::kPartsPrefix)) {
    std::string pool = kv.key.substr(grants::kPartsPrefix.size());
    SeenParts& seen = parts_[pool];
    if (seen.revision > kv.mod_revision) return {};
    Result<grants::PoolParts> parts = grants::decode_parts(kv);
    seen = {kv.mod_revision, std::nullopt};
    if (parts) seen.parts = std::move(*parts);
    reorder(pool);
    if (!parts) return std::unexpected(std::move(parts).error());
    return {};
  }
  if (kv.key.starts_with(records::kClaimantsPrefix)) {
    Result<Claimant> claimant = records::decode_claimant(kv);
    std::optional<Error> why;
    if (!claimant) why = claimant.error();
    put_claimant(kv, std::move(claimant));
    if (why) return std::unexpected(std::move(*why));
    return {};
  }
  std::optional<PooledIp> address = address_of(kv.key);
  Result<AddressClaim> claim = records::decode_claim(kv);
  if (!claim) {
    // A key that names no address is nobody's way to one.
    if (address) {
      auto unreadable = std::make_unique<AddressClaim>();
      unreadable->pool = address->pool;
      unreadable->ip = address->ip;
      unreadable->holder = "(unreadable)";
      unreadable->sequence = kv.mod_revision;
      set(*address, {kv.mod_revision, 0, std::move(unreadable)});
    }
    return std::unexpected(std::move(claim).error());
  }
  // A release from the future, by another node's clock, counts as one of now.
  Record record{kv.mod_revision, std::min(claim->released_unix_ms, now_ms), nullptr};
  if (!claim->free()) record.occupied = std::make_unique<AddressClaim>(std::move(*claim));
  set(*address, std::move(record));
  return {};
}

void ClaimView::put_claimant(const KeyValue& kv, Result<Claimant> claimant) {
  SeenClaimant& at = claimants_[kv.key.substr(records::kClaimantsPrefix.size())];
  if (at.revision > kv.mod_revision) return;
  at = {kv.mod_revision, {}, ""};
  if (claimant)
    at.claimant = std::move(*claimant);
  else
    at.refused = claimant.error().what;
}

void ClaimView::erase(const std::string& key, std::int64_t revision) {
  if (key.starts_with(grants::kPartsPrefix)) {
    std::string pool = key.substr(grants::kPartsPrefix.size());
    auto at = parts_.find(pool);
    if (at == parts_.end() || at->second.revision > revision) return;
    parts_.erase(at);
    reorder(pool);
  } else if (key.starts_with(records::kClaimantsPrefix)) {
    auto at = claimants_.find(key.substr(records::kClaimantsPrefix.size()));
    if (at != claimants_.end() && at->second.revision <= revision) claimants_.erase(at);
  } else if (auto address = address_of(key)) {
    forget(*address, revision);
  }
}

void ClaimView::keep_only(const std::set<std::string>& keys, std::int64_t revision) {
  std::vector<std::string> gone;
  for (const auto& [name, pool] : pools_)
    for (const auto& [ip, record] : pool.records)
      if (std::string key = fmt::format("{}{}/{}", records::kClaimsPrefix, name, ip.str());
          !keys.contains(key))
        gone.push_back(std::move(key));
  for (const auto& [pool, seen] : parts_)
    if (std::string key = grants::parts_key(pool); !keys.contains(key))
      gone.push_back(std::move(key));
  for (const auto& [identity, seen] : claimants_)
    if (std::string key = fmt::format("{}{}", records::kClaimantsPrefix, identity);
        !keys.contains(key))
      gone.push_back(std::move(key));
  for (const std::string& key : gone) erase(key, revision);
}

void ClaimView::clear() {
  for (auto& [name, pool] : pools_) {
    auto records = std::exchange(pool.records, {});
    for (const auto& [ip, record] : records) settle(pool, ip);
  }
  claimants_.clear();
  mine_.clear();
  auto parts = std::exchange(parts_, {});
  for (const auto& [name, seen] : parts) reorder(name);
}

std::int64_t ClaimView::revision_of(const std::string& key) const {
  if (key.starts_with(records::kClaimantsPrefix))
    return claimant(key.substr(records::kClaimantsPrefix.size())).revision;
  if (key.starts_with(grants::kPartsPrefix)) {
    auto parts = parts_.find(key.substr(grants::kPartsPrefix.size()));
    return parts == parts_.end() ? 0 : parts->second.revision;
  }
  std::optional<PooledIp> address = address_of(key);
  return address ? find(*address).revision : 0;
}

bool ClaimView::others_hold() const {
  for (const auto& [name, pool] : pools_)
    for (const auto& [ip, record] : pool.records)
      if (record.occupied && record.occupied->node != node_) return true;
  return false;
}

ClaimView::Seen ClaimView::find(const PooledIp& address) const {
  auto pool = pools_.find(address.pool);
  if (pool == pools_.end()) return {};
  auto record = pool->second.records.find(address.ip);
  if (record == pool->second.records.end()) return {};
  return {record->second.revision, record->second.released_unix_ms, record->second.occupied.get()};
}

ClaimView::SeenClaimant ClaimView::claimant(const std::string& identity) const {
  auto at = claimants_.find(identity);
  if (at != claimants_.end()) return at->second;
  return {0, {identity, {}}, ""};
}

std::vector<AddressClaim> ClaimView::claims_of(const std::string& holder) const {
  std::vector<AddressClaim> claims;
  auto mine = mine_.find(holder);
  if (mine == mine_.end()) return claims;
  for (const PooledIp& address : mine->second) claims.push_back(*find(address).occupied);
  return claims;
}

std::vector<AddressClaim> ClaimView::claims_of_node() const {
  std::vector<AddressClaim> claims;
  for (const auto& [holder, addresses] : mine_)
    for (const PooledIp& address : addresses) claims.push_back(*find(address).occupied);
  std::ranges::sort(claims, {},
                    [](const AddressClaim& claim) { return std::tie(claim.pool, claim.ip); });
  return claims;
}

std::vector<AddressClaim> ClaimView::claims_of_nodes(const std::set<std::string>& nodes) const {
  std::vector<AddressClaim> claims;
  for (const auto& [name, pool] : pools_)
    for (const auto& [ip, record] : pool.records)
      if (record.occupied && record.occupied->held() && nodes.contains(record.occupied->node))
        claims.push_back(*record.occupied);
  return claims;
}

std::vector<AddressClaim> ClaimView::fixed() const {
  std::vector<AddressClaim> claims;
  for (const auto& [name, pool] : pools_)
    for (const auto& [ip, record] : pool.records)
      if (record.occupied && !record.occupied->identity.empty()) claims.push_back(*record.occupied);
  return claims;
}

std::vector<std::pair<std::string, std::int64_t>> ClaimView::free_before(std::int64_t unix_ms,
                                                                         std::size_t limit) const {
  std::vector<std::pair<std::string, std::int64_t>> keys;
  for (const auto& [name, pool] : pools_)
    for (const auto& [ip, record] : pool.records) {
      if (record.occupied || record.released_unix_ms >= unix_ms) continue;
      if (keys.size() == limit) return keys;
      keys.emplace_back(fmt::format("{}{}/{}", records::kClaimsPrefix, name, ip.str()),
                        record.revision);
    }
  return keys;
}

PoolOrder* ClaimView::pool(std::string_view name) {
  auto at = pools_.find(name);
  return at == pools_.end() || !at->second.order ? nullptr : &*at->second.order;
}

const PoolOrder* ClaimView::pool(std::string_view name) const {
  auto at = pools_.find(name);
  return at == pools_.end() || !at->second.order ? nullptr : &*at->second.order;
}

void ClaimView::set_pending(const PooledIp& address) {
  Pool& pool = pools_[address.pool];
  pool.pending.insert(address.ip);
  settle(pool, address.ip);
}

void ClaimView::end_pending(const PooledIp& address) {
  Pool& pool = pools_[address.pool];
  pool.pending.erase(address.ip);
  settle(pool, address.ip);
}

}  // namespace tombolo
