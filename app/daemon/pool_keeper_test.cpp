// Pools in the store: published when they are good, kept when they are not, over restarts too; and
// what is told of pods only while there are pools.
#include "app/daemon/pool_keeper.h"

#include <catch2/catch_test_macros.hpp>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

PoolObject pool(const std::string& name, const std::string& spec) {
  auto documents = parse_yaml(
      fmt::format("apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: {}}}\n"
                  "spec: {{{}}}\n",
                  name, spec),
      name + ".yaml");
  REQUIRE(documents);
  return parse_pool_object(documents->front().root()).value();
}

struct Store {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  MemoryStore store{drive.executor()};
};

// One life of a controller.
struct Life {
  Store& world;
  MemoryKv kv{world.store};
  TaskGroup tasks{world.drive.executor()};
  ControllerTables tables;
  std::optional<std::vector<PoolUse>> uses = std::vector<PoolUse>();
  Table<PoolObject>::Writer written = tables.pool_objects.take_writer("test");
  Table<PodInfo>::Writer infos = tables.pod_infos.take_writer("test");
  Table<PlanBlock>::Writer plan = tables.plan_blocks.take_writer("test");
  Settling settling;
  PoolKeeper keeper;

  explicit Life(Store& store)
      : world(store),
        keeper(
            {50ms, 1s}, tables, [this] { return uses; }, tables.status.take_writer("test"),
            RoleContext{kv, tasks, *world.clock, *world.rng, Logger()}) {
    plan.mark_synced();
    keeper.start(settling);
  }
  ~Life() {
    tasks.cancel();
    world.drive.until([&] { return tasks.size() == 0; });
  }
  void write(std::vector<PoolObject> objects) {
    written.replace_all(std::move(objects));
    written.mark_synced();
  }
  std::map<std::string, std::string> stored(std::string_view prefix) {
    RangeRequest request;
    request.key = prefix;
    request.range_end = prefix_end(prefix);
    auto range = world.drive.run(kv.range(std::move(request)));
    REQUIRE(range.has_value());
    std::map<std::string, std::string> found;
    for (const KeyValue& pair : range->kvs) found[pair.key] = pair.value;
    return found;
  }
  bool becomes(std::string_view prefix, const std::vector<std::string>& keys) {
    auto same = [&] {
      std::vector<std::string> there;
      for (const auto& [key, value] : stored(prefix)) there.push_back(key);
      return there == keys;
    };
    return world.drive.until(same, 10s);
  }
  std::string error() const {
    const ReconcileStatus* line = tables.status.find("address pools|");
    return line == nullptr ? "" : line->error;
  }
};

TEST_CASE("good pools are published, bad ones leave the last good ones, over a restart too") {
  Store store;
  {
    Life life(store);
    life.write({pool("a", "subnet: 10.0.0.0/24")});
    REQUIRE(life.becomes(records::kPoolsPrefix, {"tombolo/v1/pools/a"}));
    auto value = life.stored(records::kPoolsPrefix).at("tombolo/v1/pools/a");
    REQUIRE(records::decode_pool_object({"tombolo/v1/pools/a", value})->place == "a.yaml:1");
    life.write({pool("a", "subnet: 10.0.0.0/24"), pool("b", "subnet: 10.0.0.0/25")});
    REQUIRE(store.drive.until([&] { return !life.error().empty(); }, 10s));
    REQUIRE(life.error() == "a.yaml:1: the pools 'b' and 'a' would both give out 10.0.0.1");
    REQUIRE(life.becomes(records::kPoolsPrefix, {"tombolo/v1/pools/a"}));
  }
  Life life(store);
  life.write({pool("a", "subnet: 10.0.1.0/24"), pool("c", "subnet: 10.0.2.0/24")});
  REQUIRE(store.drive.until([&] { return !life.error().empty(); }, 10s));
  REQUIRE(life.error() ==
          "a.yaml:1: the pool 'a': subnet is 10.0.1.0/24, in force is 10.0.0.0/24: that never "
          "changes; a pool of another name may have it");
  REQUIRE(life.becomes(records::kPoolsPrefix, {"tombolo/v1/pools/a"}));
  life.write({pool("a", "subnet: 10.0.0.0/24"), pool("c", "subnet: 10.0.2.0/24")});
  REQUIRE(life.becomes(records::kPoolsPrefix, {"tombolo/v1/pools/a", "tombolo/v1/pools/c"}));
  REQUIRE(life.error().empty());
}

