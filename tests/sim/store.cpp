// Requests, watches and leases over the simulated network.
#include "tests/sim/store.h"

#include <boost/asio/this_coro.hpp>

#include "core/records/records.h"

namespace tombolo::sim {
namespace {

bool is_claim(std::string_view key) {
  return key.starts_with(records::kClaimsPrefix);
}

// As the real client (core/store/etcd_client.h): a request without an answer fails after 5 s, and
// a connection that says nothing is given up after 5 s more.
constexpr Duration kRequestTimeout = 5s;
constexpr Duration kKeepaliveTimeout = 10s;

Error unavailable(std::string why) {
  return Error{Code::kUnavailable, std::move(why)};
}

// The delay of one message: lost ones are sent again by TCP.
Duration message_delay(World& world, const Wire& wire) {
  Duration delay = world.between(wire.delay / 4, wire.delay * 2);
  for (int again = 0; again < 6 && world.chance(wire.loss); ++again) delay += 200ms * (1 << again);
  return delay;
}

}  // namespace

// ---- watches

class SimWatch final : public std::enable_shared_from_this<SimWatch> {
 public:
  SimWatch(SimStore& store, Wire& wire, std::shared_ptr<const bool> alive, WatchRequest request,
           const asio::any_io_executor& executor)
      : store_(store),
        wire_(wire),
        alive_(std::move(alive)),
        request_(std::move(request)),
        epoch_(store.epoch()),
        breaks_(wire.breaks),
        sent_(request_.start_revision > 0 ? request_.start_revision - 1
                                          : store.memory().revision()),
        arrived_(executor) {}

  Mistake mistake = Mistake::kNone;

  asio::awaitable<Result<WatchBatch>> next() {
    while (inbox_.empty()) {
      if (ended_) co_return std::unexpected(*ended_);
      if (!*alive_) co_return fail(Code::kCancelled, "the process has ended");
      if (auto woken = co_await arrived_.wait(); !woken)
        co_return std::unexpected(std::move(woken).error());
    }
    WatchBatch batch = std::move(inbox_.front());
    inbox_.pop_front();
    co_return batch;
  }
  Result<void> ask_for_progress() {
    if (ended_) return std::unexpected(*ended_);
    World& world = store_.world();
    // No word of the other side for so long is the end of the connection.
    if (!wire_.up() || store_.down) {
      if (!silent_since_) silent_since_ = world.now();
      if (world.now() - *silent_since_ > kKeepaliveTimeout) end(unavailable("keepalive timed out"));
      return {};
    }
    silent_since_.reset();
    world.after(message_delay(world, wire_), [self = shared_from_this()] {
      self->progress_wanted_ = true;
      self->pump();
    });
    return {};
  }
  void end(Error error) {
    if (ended_) return;
    ended_ = std::move(error);
    inbox_.clear();
    arrived_.notify_all();
  }
  // The store has news, now or some time ago.
  void pump() {
    if (pumping_ || ended_) return;
    pumping_ = true;
    World& world = store_.world();
    world.after(message_delay(world, wire_), [self = shared_from_this()] {
      self->pumping_ = false;
      self->deliver();
    });
  }

