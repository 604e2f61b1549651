// Rows become keys; what the store loses is written again; strangers' keys are left alone.
#include "core/store/publisher.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/store/drive.h"
#include "core/store/lease_keeper.h"
#include "core/store/memory_kv.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

struct Row {
  std::string name;
  std::string value;
  std::string key() const { return name; }
  bool operator==(const Row&) const = default;
};

Result<std::optional<Put>> encode(const Row& row) {
  if (row.value == "bad") return fail(Code::kInvalidArgument, "{} is bad", row.name);
  if (row.value == "private") return std::optional<Put>();
  return std::optional<Put>(Put{"p/" + row.name, row.value});
}

using Keys = std::map<std::string, std::string>;

struct World {
  Drive drive;
  MemoryStore store{drive.executor(), 1};
  MemoryKv kv{store};
  MemoryKv other{store};
  RevisionCounter revisions;
  Table<Row> table{"rows", revisions};
  Table<ReconcileStatus> status{"status", revisions};
  Table<Row>::Writer writer = table.take_writer("test");
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  std::unique_ptr<KvPublisher<Row>> publisher;
  std::unique_ptr<Reconciler<Row>> reconciler;

  void start(PublishOptions options = {}) {
    options.prefix = "p/";
    options.check_interval = 5ms;
    options.retry_base = 1ms;
    options.retry_cap = 2ms;
    publisher =
        std::make_unique<KvPublisher<Row>>(options, kv, encode, tasks, *clock, *rng, Logger());
    ReconcilerOptions reconcile{"publisher", 1ms, 2ms};
    reconciler = std::make_unique<Reconciler<Row>>(reconcile, table, *publisher,
                                                   status.take_writer("reconcilers"), tasks, *clock,
                                                   *rng, Logger());
    tasks.spawn("publisher", publisher->run());
    tasks.spawn("reconciler", reconciler->run());
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  Keys keys() const {
    Keys all;
    auto found = store.range({.key = "p/", .range_end = "p0"});
    for (const KeyValue& pair : found->kvs) all[pair.key] = pair.value;
    return all;
  }
  bool becomes(const Keys& wanted) {
    return drive.until([&] { return keys() == wanted; }, 5s);
  }
};

TEST_CASE("puts, changes and deletes; prunes once the table is synced") {
  World world;
  REQUIRE(world.drive.run(world.other.put({"p/stale", "x"})));
  world.writer.upsert({"a", "1"});
  world.start();
  REQUIRE(world.becomes(Keys{{"p/a", "1"}, {"p/stale", "x"}}));
  world.writer.mark_synced();
  REQUIRE(world.becomes(Keys{{"p/a", "1"}}));
  world.writer.upsert({"a", "2"});
  world.writer.upsert({"b", "1"});
  REQUIRE(world.becomes(Keys{{"p/a", "2"}, {"p/b", "1"}}));
  world.writer.upsert({"b", "private"});
  world.writer.erase("a");
  REQUIRE(world.becomes(Keys{}));
}

TEST_CASE("many rows go out in few transactions") {
  World world;
  for (int i = 0; i < 1000; ++i) world.writer.upsert({fmt::format("{:04}", i), "v"});
  world.start();
  REQUIRE(world.drive.until([&] { return world.keys().size() == 1000; }));
  REQUIRE(world.kv.requests() <= 15);
}

TEST_CASE("a row that does not encode fails alone") {
  World world;
  world.writer.upsert({"a", "bad"});
  world.writer.upsert({"b", "1"});
  world.start();
  REQUIRE(world.becomes(Keys{{"p/b", "1"}}));
  REQUIRE(world.drive.until([&] { return world.status.find("publisher|a") != nullptr; }));
  world.writer.upsert({"a", "2"});
  REQUIRE(world.becomes(Keys{{"p/a", "2"}, {"p/b", "1"}}));
}

TEST_CASE("changes and deletes made while the store was away arrive later") {
  World world;
  world.writer.upsert({"a", "1"});
  world.writer.upsert({"b", "1"});
  world.start();
  REQUIRE(world.becomes(Keys{{"p/a", "1"}, {"p/b", "1"}}));
  world.kv.set_connected(false);
  world.writer.erase("a");
  world.writer.upsert({"b", "2"});
  std::uint64_t before = world.kv.requests();
  REQUIRE(world.drive.until([&] { return world.kv.requests() > before + 3; }));
  world.kv.set_connected(true);
  REQUIRE(world.becomes(Keys{{"p/b", "2"}}));
}

TEST_CASE("what the store lost is written again") {
  struct Case {
    std::string name;
    std::function<void(World&)> lose;
  };
  auto lose = GENERATE(values<Case>({
      {"a foreign delete",
       [](World& world) { REQUIRE(world.drive.run(world.other.erase({"p/a", ""}))); }},
      {"a restored backup",
       [](World& world) {
         REQUIRE(world.drive.run(world.other.put({"p/a", "old"})));
         world.store.restore_as(2);
       }},
  }));
  World world;
  world.writer.upsert({"a", "1"});
  world.writer.mark_synced();
  world.start();
  REQUIRE(world.becomes(Keys{{"p/a", "1"}}));
  REQUIRE(world.drive.until([&] { return world.publisher->keys().repairs() > 0; }));
  // The publisher has seen the store since its last write.
  std::uint64_t before = world.kv.requests();
  REQUIRE(world.drive.until([&] { return world.kv.requests() > before; }));
  lose.lose(world);
  REQUIRE(world.becomes(Keys{{"p/a", "1"}}));
}

TEST_CASE("with a lease: waits for it, and writes all again under the next") {
  World world;
  LeaseKeeper keeper({"test", 1s, 1ms, 2ms}, world.kv, world.tasks, *world.clock, *world.rng,
                     Logger());
  PublishOptions options;
  options.leased = true;
  world.writer.upsert({"a", "1"});
  world.writer.mark_synced();
  world.start(options);
  keeper.on_grant([&](std::int64_t lease) { world.publisher->use_lease(lease); });
  world.drive.settle();
  REQUIRE(world.keys().empty());
  world.tasks.spawn("lease", keeper.run());
  REQUIRE(world.becomes(Keys{{"p/a", "1"}}));
  std::int64_t first = keeper.lease();
  REQUIRE(world.drive.run(world.kv.get("p/a"))->value().lease == first);
  REQUIRE(world.store.lease_revoke(first));
  REQUIRE(world.keys().empty());
  REQUIRE(world.becomes(Keys{{"p/a", "1"}}));
  REQUIRE(keeper.lease() != first);
  REQUIRE(world.drive.run(keeper.release()));
  REQUIRE(world.store.leases() == 0);
}

TEST_CASE("keys of others under a shared prefix are left alone") {
  World world;
  REQUIRE(world.drive.run(world.other.put({"p/theirs", "x"})));
  REQUIRE(world.drive.run(world.other.put({"p/mine-stale", "x"})));
  PublishOptions options;
  options.owns = [](const KeyValue& pair) { return pair.key.starts_with("p/mine"); };
  world.writer.upsert({"mine", "1"});
  world.writer.mark_synced();
  world.start(options);
  REQUIRE(world.becomes(Keys{{"p/mine", "1"}, {"p/theirs", "x"}}));
}

TEST_CASE("a key that is somebody else's by now is not deleted") {
  World world;
  PublishOptions options;
  options.owns = [](const KeyValue& pair) { return pair.value.starts_with("mine"); };
  world.writer.upsert({"moves", "mine 1"});
  world.writer.upsert({"goes", "mine 2"});
  world.writer.mark_synced();
  world.start(options);
  REQUIRE(world.becomes(Keys{{"p/moves", "mine 1"}, {"p/goes", "mine 2"}}));
  REQUIRE(world.drive.run(world.other.put({"p/moves", "theirs"})));
  world.writer.erase("moves");
  world.writer.erase("goes");
  REQUIRE(world.becomes(Keys{{"p/moves", "theirs"}}));
}

}  // namespace
}  // namespace tombolo