TEST_CASE("a pool in use gives out nothing and stays until it is not") {
  Store store;
  Life life(store);
  life.uses = std::vector<PoolUse>{{"a", Prefix::parse("10.0.0.1/32").value()}};
  life.write({pool("a", "subnet: 10.0.0.0/24")});
  REQUIRE(life.becomes(records::kPoolsPrefix, {"tombolo/v1/pools/a"}));
  life.write({});
  auto leaving = [&] {
    auto value = life.stored(records::kPoolsPrefix).at("tombolo/v1/pools/a");
    return records::decode_pool_object({"tombolo/v1/pools/a", value})->leaving;
  };
  REQUIRE(store.drive.until(leaving, 10s));
  // It is looked at again and again, and stays.
  std::uint64_t judged = life.tables.status.revision();
  store.drive.until([&] { return life.tables.status.revision() > judged + 100; }, 200ms);
  REQUIRE(leaving());
  life.uses = std::vector<PoolUse>();
  REQUIRE(life.becomes(records::kPoolsPrefix, {}));
}

TEST_CASE("pods are told of while there are pools") {
  Store store;
  {
    Life life(store);
    life.infos.upsert({"shop", "db", "StatefulSet", "StatefulSet/db", {}, {}, {}, {}, 2});
    life.infos.mark_synced();
    life.write({});
    REQUIRE(store.drive.until([&] { return life.keeper.pools().synced(); }));
    REQUIRE(life.becomes(records::kPodInfoPrefix, {}));
    life.write({pool("a", "subnet: 10.0.0.0/24")});
    REQUIRE(life.becomes(records::kPodInfoPrefix, {"tombolo/v1/podinfo/shop/db/StatefulSet"}));
    life.infos.upsert({"shop", "web", "Pod", "", {}, {}, {}, {}, 0});
    REQUIRE(life.becomes(records::kPodInfoPrefix, {"tombolo/v1/podinfo/shop/db/StatefulSet",
                                                   "tombolo/v1/podinfo/shop/web/Pod"}));
    life.infos.erase("shop/db/StatefulSet");
    REQUIRE(life.becomes(records::kPodInfoPrefix, {"tombolo/v1/podinfo/shop/web/Pod"}));
  }
  // Another life that knows no pods yet takes nothing back; without pools it does.
  Life life(store);
  REQUIRE(store.drive.until([&] { return life.keeper.pools().size() == 1; }));
  REQUIRE(life.becomes(records::kPodInfoPrefix, {"tombolo/v1/podinfo/shop/web/Pod"}));
  life.write({});
  REQUIRE(life.becomes(records::kPoolsPrefix, {}));
  REQUIRE(life.becomes(records::kPodInfoPrefix, {}));
}

TEST_CASE("nothing is decided before it is known what is in use") {
  Store store;
  Life life(store);
  life.uses.reset();
  life.write({pool("a", "subnet: 10.0.0.0/24")});
  REQUIRE(store.drive.until([&] { return life.tables.pool_objects.synced(); }));
  REQUIRE_FALSE(store.drive.until([&] { return life.keeper.pools().synced(); }, 100ms));
  life.uses = std::vector<PoolUse>();
  life.keeper.reconsider();
  REQUIRE(life.becomes(records::kPoolsPrefix, {"tombolo/v1/pools/a"}));
}

}  // namespace
}  // namespace tombolo
