// Records that are compared, and claims as parts see them.
#include "app/daemon/pool_records.h"

#include <algorithm>

#include "core/records/records.h"
#include "core/store/range_all.h"

namespace tombolo {
namespace {

std::int64_t unix_ms_of(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall_now().time_since_epoch())
      .count();
}

// Nothing: not even the key says which address it is of.
std::optional<AddressClaim> claim_of(const KeyValue& kv, const std::string& pool) {
  if (auto claim = records::decode_claim(kv)) return std::move(*claim);
  auto ip = Ip::parse(std::string_view(kv.key).substr(kv.key.rfind('/') + 1));
  if (!ip) return std::nullopt;
  AddressClaim unreadable;
  unreadable.pool = pool;
  unreadable.ip = *ip;
  unreadable.holder = "somebody";
  return unreadable;
}

}  // namespace

std::vector<SharedPool> shared_pools(const std::vector<PoolObject>& objects) {
  std::vector<SharedPool> shared;
  auto catalog = catalog_of(objects);
  if (!catalog) return shared;
  for (const IpPool& pool : catalog->pools()) {
    if (!pool.sharing) continue;
    SharedPool one{pool.name, *pool.sharing, {}, pool.rest.wanted_ms, pool.disabled};
    for (const IpRange& range : catalog->usable(pool))
      one.addresses.emplace_back(range.first, range.last);
    shared.push_back(std::move(one));
  }
  return shared;
}

void PoolUsage::note(const SharedPool& pool, const std::vector<grants::Part>& parts,
                     const AddressClaim& claim, std::int64_t now_unix_ms) {
  if (claim.pool != pool.name) return;
  bool resting = claim.released_unix_ms + pool.rest_ms > now_unix_ms;
  if (claim.free() && !resting) return;
  std::set<Prefix> in;
  if (pool.sharing.part_length <= bits_of(claim.ip.family()))
    in.insert(Prefix(claim.ip, pool.sharing.part_length));
  for (const grants::Part& part : parts)
    if (part.range.contains(claim.ip)) in.insert(part.range);
  busy.insert(in.begin(), in.end());
  if (claim.free()) return;
  ++in_use;
  for (const Prefix& part : in) ++by_part[part];
  if (!claim.identity.empty()) pinned.insert(in.begin(), in.end());
}

asio::awaitable<Result<PoolRecords::Own>> PoolRecords::read(std::string key) {
  RangeRequest request;
  request.key = std::move(key);
  CO_TRY(found, co_await kv_.range(std::move(request)));
  Own own;
  own.store_id = found.cluster_id;
  if (!found.kvs.empty()) {
    own.pair = std::move(found.kvs.front());
    own.revision = own.pair->mod_revision;
  }
  co_return own;
}

asio::awaitable<Result<bool>> PoolRecords::write(std::string key, std::int64_t revision,
                                                 std::optional<std::string> value) {
  TxnRequest request;
  Compare same;
  same.key = key;
  same.number = revision;
  request.compares.push_back(std::move(same));
  if (value) {
    Put put{std::move(key), std::move(*value), 0};
    request.then.emplace_back(std::move(put));
  } else {
    Delete gone{std::move(key), ""};
    request.then.emplace_back(std::move(gone));
  }
  CO_TRY(done, co_await kv_.txn(std::move(request)));
  co_return done.succeeded;
}

asio::awaitable<Result<PoolUsage>> PoolRecords::usage(SharedPool pool,
                                                      std::vector<grants::Part> parts) {
  std::string prefix = fmt::format("{}{}/", records::kClaimsPrefix, pool.name);
  CO_TRY(claims, co_await range_all(kv_, std::move(prefix)));
  PoolUsage used;
  std::int64_t now = unix_ms_of(clock_);
  for (const KeyValue& kv : claims)
    if (auto claim = claim_of(kv, pool.name)) used.note(pool, parts, *claim, now);
  co_return used;
}

PoolUsage PoolRecords::usage_as_heard(const Table<AddressClaim>& claims, const SharedPool& pool,
                                      const std::vector<grants::Part>& parts) const {
  PoolUsage used;
  std::string prefix = pool.name + "/";
  std::int64_t now = unix_ms_of(clock_);
  for (auto at = claims.rows().lower_bound(prefix);
       at != claims.rows().end() && at->first.starts_with(prefix); ++at)
    used.note(pool, parts, at->second.row, now);
  return used;
}

}  // namespace tombolo
