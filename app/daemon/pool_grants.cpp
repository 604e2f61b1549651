// One step per pool and tick: what was read, what follows from it, and the write that compares.
#include "app/daemon/pool_grants.h"

#include <algorithm>
#include <boost/algorithm/string/join.hpp>

#include "app/daemon/pool_grants_remote.h"
#include "core/records/records.h"

namespace tombolo {
namespace {

constexpr std::int64_t kPage = 1000;

FollowOptions follow_options(const std::string& cluster, std::string_view prefix,
                             Duration retry_cap) {
  FollowOptions options;
  options.name = fmt::format("{} {}", cluster, prefix);
  options.prefix = prefix;
  options.retry_cap = retry_cap;
  return options;
}

std::int64_t unix_ms_of(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall_now().time_since_epoch())
      .count();
}

// A few pods more or less are no news: every change makes claims under way compare again.
std::int64_t wanted_now(std::size_t in_use, const std::optional<grants::PoolParts>& before,
                        const Prefix& part) {
  auto quarter = static_cast<std::size_t>(std::min<uint128>(part.size() / 4, 1U << 20U));
  std::int64_t wanted = grants::wanted_parts(in_use, part);
  if (!before || wanted >= before->wanted) return wanted;
  return std::min(before->wanted, grants::wanted_parts(in_use + quarter, part));
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

PoolGrants::Remote::Remote(std::string cluster, std::unique_ptr<Kv> store, Duration retry_cap,
                           RoleContext context)
    : store_(std::move(store)),
      tasks_(context.tasks),
      ledgers_(grants::decode_ledger, context.log.with("remote", cluster)),
      parts_(grants::decode_parts, context.log.with("remote", cluster)),
      ledger_follower_(follow_options(cluster, grants::kLedgersPrefix, retry_cap), *store_,
                       ledgers_, tasks_, context.clock, context.rng, context.log),
      parts_follower_(follow_options(cluster, grants::kPartsPrefix, retry_cap), *store_, parts_,
                      tasks_, context.clock, context.rng, context.log) {}

void PoolGrants::Remote::start() {
  started_ = true;
  tasks_.spawn("remote ledgers", ledger_follower_.run());
  tasks_.spawn("remote parts", parts_follower_.run());
}

asio::awaitable<void> PoolGrants::Remote::stop() {
  tasks_.cancel();
  co_await tasks_.join();
}

PoolGrants::PoolGrants(Options options, std::string cluster, const Table<AddressClaim>& claims,
                       Pools pools, Table<ReconcileStatus>::Writer status, RoleContext context)
    : options_(options),
      cluster_(std::move(cluster)),
      claims_(claims),
      pools_(std::move(pools)),
      status_(status),
      context_(context) {}

PoolGrants::~PoolGrants() = default;

void PoolGrants::start() {
  context_.tasks.spawn("pool grants", run());
}

asio::awaitable<void> PoolGrants::add_remote(std::string cluster, std::unique_ptr<Kv> store) {
  co_await remove_remote(cluster);
  auto remote =
      std::make_unique<Remote>(cluster, std::move(store), options_.follow_retry_cap, context_);
  remotes_.insert_or_assign(cluster, std::move(remote));
}

asio::awaitable<void> PoolGrants::remove_remote(std::string cluster) {
  auto at = remotes_.find(cluster);
  if (at == remotes_.end()) co_return;
  std::unique_ptr<Remote> leaving = std::move(at->second);
  remotes_.erase(at);
  co_await leaving->stop();
}

asio::awaitable<void> PoolGrants::run() {
  while (!context_.tasks.cancelled()) {
    std::vector<SharedPool> pools = co_await pools_now();
    for (const SharedPool& pool : pools) {
      auto done = co_await step(pool);
      if (context_.tasks.cancelled()) co_return;
      if (!done) standing_[pool.name].problems = {done.error().text()};
      report(pool.name);
    }
    std::erase_if(standing_, [&](const auto& entry) {
      bool gone = std::ranges::find(pools, entry.first, &SharedPool::name) == pools.end();
      if (gone) status_.erase("pool grants|" + entry.first);
      return gone;
    });
    if (auto slept = co_await context_.clock.sleep_for(options_.tick); !slept) co_return;
  }
}

// Those in force, and those that are no more but of which this cluster still has parts.
asio::awaitable<std::vector<SharedPool>> PoolGrants::pools_now() {
  std::vector<SharedPool> pools = pools_();
  RangeRequest request;
  request.key = grants::kPartsPrefix;
  request.range_end = prefix_end(grants::kPartsPrefix);
  request.limit = kPage;
  auto records = co_await context_.kv.range(std::move(request));
  if (records)
    for (const KeyValue& kv : records->kvs) {
      auto parts = grants::decode_parts(kv);
      if (!parts || parts->parts.empty() ||
          std::ranges::find(pools, parts->pool, &SharedPool::name) != pools.end())
        continue;
      SharedPool left;
      left.name = parts->pool;
      left.sharing.home = parts->home;
      left.sharing.part_length = parts->parts.front().range.length();
      left.leaving = true;
      pools.push_back(std::move(left));
    }
  if (!pools.empty())
    for (auto& [cluster, remote] : remotes_)
      if (!remote->started()) remote->start();
  co_return pools;
}

asio::awaitable<Result<PoolGrants::Own>> PoolGrants::read(std::string key) {
  RangeRequest request;
  request.key = std::move(key);
  CO_TRY(found, co_await context_.kv.range(std::move(request)));
  Own own;
  own.store_id = found.cluster_id;
  if (!found.kvs.empty()) {
    own.pair = std::move(found.kvs.front());
    own.revision = own.pair->mod_revision;
  }
  co_return own;
}

asio::awaitable<Result<bool>> PoolGrants::write(std::string key, std::int64_t revision,
                                                std::string value) {
  TxnRequest request;
  Compare same;
  same.key = key;
  same.number = revision;
  Put put{std::move(key), std::move(value), 0};
  request.compares.push_back(std::move(same));
  request.then.emplace_back(std::move(put));
  CO_TRY(done, co_await context_.kv.txn(std::move(request)));
  co_return done.succeeded;
}

void PoolGrants::note(Used& used, const SharedPool& pool, const std::vector<grants::Part>& parts,
                      const AddressClaim& claim) const {
  if (claim.pool != pool.name) return;
  bool resting = claim.released_unix_ms + pool.rest_ms > unix_ms_of(context_.clock);
  if (!claim.free()) ++used.in_use;
  if (claim.free() && !resting) return;
  if (pool.sharing.part_length <= bits_of(claim.ip.family()))
    used.busy.insert(Prefix(claim.ip, pool.sharing.part_length));
  for (const grants::Part& part : parts)
    if (part.range.contains(claim.ip)) used.busy.insert(part.range);
}

PoolGrants::Used PoolGrants::claims_as_heard(const SharedPool& pool,
                                             const std::vector<grants::Part>& parts) const {
  Used used;
  std::string prefix = pool.name + "/";
  for (auto at = claims_.rows().lower_bound(prefix);
       at != claims_.rows().end() && at->first.starts_with(prefix); ++at)
    note(used, pool, parts, at->second.row);
  return used;
}

// A claim that cannot be read is somebody's.
asio::awaitable<Result<PoolGrants::Used>> PoolGrants::claims_in_store(
    SharedPool pool, std::vector<grants::Part> parts) {
  Used used;
  RangeRequest request;
  request.key = fmt::format("{}{}/", records::kClaimsPrefix, pool.name);
  request.range_end = prefix_end(request.key);
  request.limit = kPage;
  while (true) {
    CO_TRY(page, co_await context_.kv.range(request));
    request.revision = page.revision;
    for (const KeyValue& kv : page.kvs) {
      CO_TRY(claim, records::decode_claim(kv));
      note(used, pool, parts, claim);
    }
    if (!page.more || page.kvs.empty()) break;
    request.key = page.kvs.back().key + '\0';
  }
  co_return used;
}

asio::awaitable<Result<void>> PoolGrants::step(SharedPool pool) {
  Standing& standing = standing_[pool.name];
  standing.problems.clear();
  if (!claims_.synced()) co_return Result<void>{};
  std::string key = grants::parts_key(pool.name);
  CO_TRY(own, co_await read(key));
  if (store_id_ != own.store_id) {
    store_id_ = own.store_id;
    store_since_ = context_.clock.now();
  }
  std::optional<grants::PoolParts> before;
  if (own.pair) {
    CO_TRY(parts, grants::decode_parts(*own.pair));
    before = std::move(parts);
  }
  if ((!before || before->store_id != own.store_id) &&
      context_.clock.now() - store_since_ < options_.settle)
    co_return fail(Code::kUnavailable,
                   "the store is new or was put back: nodes have {} s to say "
                   "what they hold",
                   std::chrono::ceil<std::chrono::seconds>(options_.settle).count());
  std::vector<grants::Part> parts;
  if (before) parts = before->parts;
  Used used = claims_as_heard(pool, parts);
  bool returns = std::ranges::any_of(parts, [&](const grants::Part& part) {
    return part.state == grants::PartState::kReturning && !used.busy.contains(part.range);
  });
  // That nothing is left in a part must be true after it was marked: the mirror may be behind.
  if (returns) {
    CO_TRY(exactly, co_await claims_in_store(pool, parts));
    used = std::move(exactly);
  }
  grants::GranteeFacts facts;
  facts.pool = pool.name;
  facts.self = cluster_;
  facts.home = pool.sharing.home;
  facts.store_id = own.store_id;
  facts.busy = used.busy;
  facts.leaving = pool.leaving;
  facts.random = number();
  if (!pool.addresses.empty())
    facts.wanted = wanted_now(used.in_use, before,
                              Prefix(pool.addresses.front().first, pool.sharing.part_length));
  if (pool.sharing.home == cluster_) {
    CO_TRY(ledger, co_await read(grants::ledger_key(pool.name)));
    if (ledger.pair) {
      CO_TRY(decoded, grants::decode_ledger(*ledger.pair));
      facts.ledger = std::move(decoded);
    }
  } else if (auto home = remotes_.find(pool.sharing.home); home != remotes_.end()) {
    auto ledger = home->second->ledgers().find(pool.name);
    if (ledger != home->second->ledgers().end()) facts.ledger = ledger->second;
  }
  grants::GranteeStep next = grants::next_parts(before, facts);
  if (!facts.ledger)
    next.problems.push_back(fmt::format("nothing was heard of the home {} yet", pool.sharing.home));
  if (next.parts != before) {
    CO_TRY(written, co_await write(key, own.revision, grants::encode(next.parts)));
    if (!written) co_return Result<void>{};  // the next tick looks again
  }
  Standing& now = standing_[pool.name];
  now.parts = std::move(next.parts);
  now.problems = std::move(next.problems);
  if (facts.ledger) now.ledger = std::move(facts.ledger);
  if (pool.sharing.home != cluster_) co_return Result<void>{};
  co_return co_await step_home(std::move(pool), std::move(used.busy));
}

asio::awaitable<Result<void>> PoolGrants::step_home(SharedPool pool, std::set<Prefix> busy) {
  std::string key = grants::ledger_key(pool.name);
  CO_TRY(own, co_await read(key));
  std::optional<grants::GrantLedger> before;
  if (own.pair) {
    CO_TRY(ledger, grants::decode_ledger(*own.pair));
    before = std::move(ledger);
  }
  grants::HomeFacts facts;
  facts.pool = pool.name;
  facts.self = cluster_;
  facts.store_id = own.store_id;
  facts.members = {pool.sharing.clusters.begin(), pool.sharing.clusters.end()};
  facts.parts = grants::cut(pool.addresses, pool.sharing.part_length);
  if (pool.leaving) facts.parts.clear();
  facts.used_here = std::move(busy);
  facts.random = number();
  Standing& standing = standing_[pool.name];
  if (standing.parts) facts.copies[cluster_] = *standing.parts;
  for (const auto& [cluster, remote] : remotes_) {
    auto copy = remote->parts().find(pool.name);
    if (copy != remote->parts().end()) facts.copies[cluster] = copy->second;
    if (remote->ledgers().contains(pool.name)) facts.other_homes.insert(cluster);
  }
  grants::HomeStep next = grants::next_ledger(before, facts);
  for (std::string& problem : next.problems) standing.problems.push_back(std::move(problem));
  standing.ledger = next.ledger;
  if (next.ledger == before) co_return Result<void>{};
  // When another controller was faster, the next tick looks again.
  CO_TRY_OK(co_await write(key, own.revision, grants::encode(next.ledger)));
  co_return Result<void>{};
}

asio::awaitable<Result<void>> PoolGrants::reclaim(std::string pool, std::string cluster) {
  std::string key = grants::ledger_key(pool);
  CO_TRY(own, co_await read(key));
  if (!own.pair)
    co_return fail(Code::kFailedPrecondition, "{} is not the home of a shared pool {}", cluster_,
                   pool);
  CO_TRY(ledger, grants::decode_ledger(*own.pair));
  CO_TRY(without, grants::without_cluster(std::move(ledger), cluster));
  CO_TRY(written, co_await write(key, own.revision, grants::encode(without)));
  if (!written) co_return fail(Code::kAborted, "the grants of {} changed: try again", pool);
  context_.log.info("pool {}: cluster {} is gone, its parts are free", pool, cluster);
  co_return Result<void>{};
}

void PoolGrants::report(const std::string& pool) {
  std::string text = boost::join(standing_[pool].problems, "; ");
  if (std::string& told = told_[pool]; told != text) {
    if (!text.empty()) context_.log.warning("pool {}: {}", pool, text);
    told = text;
  }
  ReconcileStatus line;
  line.reconciler = "pool grants";
  line.object = pool;
  line.state = text.empty() ? ReconcileState::kDone : ReconcileState::kError;
  line.attempts = text.empty() ? 0 : 1;
  line.error = std::move(text);
  status_.upsert(std::move(line));
}

}  // namespace tombolo