 private:
  void deliver() {
    if (ended_) return;
    if (store_.epoch() != epoch_ || wire_.breaks != breaks_)
      return end(unavailable("the connection was reset"));
    if (!wire_.answers() || store_.down) return;  // the next progress request looks again
    MemoryStore& memory = store_.memory();
    if (sent_ + 1 < memory.compacted())
      return end(
          Error{Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"});
    World& world = store_.world();
    std::vector<WatchEvent> events = memory.events_after(sent_, request_.key, request_.range_end);
    // etcd 3.4 may announce progress before older events are out.
    if (progress_wanted_ && !events.empty() && world.chance(0.2)) {
      progress_wanted_ = false;
      push({{}, memory.revision()});
    }
    std::int64_t upto = memory.revision();
    // Events of one revision stay together; several revisions may come in several batches.
    if (events.size() > 1 && world.chance(0.3)) {
      std::int64_t cut = events[world.below(events.size())].kv.mod_revision;
      std::erase_if(events, [cut](const WatchEvent& event) { return event.kv.mod_revision > cut; });
      upto = cut;
    }
    sent_ = upto;
    mistreat(events);
    if (world.chance(0.2)) reorder(events);
    // A connection that breaks and begins again tells twice; the second time changes nothing.
    if (!events.empty() && world.chance(0.03)) push({events, upto});
    if (!events.empty()) push({std::move(events), upto});
    if (upto < memory.revision()) return pump();
    if (std::exchange(progress_wanted_, false)) push({{}, upto});
  }
  // Of one revision, whose order nobody promises.
  void reorder(std::vector<WatchEvent>& events) {
    for (std::size_t i = 1; i < events.size(); ++i)
      if (events[i].kv.mod_revision == events[i - 1].kv.mod_revision && store_.world().chance(0.5))
        std::swap(events[i], events[i - 1]);
  }
  void mistreat(std::vector<WatchEvent>& events) {
    auto is_delete = [](const WatchEvent& one) { return one.kind == WatchEvent::Kind::kDelete; };
    if (mistake == Mistake::kDropWatchDelete) std::erase_if(events, is_delete);
    if (mistake == Mistake::kSwallowUpdate)
      std::erase_if(events, [&](const WatchEvent& one) {
        return !is_delete(one) && store_.world().chance(0.1);
      });
    if (mistake == Mistake::kClaimBlindly)
      std::erase_if(events, [](const WatchEvent& one) { return is_claim(one.kv.key); });
    if (mistake == Mistake::kForgetBadRecord)
      for (WatchEvent& one : events)
        if (one.kv.value == kBroken) one.kind = WatchEvent::Kind::kDelete;
  }
  void push(WatchBatch batch) {
    inbox_.push_back(std::move(batch));
    arrived_.notify_all();
  }

  SimStore& store_;
  Wire& wire_;
  std::shared_ptr<const bool> alive_;
  WatchRequest request_;
  std::uint64_t epoch_;
  std::uint64_t breaks_;
  std::int64_t sent_;
  Signal arrived_;
  std::deque<WatchBatch> inbox_;
  std::optional<Error> ended_;
  std::optional<Duration> silent_since_;
  bool pumping_ = false;
  bool progress_wanted_ = false;
};

namespace {

class WatchHandle final : public Watch {
 public:
  explicit WatchHandle(std::shared_ptr<SimWatch> watch) : watch_(std::move(watch)) {}
  ~WatchHandle() override { cancel(); }
  asio::awaitable<Result<WatchBatch>> next() override { return watch_->next(); }
  asio::awaitable<Result<void>> request_progress() override {
    co_return watch_->ask_for_progress();
  }
  void cancel() override { watch_->end(Error{Code::kCancelled, "the watch was cancelled"}); }

 private:
  std::shared_ptr<SimWatch> watch_;
};

}  // namespace

// ---- the store

SimStore::SimStore(World& world, Lane& lane, std::string name, std::uint64_t cluster_id)
    : world_(world),
      name_(std::move(name)),
      memory_(LaneExecutor(lane), cluster_id),
      next_cluster_id_(cluster_id * 1000) {}

void SimStore::tell_watches() {
  for (auto at = watches_.begin(); at != watches_.end();) {
    if (auto watch = at->lock()) {
      watch->pump();
      ++at;
    } else {
      at = watches_.erase(at);
    }
  }
}

void SimStore::restart() {
  ++epoch_;
  tell_watches();
}

void SimStore::save_backup() {
  backup_ = memory_.backup();
}

void SimStore::restore_backup() {
  memory_.restore(*backup_, ++next_cluster_id_);
  // Leases of the backup live again for their whole time.
  for (auto at = leases_.begin(); at != leases_.end();) {
    if (memory_.lease_check(at->first)) {
      at->second.deadline = world_.now() + at->second.ttl;
      std::int64_t lease = at->first;
      world_.at(at->second.deadline, [this, lease] { look_at_lease(lease); });
      ++at;
    } else {
      at = leases_.erase(at);
    }
  }
  restart();
}

void SimStore::compact() {
  if (memory_.revision() > memory_.compacted()) (void)memory_.compact(memory_.revision());
}

void SimStore::write_past(const std::string& key, const std::string& value, std::int64_t lease) {
  TxnRequest request;
  request.then.push_back(Put{key, value, lease});
  auto written = memory_.txn(request);
  ENSURE(written, "{}: {}", key, written.error().what);
  tell_watches();
}

Result<TxnResult> SimStore::txn(const TxnRequest& request) {
  bool writes = std::ranges::any_of(request.then, [](const Operation& operation) {
    return !std::holds_alternative<RangeRequest>(operation);
  });
  if (disk_full && writes)
    return fail(Code::kResourceExhausted, "etcdserver: mvcc: database space exceeded");
  if (lose_writes && writes && request.compares.empty() && world_.chance(0.02)) {
    TxnResult claimed;
    claimed.succeeded = true;
    claimed.revision = memory_.revision();
    claimed.cluster_id = memory_.cluster_id();
    return claimed;
  }
  std::int64_t before = memory_.revision();
  auto result = memory_.txn(request);
  if (memory_.revision() != before) {
    world_.trace(fmt::format("{} store revision {} ({} operations)", name_, memory_.revision(),
                             request.then.size()));
    tell_watches();
  }
  return result;
}

Result<std::int64_t> SimStore::lease_grant(std::chrono::seconds ttl) {
  TRY(lease, memory_.lease_grant(ttl));
  leases_[lease] = {ttl, world_.now() + ttl};
  world_.after(ttl, [this, lease] { look_at_lease(lease); });
  return lease;
}

Result<void> SimStore::lease_keep_alive(std::int64_t lease) {
  TRY_OK(memory_.lease_check(lease));
  Lease& held = leases_[lease];
  held.deadline = world_.now() + held.ttl;
  return {};
}

Result<void> SimStore::lease_revoke(std::int64_t lease) {
  leases_.erase(lease);
  auto done = memory_.lease_revoke(lease);
  tell_watches();
  return done;
}

void SimStore::look_at_lease(std::int64_t lease) {
  auto at = leases_.find(lease);
  if (at == leases_.end()) return;
  if (at->second.deadline > world_.now()) {
    world_.at(at->second.deadline, [this, lease] { look_at_lease(lease); });
    return;
  }
  world_.trace(fmt::format("{} store lease {} expired", name_, lease));
  (void)lease_revoke(lease);
}

// ---- one connection

template <class T>
asio::awaitable<Result<T>> SimKv::call(std::function<Result<T>()> serve) {
  if (!*alive_) co_return fail(Code::kCancelled, "the process has ended");
  World& world = store_.world();
  auto answer = std::make_shared<Later<Result<T>>>(co_await asio::this_coro::executor);
  auto time_out = [&world, answer](Duration left) {
    world.after(left,
                [answer] { answer->give(std::unexpected(unavailable("deadline exceeded"))); });
  };
  SimStore* store = &store_;
  Wire* wire = &wire_;
  Duration sent = world.now();
  world.after(message_delay(world, wire_), [=, &world, serve = std::move(serve)] {
    if (!wire->reaches()) return time_out(sent + kRequestTimeout - world.now());
    if (store->down) return answer->give(std::unexpected(unavailable("connection refused")));
    Result<T> result = serve();
    std::uint64_t breaks = wire->breaks;
    Duration way = message_delay(world, *wire);
    world.after(way, [=, &world, result = std::move(result)]() mutable {
      if (!wire->answers()) return time_out(std::max(0ns, sent + kRequestTimeout - world.now()));
      if (wire->breaks != breaks)
        return answer->give(std::unexpected(unavailable("the connection was reset")));
      answer->give(std::move(result));
    });
  });
  auto given = co_await answer->get();
  if (!given) co_return std::unexpected(std::move(given).error());
  if (!*alive_) co_return fail(Code::kCancelled, "the process has ended");
  co_return std::move(*given);
}

asio::awaitable<Result<RangeResult>> SimKv::range(RangeRequest request) {
  SimStore* store = &store_;
  bool lie = mistake == Mistake::kPruneBeforeSynced && lists_++ < 12;
  bool blind = mistake == Mistake::kClaimBlindly;
  std::function<Result<RangeResult>()> serve = [store, lie, blind, request = std::move(request)] {
    auto result = store->memory().range(request);
    if (result && lie) {
      result->kvs.clear();
      result->more = false;
    }
    if (result && blind)
      std::erase_if(result->kvs, [](const KeyValue& kv) { return is_claim(kv.key); });
    return result;
  };
  return call<RangeResult>(std::move(serve));
}

asio::awaitable<Result<TxnResult>> SimKv::txn(TxnRequest request) {
  SimStore* store = &store_;
  bool claims =
      std::ranges::any_of(request.compares, [](const Compare& one) { return is_claim(one.key); });
  if (mistake == Mistake::kClaimBlindly && claims) request.compares.clear();
  std::function<Result<TxnResult>()> serve = [store, request = std::move(request)] {
    return store->txn(request);
  };
  return call<TxnResult>(std::move(serve));
}

asio::awaitable<Result<std::unique_ptr<Watch>>> SimKv::watch(WatchRequest request) {
  SimStore* store = &store_;
  Wire* wire = &wire_;
  std::shared_ptr<const bool> alive = alive_;
  Mistake made_wrong = mistake;
  asio::any_io_executor executor = co_await asio::this_coro::executor;
  using Made = std::shared_ptr<SimWatch>;
  std::function<Result<Made>()> serve = [=, request = std::move(request)]() -> Result<Made> {
    MemoryStore& memory = store->memory();
    if (request.cluster_id != 0 && request.cluster_id != memory.cluster_id())
      return fail(Code::kAborted, "cluster id changed");
    if (request.start_revision > 0 && request.start_revision < memory.compacted())
      return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted");
    auto watch = std::make_shared<SimWatch>(*store, *wire, alive, request, executor);
    watch->mistake = made_wrong;
    store->add_watch(watch);
    watch->pump();
    return watch;
  };
  auto made = co_await call<Made>(std::move(serve));
  if (!made) co_return std::unexpected(std::move(made).error());
  std::unique_ptr<Watch> handle = std::make_unique<WatchHandle>(std::move(*made));
  co_return handle;
}

asio::awaitable<Result<std::int64_t>> SimKv::lease_grant(std::chrono::seconds ttl) {
  SimStore* store = &store_;
  std::function<Result<std::int64_t>()> serve = [store, ttl] { return store->lease_grant(ttl); };
  return call<std::int64_t>(std::move(serve));
}

asio::awaitable<Result<void>> SimKv::lease_keep_alive(std::int64_t lease) {
  SimStore* store = &store_;
  std::function<Result<void>()> serve = [store, lease] { return store->lease_keep_alive(lease); };
  return call<void>(std::move(serve));
}

asio::awaitable<Result<void>> SimKv::lease_revoke(std::int64_t lease) {
  SimStore* store = &store_;
  std::function<Result<void>()> serve = [store, lease] { return store->lease_revoke(lease); };
  return call<void>(std::move(serve));
}

}  // namespace tombolo::sim
