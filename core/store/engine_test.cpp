// The embedded engine alone: restarts, leases and time, compaction, slow watchers, quota, files of
// other versions.
#include "core/store/engine.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <catch2/catch_test_macros.hpp>
#include <condition_variable>
#include <fstream>
#include <future>

#include "core/store/etcd_errors.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// Moved by hand. Only now() is used by the engine.
class ManualClock final : public Clock {
 public:
  MonotonicTime now() const override { return MonotonicTime(Duration(now_.load())); }
  WallTime wall_now() const override { return WallTime(Duration(now_.load())); }
  asio::awaitable<Result<void>> sleep_for(Duration) override {
    co_return fail(Code::kCancelled, "not used");
  }
  void advance(Duration by) { now_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_ = 1;
};

struct World {
  TempDir dir;
  ManualClock clock;
  EngineOptions options;
  std::unique_ptr<Engine> engine;

  World() { options.file = dir.path() / "store.db"; }
  Engine& open() {
    engine.reset();
    auto opened = Engine::open(options, clock, Logger());
    REQUIRE(opened);
    engine = std::move(*opened);
    return *engine;
  }
};

template <class Start>
Result<void> wait_for(Start start) {
  std::promise<Result<void>> promise;
  start([&](Result<void> result) { promise.set_value(std::move(result)); });
  auto future = promise.get_future();
  REQUIRE(future.wait_for(20s) == std::future_status::ready);
  return future.get();
}

Result<pb::PutResponse> put(Engine& engine, const std::string& key, const std::string& value,
                            std::int64_t lease = 0) {
  pb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  request.set_lease(lease);
  pb::PutResponse response;
  TRY_OK(wait_for([&](auto done) { engine.put(request, response, done); }));
  return response;
}

Result<pb::RangeResponse> range(Engine& engine, const std::string& key, const std::string& end = "",
                                std::int64_t revision = 0) {
  pb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(end);
  request.set_revision(revision);
  pb::RangeResponse response;
  TRY_OK(wait_for([&](auto done) { engine.range(request, response, done); }));
  return response;
}

Result<void> erase(Engine& engine, const std::string& key) {
  pb::DeleteRangeRequest request;
  request.set_key(key);
  pb::DeleteRangeResponse response;
  return wait_for([&](auto done) { engine.delete_range(request, response, done); });
}

std::int64_t grant(Engine& engine, std::int64_t ttl_s) {
  pb::LeaseGrantRequest request;
  request.set_ttl(ttl_s);
  pb::LeaseGrantResponse response;
  REQUIRE(wait_for([&](auto done) { engine.lease_grant(request, response, done); }));
  return response.id();
}

Result<void> compact(Engine& engine, std::int64_t revision) {
  pb::CompactionRequest request;
  request.set_revision(revision);
  request.set_physical(true);
  pb::CompactionResponse response;
  return wait_for([&](auto done) { engine.compact(request, response, done); });
}

bool eventually(const std::function<bool()>& holds) {
  auto end = std::chrono::steady_clock::now() + 20s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

// A reader with room for `room` deliveries.
class Reader final : public WatchSink {
 public:
  explicit Reader(std::size_t room) : room_(room) {}
  bool deliver(WatchDelivery delivery) override {
    std::lock_guard lock(mutex_);
    if (room_ == 0) {
      ++refused_;
      return false;
    }
    --room_;
    for (const WatchedChange& watched : delivery.changes)
      seen_.push_back(watched.change->kv.key() + "=" + watched.change->kv.value());
    return true;
  }
  void created(std::int64_t, std::int64_t, Result<void>) override {
    std::lock_guard lock(mutex_);
    created_ = true;
  }
  void cancelled(std::int64_t, std::int64_t) override {}
  void compacted(std::int64_t, std::int64_t, std::int64_t revision) override {
    std::lock_guard lock(mutex_);
    compacted_ = revision;
  }
  void progress(std::int64_t, std::int64_t revision) override {
    std::lock_guard lock(mutex_);
    progress_ = revision;
  }
  void make_room(std::size_t room) {
    std::lock_guard lock(mutex_);
    room_ += room;
  }
  template <class Get>
  auto get(Get get) {
    std::lock_guard lock(mutex_);
    return get(*this);
  }
  std::size_t room_;
  std::size_t refused_ = 0;
  bool created_ = false;
  std::int64_t compacted_ = 0;
  std::int64_t progress_ = 0;
  std::vector<std::string> seen_;

 private:
  std::mutex mutex_;
};

TEST_CASE("engine: a restart keeps data, history, leases and names") {
  World world;
  Engine& first = world.open();
  std::uint64_t cluster = first.cluster_id();
  std::uint64_t member = first.member_id();
  REQUIRE(cluster != 0);
  REQUIRE(member != 0);
  std::int64_t lease = grant(first, 60);
  REQUIRE(put(first, "a", "1"));
  REQUIRE(put(first, "a", "2", lease));
  REQUIRE(put(first, "b", "1"));
  REQUIRE(erase(first, "b"));
  REQUIRE(compact(first, 3));
  Engine& second = world.open();
  REQUIRE(second.cluster_id() == cluster);
  REQUIRE(second.member_id() == member);
  REQUIRE(second.revision() == 5);
  REQUIRE(range(second, "a")->kvs(0).version() == 2);
  REQUIRE(range(second, "b", "", 4)->kvs_size() == 1);
  REQUIRE(range(second, "a", "", 2).error().what == etcd::kCompacted.text);
  // The time to live starts anew.
  world.clock.advance(59s);
  second.wake();
  REQUIRE(range(second, "a")->kvs_size() == 1);
  world.clock.advance(2s);
  second.wake();
  REQUIRE(eventually([&] { return range(second, "a")->kvs_size() == 0; }));
  REQUIRE(put(second, "c", "1", lease).error().what == etcd::kLeaseNotFound.text);
}

TEST_CASE("engine: a tail that compaction removed does not take its revision along") {
  World world;
  REQUIRE(put(world.open(), "a", "1"));
  REQUIRE(erase(*world.engine, "a"));
  REQUIRE(put(*world.engine, "b", "1"));
  REQUIRE(erase(*world.engine, "b"));
  REQUIRE(compact(*world.engine, 5));
  REQUIRE(world.open().revision() == 5);
}

TEST_CASE("engine: leases end on time, and keep-alives prolong them") {
  World world;
  Engine& engine = world.open();
  std::int64_t kept = grant(engine, 10);
  std::int64_t left = grant(engine, 10);
  REQUIRE(put(engine, "kept", "1", kept));
  REQUIRE(put(engine, "left", "1", left));
  REQUIRE(put(engine, "moved", "1", left));
  REQUIRE(put(engine, "moved", "2", kept));
  world.clock.advance(8s);
  pb::LeaseKeepAliveRequest request;
  request.set_id(kept);
  pb::LeaseKeepAliveResponse response;
  REQUIRE(wait_for([&](auto done) { engine.lease_keep_alive(request, response, done); }));
  REQUIRE(response.ttl() == 10);
  world.clock.advance(3s);
  engine.wake();
  REQUIRE(eventually([&] { return range(engine, "left")->kvs_size() == 0; }));
  REQUIRE(range(engine, "kept")->kvs_size() == 1);
  REQUIRE(range(engine, "moved")->kvs_size() == 1);
  pb::LeaseTimeToLiveRequest ask;
  ask.set_id(kept);
  ask.set_keys(true);
  pb::LeaseTimeToLiveResponse told;
  REQUIRE(wait_for([&](auto done) { engine.lease_time_to_live(ask, told, done); }));
  REQUIRE(told.ttl() == 7);
  REQUIRE(told.grantedttl() == 10);
  REQUIRE(told.keys_size() == 2);
}

TEST_CASE("engine: compacts by itself, keeping what is young") {
  World world;
  world.options.keep_revisions = 3;
  Engine& engine = world.open();
  for (int i = 0; i < 20; ++i) REQUIRE(put(engine, "a", "1"));
  world.clock.advance(5min + 1s);
  engine.wake();
  // What was written since the last look is younger than the interval.
  REQUIRE(range(engine, "a", "", 2)->kvs_size() == 1);
  REQUIRE(put(engine, "a", "2"));
  world.clock.advance(5min + 1s);
  engine.wake();
  REQUIRE(eventually([&] { return !range(engine, "a", "", 2); }));
  REQUIRE(range(engine, "a", "", engine.revision() - 3)->kvs_size() == 1);
  SQLite::Database file(world.options.file.string(), SQLite::OPEN_READONLY);
  REQUIRE(eventually([&] { return file.execAndGet("SELECT count(*) FROM log").getInt64() <= 4; }));
}

TEST_CASE("engine: a slow watcher is fed from the file and misses nothing") {
  World world;
  Engine& engine = world.open();
  auto reader = std::make_shared<Reader>(3);
  engine.watch_create(reader, {.key = "a", .range_end = "b"});
  REQUIRE(eventually([&] { return reader->get([](auto& r) { return r.created_; }); }));
  std::vector<std::string> wanted;
  for (int i = 0; i < 800; ++i) {
    wanted.push_back(fmt::format("a{:05}=v", i));
    REQUIRE(put(engine, fmt::format("a{:05}", i), "v"));
    REQUIRE(put(engine, "x", "v"));
  }
  // It took three deliveries and was asked once more.
  REQUIRE(reader->get([](auto& r) { return r.seen_.size(); }) == 3);
  REQUIRE(reader->get([](auto& r) { return r.refused_; }) == 1);
  engine.watch_progress(reader);
  for (int i = 0; i < 100 && reader->get([](auto& r) { return r.progress_; }) == 0; ++i) {
    reader->make_room(1);
    engine.watch_resume(reader);
    std::this_thread::sleep_for(5ms);
  }
  REQUIRE(reader->get([](auto& r) { return r.seen_; }) == wanted);
  REQUIRE(reader->get([](auto& r) { return r.progress_; }) == engine.revision());
  engine.watch_close(reader);
}

TEST_CASE("engine: a watcher that falls behind a compaction is told") {
  World world;
  Engine& engine = world.open();
  auto reader = std::make_shared<Reader>(0);
  engine.watch_create(reader, {.key = "a"});
  REQUIRE(eventually([&] { return reader->get([](auto& r) { return r.created_; }); }));
  for (int i = 0; i < 10; ++i) REQUIRE(put(engine, "a", "1"));
  REQUIRE(compact(engine, engine.revision()));
  engine.watch_resume(reader);
  REQUIRE(eventually([&] { return reader->get([](auto& r) { return r.compacted_; }) == 11; }));
}

TEST_CASE("engine: beyond the quota only deletes are taken") {
  World world;
  world.options.limits.quota_bytes = 1 << 20;
  Engine& engine = world.open();
  std::string value(100 * 1024, 'x');
  Result<pb::PutResponse> last;
  int stored = 0;
  for (; stored < 100; ++stored) {
    last = put(engine, fmt::format("a{}", stored), value);
    if (!last) break;
  }
  REQUIRE_FALSE(last);
  REQUIRE(last.error().code == Code::kResourceExhausted);
  REQUIRE(last.error().what == etcd::kNoSpace.text);
  pb::StatusResponse status;
  REQUIRE(wait_for([&](auto done) { engine.status(status, done); }));
  REQUIRE(status.errors_size() == 1);
  for (int i = 0; i < stored; ++i) REQUIRE(erase(engine, fmt::format("a{}", i)));
  REQUIRE(compact(engine, engine.revision()));
  REQUIRE(put(engine, "b", value));
}

TEST_CASE("engine: files of others, of the future, and in use are refused with a reason") {
  World world;
  SECTION("another program's database") {
    SQLite::Database(world.options.file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
        .exec("CREATE TABLE theirs (a)");
    auto opened = Engine::open(world.options, world.clock, Logger());
    REQUIRE(opened.error().code == Code::kFailedPrecondition);
    REQUIRE(opened.error().what.ends_with("store.db is a database, but not of a store"));
  }
  SECTION("no database at all") {
    std::ofstream(world.options.file) << std::string(5000, 'x');
    auto opened = Engine::open(world.options, world.clock, Logger());
    REQUIRE(opened.error().code == Code::kDataLoss);
    REQUIRE(opened.error().what.contains("file is not a database"));
  }
  SECTION("a newer schema") {
    world.open();
    world.engine.reset();
    SQLite::Database(world.options.file.string(), SQLite::OPEN_READWRITE)
        .exec("PRAGMA user_version = 99");
    auto opened = Engine::open(world.options, world.clock, Logger());
    REQUIRE(opened.error().code == Code::kFailedPrecondition);
    REQUIRE(opened.error().what.contains("has schema 99; this program knows up to 1"));
  }
  SECTION("in use") {
    world.open();
    auto opened = Engine::open(world.options, world.clock, Logger());
    REQUIRE(opened.error().code == Code::kFailedPrecondition);
    REQUIRE(opened.error().what.ends_with("is in use by another process"));
  }
}

TEST_CASE("engine: a burst shares commits, and each request gets its own answer") {
  World world;
  Engine& engine = world.open();
  constexpr int kRequests = 2000;
  std::vector<pb::PutRequest> requests(kRequests);
  std::vector<pb::PutResponse> responses(kRequests);
  std::atomic<int> good = 0;
  std::atomic<int> bad = 0;
  for (std::size_t i = 0; i < kRequests; ++i) {
    requests[i].set_key(i % 10 == 0 ? "" : fmt::format("{}", i));
    engine.put(requests[i], responses[i],
               [&](const Result<void>& result) { result ? ++good : ++bad; });
  }
  REQUIRE(eventually([&] { return good + bad == kRequests; }));
  REQUIRE(bad == kRequests / 10);
  REQUIRE(engine.revision() == 1 + good);
}

TEST_CASE("engine: the store's files are nobody else's to read") {
  World world;
  REQUIRE(put(world.open(), "a", "1"));
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
    auto rights = std::filesystem::status(world.options.file.string() + suffix).permissions();
    REQUIRE((rights & std::filesystem::perms(077)) == std::filesystem::perms::none);
  }
}

TEST_CASE("engine: more than the queue holds is refused") {
  World world;
  world.options.queue_bytes = 100;
  REQUIRE(put(world.open(), "a", "1"));
  REQUIRE(put(*world.engine, "a", std::string(200, 'x')).error().what ==
          etcd::kTooManyRequests.text);
  world.options.queue_requests = 0;
  REQUIRE(put(world.open(), "a", "1").error().what == etcd::kTooManyRequests.text);
}

}  // namespace
}  // namespace tombolo
