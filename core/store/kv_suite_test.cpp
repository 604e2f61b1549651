// The semantics of the Kv port, against every engine behind it: the in-memory store, the client
// with the embedded server, and the client with Debian's etcd.
#include <grpc/grpc.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include "core/store/drive.h"
#include "core/store/etcd_client.h"
#include "core/store/memory_kv.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// Real stores are started once for all cases; every case works under a prefix of its own.
struct SharedStores {
  std::unique_ptr<TestStore> embedded = std::make_unique<EmbeddedStore>();
  std::unique_ptr<TestStore> etcd = EtcdStore::start();
};
std::unique_ptr<SharedStores> shared_stores;

TestStore* shared_store(bool etcd) {
  if (shared_stores == nullptr) shared_stores = std::make_unique<SharedStores>();
  return (etcd ? shared_stores->etcd : shared_stores->embedded).get();
}

// Ends them before the process does: gRPC takes itself down on a thread of its own.
class EndOfRun final : public Catch::EventListenerBase {
 public:
  using EventListenerBase::EventListenerBase;
  void testRunEnded(const Catch::TestRunStats&) override {
    shared_stores.reset();
    grpc_shutdown_blocking();
  }
  void testRunStarting(const Catch::TestRunInfo&) override { grpc_init(); }
};
CATCH_REGISTER_LISTENER(EndOfRun)

struct World {
  Drive drive;
  MemoryStore memory{drive.executor()};
  std::unique_ptr<Kv> kv;
  std::unique_ptr<Kv> other;
  std::string prefix;

