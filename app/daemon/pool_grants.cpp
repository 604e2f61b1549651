// One step per pool and tick: what was read, what follows from it, and the write that compares.
#include "app/daemon/pool_grants.h"

#include <algorithm>
#include <boost/algorithm/string/join.hpp>

#include "app/daemon/pool_grants_remote.h"
#include "core/store/range_all.h"

namespace tombolo {
namespace {

// A few pods more or less are no news: every change makes claims under way compare again.
std::int64_t wanted_now(std::size_t in_use, const std::optional<grants::PoolParts>& before,
                        const Prefix& part) {
  auto quarter = static_cast<std::size_t>(std::min<uint128>(part.size() / 4, 1U << 20U));
  std::int64_t wanted = grants::wanted_parts(in_use, part);
  if (!before || wanted >= before->wanted) return wanted;
  return std::min(before->wanted, grants::wanted_parts(in_use + quarter, part));
}

}  // namespace

PoolGrants::PoolGrants(Options options, std::string cluster, const Table<AddressClaim>& claims,
                       Pools pools, Table<ReconcileStatus>::Writer status, RoleContext context)
    : options_(options),
      cluster_(std::move(cluster)),
      claims_(claims),
      pools_(std::move(pools)),
      status_(status),
      context_(context),
      records_(context.kv, context.clock) {}

PoolGrants::~PoolGrants() = default;

void PoolGrants::start() {
  context_.tasks.spawn("pool grants", run());
}

asio::awaitable<void> PoolGrants::add_remote(std::string cluster, std::unique_ptr<Kv> store) {
  co_await remove_remote(cluster);
  if (context_.tasks.cancelled()) co_return;
  auto remote =
      std::make_unique<Remote>(cluster, std::move(store), options_.follow_retry_cap, context_);
  remotes_.insert_or_assign(cluster, std::move(remote));
}

// A shutdown ends the wait for its tasks: then it stays with this, which outlives every task.
asio::awaitable<void> PoolGrants::remove_remote(std::string cluster) {
  auto found = remotes_.extract(cluster);
  if (found.empty()) co_return;
  auto place = leaving_.insert(leaving_.end(), std::move(found.mapped()));
  co_await (*place)->stop();
  if (!context_.tasks.cancelled()) leaving_.erase(place);
}

asio::awaitable<void> PoolGrants::run() {
  while (!context_.tasks.cancelled()) {
    auto pools = co_await pools_now();
    if (!pools) {
      tell("", pools.error().text());
    } else {
      tell("", "");
      for (const SharedPool& pool : *pools) {
        auto done = co_await step(pool);
        if (context_.tasks.cancelled()) co_return;
        if (done)
          standing_[pool.name] = std::move(*done);
        else
          standing_[pool.name].problems = {done.error().text()};
        report(pool.name);
      }
      forget_standing(*pools);
    }
    if (auto slept = co_await context_.clock.sleep_for(options_.tick); !slept) co_return;
  }
}

void PoolGrants::forget_standing(const std::vector<SharedPool>& pools) {
  std::erase_if(standing_, [&](const auto& entry) {
    bool gone = std::ranges::find(pools, entry.first, &SharedPool::name) == pools.end();
    if (gone) status_.erase("pool grants|" + entry.first);
    if (gone) told_.erase(entry.first);
    return gone;
  });
}

// Those in force, and those that are no more but of which this cluster still has parts, or as their
// home has given parts to others.
asio::awaitable<Result<std::vector<SharedPool>>> PoolGrants::pools_now() {
  std::map<std::string, SharedPool> left;
  CO_TRY_OK(co_await read_ledgers(left));
  CO_TRY_OK(co_await read_parts(left));
  std::vector<SharedPool> pools = pools_();
  for (const SharedPool& pool : pools) left.erase(pool.name);
  for (auto& [name, pool] : left) pools.push_back(std::move(pool));
  if (!pools.empty())
    for (auto& [cluster, remote] : remotes_)
      if (!remote->started()) remote->start();
  co_return pools;
}

asio::awaitable<Result<void>> PoolGrants::read_parts(std::map<std::string, SharedPool>& left) {
  std::string prefix(grants::kPartsPrefix);
  CO_TRY(records, co_await range_all(context_.kv, std::move(prefix)));
  for (const KeyValue& kv : records) {
    CO_TRY(parts, grants::decode_parts(kv));
    if (parts.parts.empty()) continue;
    SharedPool pool;
    pool.name = parts.pool;
    pool.sharing.home = parts.home;
    pool.sharing.part_length = parts.parts.front().range.length();
    pool.leaving = true;
    left.try_emplace(parts.pool, std::move(pool));
  }
  co_return Result<void>{};
}

// That nothing is left in a part must be true after it was marked: the mirror may be behind.
asio::awaitable<Result<PoolUsage>> PoolGrants::usage(SharedPool pool, PoolRecords::Own own,
                                                     std::optional<grants::PoolParts> before) {
  if (store_id_ != own.store_id) {
    store_id_ = own.store_id;
    store_since_ = context_.clock.now();
  }
  if ((!before || before->store_id != own.store_id) &&
      context_.clock.now() - store_since_ < options_.settle)
    co_return fail(Code::kUnavailable,
                   "the store is new or was put back: nodes have {} s to say what they hold",
                   std::chrono::ceil<std::chrono::seconds>(options_.settle).count());
  std::vector<grants::Part> parts;
  if (before) parts = before->parts;
  PoolUsage used = records_.usage_as_heard(claims_, pool, parts);
  bool returns = std::ranges::any_of(parts, [&](const grants::Part& part) {
    return part.state == grants::PartState::kReturning && !used.busy.contains(part.range);
  });
  if (!returns) co_return used;
  co_return co_await records_.usage(std::move(pool), std::move(parts));
}

asio::awaitable<Result<PoolGrants::Standing>> PoolGrants::step(SharedPool pool) {
  if (!claims_.synced())
    co_return fail(Code::kUnavailable, "the claims of this cluster have not been read yet");
  Standing standing = standing_[pool.name];
  std::string key = grants::parts_key(pool.name);
  CO_TRY(own, co_await records_.read(key));
  std::optional<grants::PoolParts> before;
  if (own.pair) {
    CO_TRY(parts, grants::decode_parts(*own.pair));
    before = std::move(parts);
  }
  CO_TRY(used, co_await usage(pool, own, before));
  grants::GranteeFacts facts;
  facts.pool = pool.name;
  facts.self = cluster_;
  facts.home = pool.sharing.home;
  facts.store_id = own.store_id;
  facts.busy = used.busy;
  facts.in_use = used.by_part;
  facts.pinned = used.pinned;
  facts.leaving = pool.leaving;
  facts.random = number();
  if (!pool.addresses.empty())
    facts.wanted = wanted_now(used.in_use, before,
                              Prefix(pool.addresses.front().first, pool.sharing.part_length));
  bool home = pool.sharing.home == cluster_;
  if (home) {
    CO_TRY(ledger, co_await records_.read(grants::ledger_key(pool.name)));
    if (ledger.pair) {
      CO_TRY(decoded, grants::decode_ledger(*ledger.pair));
      facts.ledger = std::move(decoded);
    }
  } else if (auto remote = remotes_.find(pool.sharing.home); remote != remotes_.end()) {
    auto ledger = remote->second->ledgers().find(pool.name);
    if (ledger != remote->second->ledgers().end()) facts.ledger = ledger->second;
  }
  grants::GranteeStep next = grants::next_parts(before, facts);
  standing.problems = std::move(next.problems);
  if (!facts.ledger && !home)
    standing.problems.push_back(
        fmt::format("nothing was heard of the home {} yet", pool.sharing.home));
  if (next.parts != before) {
    std::optional<std::string> value = grants::encode(next.parts);
    CO_TRY(written, co_await records_.write(key, own.revision, std::move(value)));
    if (!written) co_return standing;  // the next tick looks again
  }
  standing.parts = std::move(next.parts);
  if (facts.ledger) standing.ledger = std::move(facts.ledger);
  if (home) co_return co_await step_home(std::move(pool), std::move(used), std::move(standing));
  CO_TRY_OK(co_await drop_ledger(pool.name, standing.problems));
  co_return standing;
}

void PoolGrants::tell(const std::string& pool, const std::string& text) {
  std::string& told = told_[pool];
  if (told != text && !text.empty())
    context_.log.warning("{}: {}", pool.empty() ? "shared pools" : "pool " + pool, text);
  told = text;
}

void PoolGrants::report(const std::string& pool) {
  std::string text = boost::join(standing_[pool].problems, "; ");
  tell(pool, text);
  ReconcileStatus line;
  line.reconciler = "pool grants";
  line.object = pool;
  line.state = text.empty() ? ReconcileState::kDone : ReconcileState::kError;
  line.attempts = text.empty() ? 0 : 1;
  line.error = std::move(text);
  status_.upsert(std::move(line));
}

}  // namespace tombolo