  explicit World(const std::string& engine) {
    static int serial = 0;
    prefix = fmt::format("case-{}/", ++serial);
    kv = connect(engine);
    other = connect(engine);
  }
  std::unique_ptr<Kv> connect(const std::string& engine) {
    if (engine == "memory") return std::make_unique<MemoryKv>(memory);
    TestStore* store = shared_store(engine == "etcd");
    if (store == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
    EtcdClientOptions options;
    options.endpoints = store->endpoints();
    auto client = make_etcd_client(options, drive.executor());
    REQUIRE(client);
    return std::move(*client);
  }
  std::string key(const std::string& name) const { return prefix + name; }
  std::int64_t put(const std::string& name, const std::string& value, std::int64_t lease = 0) {
    auto done = drive.run(kv->put({key(name), value, lease}));
    REQUIRE(done);
    return *done;
  }
  RangeRequest all() const { return {.key = prefix, .range_end = prefix_end(prefix)}; }
  WatchRequest watch_all(std::int64_t start = 0) const {
    return {.key = prefix, .range_end = prefix_end(prefix), .start_revision = start};
  }
};

std::string an_engine() {
  return GENERATE(as<std::string>(), "memory", "embedded", "etcd");
}

TEST_CASE("kv: pairs carry their revisions and versions") {
  World world(an_engine());
  std::int64_t first = world.put("a", "1");
  std::int64_t second = world.put("a", "2");
  REQUIRE(second == first + 1);
  auto got = world.drive.run(world.kv->get(world.key("a")));
  REQUIRE(got);
  REQUIRE(**got == KeyValue{world.key("a"), "2", first, second, 2, 0});
  REQUIRE(world.drive.run(world.kv->erase({world.key("a"), ""})) == second + 1);
  REQUIRE_FALSE(*world.drive.run(world.kv->get(world.key("a"))));
  std::int64_t third = world.put("a", "3");
  REQUIRE(world.drive.run(world.kv->get(world.key("a")))->value().create_revision == third);
  // Deleting what is absent changes nothing.
  REQUIRE(world.drive.run(world.kv->erase({world.key("none"), ""})) == third);
}

TEST_CASE("kv: pages, counts, keys only, the past and the future") {
  World world(an_engine());
  std::int64_t last = 0;
  for (int i = 0; i < 5; ++i) last = world.put(fmt::format("{}", i), "value");
  RangeRequest request = world.all();
  request.limit = 2;
  request.keys_only = true;
  auto page = world.drive.run(world.kv->range(request));
  REQUIRE(page);
  REQUIRE(page->kvs.size() == 2);
  REQUIRE(page->kvs[0].value.empty());
  REQUIRE(page->more);
  REQUIRE(page->count == 5);
  REQUIRE(page->cluster_id != 0);
  request.key = page->kvs[1].key + '\0';
  request.limit = 3;
  page = world.drive.run(world.kv->range(request));
  REQUIRE(page->kvs.size() == 3);
  REQUIRE_FALSE(page->more);
  request = world.all();
  request.revision = last - 2;
  REQUIRE(world.drive.run(world.kv->range(request))->kvs.size() == 3);
  request.revision = last + 1000;
  auto future = world.drive.run(world.kv->range(request));
  REQUIRE(future.error().code == Code::kOutOfRange);
  REQUIRE(future.error().what == "etcdserver: mvcc: required revision is a future revision");
}

TEST_CASE("kv: a transaction compares, then does all of one branch under one revision") {
  World world(an_engine());
  world.put("a", "1");
  TxnRequest request;
  request.compares.push_back(
      {.key = world.key("a"), .target = Compare::Target::kVersion, .number = 1});
  request.compares.push_back(
      {.key = world.key("a"), .target = Compare::Target::kValue, .value = "1"});
  request.then = {Put{world.key("b"), "2"}, Delete{world.key("a"), ""}, world.all()};
  request.otherwise = {world.all()};
  auto done = world.drive.run(world.kv->txn(request));
  REQUIRE(done);
  REQUIRE(done->succeeded);
  REQUIRE(done->ranges.size() == 1);
  REQUIRE(done->ranges[0].kvs.size() == 1);
  REQUIRE(done->ranges[0].kvs[0].mod_revision == done->revision);
  auto again = world.drive.run(world.kv->txn(request));
  REQUIRE_FALSE(again->succeeded);
  REQUIRE(again->revision == done->revision);
  REQUIRE(again->ranges[0].count == 1);
}

TEST_CASE("kv: bad transactions are refused whole") {
  std::string engine = an_engine();
  World world(engine);
  struct Case {
    std::string name;
    std::vector<Operation> operations;
    Code code;
    std::string what;
  };
  std::string a = world.key("a");
  std::vector<Operation> many;
  for (int i = 0; i < 129; ++i) many.emplace_back(Put{world.key(fmt::format("{}", i)), "v"});
  std::vector<Case> cases{
      {"the same key twice",
       {Put{a, "1"}, Put{a, "2"}},
       Code::kInvalidArgument,
       "etcdserver: duplicate key given in txn request"},
      {"put and delete of one key",
       {Put{a, "1"}, Delete{a, ""}},
       Code::kInvalidArgument,
       "etcdserver: duplicate key given in txn request"},
      {"put inside a deleted range",
       {Delete{world.prefix, prefix_end(world.prefix)}, Put{a, "1"}},
       Code::kInvalidArgument,
       "etcdserver: duplicate key given in txn request"},
      {"too many operations", many, Code::kInvalidArgument,
       "etcdserver: too many operations in txn request"},
      {"empty key", {Put{"", "1"}}, Code::kInvalidArgument, "etcdserver: key is not provided"},
      {"no such lease",
       {Put{world.key("x"), "1"}, Put{a, "1", 4711}},
       Code::kNotFound,
       "etcdserver: requested lease not found"},
      {"too large",
       {Put{a, std::string(1600 * 1024, 'x')}},
       Code::kInvalidArgument,
       "etcdserver: request is too large"},
  };
  for (const Case& one : cases) {
    INFO(one.name);
    TxnRequest request;
    request.then = one.operations;
    auto refused = world.drive.run(world.kv->txn(request));
    REQUIRE_FALSE(refused);
    REQUIRE(refused.error().code == one.code);
    REQUIRE(refused.error().what == one.what);
    REQUIRE(world.drive.run(world.kv->range(world.all()))->count == 0);
  }
}

TEST_CASE("kv: a watch hears what comes, from now or from the past, in order") {
  World world(an_engine());
  std::int64_t first = world.put("a", "1");
  auto now = world.drive.run(world.other->watch(world.watch_all()));
  REQUIRE(now);
  auto past = world.drive.run(world.other->watch(world.watch_all(first)));
  REQUIRE(past);
  world.put("b", "2");
  REQUIRE(world.drive.run(world.kv->erase({world.key("a"), ""})));
  auto collect = [&](Watch& watch, std::size_t wanted) {
    std::vector<std::string> seen;
    while (seen.size() < wanted) {
      auto batch = world.drive.run(watch.next());
      REQUIRE(batch);
      for (const WatchEvent& event : batch->events)
        seen.push_back((event.kind == WatchEvent::Kind::kPut ? "+" : "-") +
                       event.kv.key.substr(world.prefix.size()) + event.kv.value);
    }
    return seen;
  };
  REQUIRE(collect(**now, 2) == std::vector<std::string>{"+b2", "-a"});
  REQUIRE(collect(**past, 3) == std::vector<std::string>{"+a1", "+b2", "-a"});
  // Progress without events tells the revision.
  REQUIRE(world.drive.run((*now)->request_progress()));
  auto progress = world.drive.run((*now)->next());
  REQUIRE(progress);
  REQUIRE(progress->events.empty());
  REQUIRE(progress->revision == first + 2);
}

TEST_CASE("kv: a cancelled watch says so to who waits") {
  World world(an_engine());
  auto watch = world.drive.run(world.kv->watch(world.watch_all()));
  REQUIRE(watch);
  std::optional<Code> code;
  asio::co_spawn(world.drive.context(), (*watch)->next(), [&](std::exception_ptr, auto batch) {
    code = batch ? Code::kInternal : batch.error().code;
  });
  world.drive.settle();
  (*watch)->cancel();
  REQUIRE(world.drive.until([&] { return code.has_value(); }));
  REQUIRE(*code == Code::kCancelled);
  REQUIRE(world.drive.run((*watch)->next()).error().code == Code::kCancelled);
}

TEST_CASE("kv: leases hold keys until they are given back") {
  World world(an_engine());
  auto lease = world.drive.run(world.kv->lease_grant(60s));
  REQUIRE(lease);
  REQUIRE(*lease != 0);
  world.put("a", "1", *lease);
  world.put("b", "1");
  REQUIRE(world.drive.run(world.kv->lease_keep_alive(*lease)));
  REQUIRE(world.drive.run(world.kv->get(world.key("a")))->value().lease == *lease);
  REQUIRE(world.drive.run(world.kv->lease_revoke(*lease)));
  REQUIRE(world.drive.run(world.kv->range(world.all()))->count == 1);
  REQUIRE(world.drive.run(world.kv->lease_keep_alive(*lease)).error().code == Code::kNotFound);
  REQUIRE(world.drive.run(world.kv->lease_revoke(*lease)).error().code == Code::kNotFound);
}

TEST_CASE("kv: another store than expected is an error") {
  World world(an_engine());
  WatchRequest request = world.watch_all();
  request.cluster_id = 1234567;
  auto watch = world.drive.run(world.kv->watch(request));
  REQUIRE_FALSE(watch);
  REQUIRE(watch.error().code == Code::kAborted);
}

TEST_CASE("kv: a large burst of events arrives whole and in order") {
  World world(an_engine());
  auto watch = world.drive.run(world.other->watch(world.watch_all()));
  REQUIRE(watch);
  // About 20 MiB, more than any queue on the way holds, before anybody reads.
  constexpr int kWrites = 200;
  for (int i = 0; i < kWrites; ++i)
    world.put(fmt::format("{:04}", i), std::string(100 * 1024, 'x'));
  int seen = 0;
  while (seen < kWrites) {
    auto batch = world.drive.run((*watch)->next());
    REQUIRE(batch);
    for (const WatchEvent& event : batch->events) {
      REQUIRE(event.kv.key == world.key(fmt::format("{:04}", seen)));
      REQUIRE(event.kv.value.size() == 100 * 1024);
      ++seen;
    }
  }
}

}  // namespace
}  // namespace tombolo
