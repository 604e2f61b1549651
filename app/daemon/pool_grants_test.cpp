// Clusters that share a pool, each with its store, its controller's half and a node: through cuts,
// restores and the end of a cluster no address is two pods'.
#include "app/daemon/pool_grants.h"

#include "app/daemon/test_sharing.h"
#include "core/store/etcd_client.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

using namespace sharing_test;

TEST_CASE("pool of two clusters: each its parts, more when needed, and back when the other needs") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 3);
  world.east.must_start("e0");
  REQUIRE(distinct(world.east, world.west) == 21);
  for (int i = 4; i < 20; ++i) world.west.end_pod(fmt::format("w{}", i));
  // East needs a second part: one of west's, when it is empty.
  for (int i = 1; i < 12; ++i) world.east.must_start(fmt::format("e{}", i));
  REQUIRE(distinct(world.east, world.west) == world.all());
  REQUIRE(world.east.held() >= 2);
}

TEST_CASE("pool of two clusters: cut off, each goes on in what it has and no further") {
  World world;
  world.link(false);
  int west = 0;
  while (west < 30 && world.west.start_pod(fmt::format("w{}", west))) ++west;
  REQUIRE(west >= 6);
  REQUIRE(west <= 8);
  int east = 0;
  while (east < 9) world.east.must_start(fmt::format("e{}", east++));
  REQUIRE(distinct(world.east, world.west) == world.all());
  world.link(true);
  world.west.must_start("more");
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: the home's store is put back, and what it forgot is not given") {
  World world;
  MemoryStore::Backup backup = world.east_store.backup();
  for (int i = 0; i < 10; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 2);
  world.link(false);
  world.east_store.restore(backup, 11);
  world.east.reconcile();
  // The home asks west first, and west cannot be asked.
  REQUIRE(world.drive.until(
      [&] { return world.east.problem().find("what west has is known") != std::string::npos; }));
  REQUIRE_FALSE(world.east.start_pod("early"));
  world.link(true);
  int east = 0;
  while (east < 12) world.east.must_start(fmt::format("e{}", east++));
  REQUIRE(distinct(world.east, world.west) == world.all());
  // West's two parts are not east's, however much it wants.
  for (; east < 30 && world.east.start_pod(fmt::format("e{}", east)); ++east) continue;
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: a grantee's store is put back, and what it forgot is still its") {
  World world;
  MemoryStore::Backup backup = world.west_store.backup();
  for (int i = 0; i < 10; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 2);
  world.link(false);
  world.west_store.restore(backup, 12);
  world.west.reconcile_restored();
  // Before the home has answered nothing new is claimed there.
  REQUIRE_FALSE(world.west.start_pod("early"));
  for (int i = 0; i < 9; ++i) world.east.must_start(fmt::format("e{}", i));
  world.link(true);
  for (int i = 10; i < 15; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: a grantee's store is put back to parts that it has returned") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 3);
  MemoryStore::Backup backup = world.west_store.backup();
  for (int i = 4; i < 20; ++i) world.west.end_pod(fmt::format("w{}", i));
  for (int i = 0; i < 12; ++i) world.east.must_start(fmt::format("e{}", i));
  REQUIRE(world.east.held() >= 2);
  world.link(false);
  world.west_store.restore(backup, 12);
  world.west.reconcile_restored();
  REQUIRE_FALSE(world.west.start_pod("early"));
  world.link(true);
  for (int i = 4; i < 8; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: one is gone for ever, and an operator says so") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  // Not while it is heard.
  REQUIRE(world.drive.run(world.east.grants.reclaim("campus", "west", false)).error().code ==
          Code::kFailedPrecondition);
  world.link(false);
  REQUIRE(world.drive.run(world.west.grants.reclaim("campus", "east", false)).error().code ==
          Code::kFailedPrecondition);
  REQUIRE(world.drive.run(world.east.grants.reclaim("campus", "north", false)).error().code ==
          Code::kNotFound);
  REQUIRE(world.drive.run(world.east.grants.reclaim("campus", "west", true)).value().size() == 3);
  REQUIRE(world.drive.run(world.east.grants.reclaim("campus", "west", false)).value().size() == 3);
  for (int i = 0; i < 20; ++i) world.east.must_start(fmt::format("e{}", i));
  // It was not: from the first word of the home on it takes no new address of those parts.
  world.link(true);
  REQUIRE(world.drive.until([&] {
    return world.west.problem().find("in use in another cluster too") != std::string::npos;
  }));
  REQUIRE(world.drive.until([&] { return world.west.held() <= 1; }));
}

TEST_CASE("pool of two clusters on real stores: one is stopped and started again") {
  Drive drive;
  EmbeddedStore east_store;
  EmbeddedStore west_store;
  auto to = [&drive](const EmbeddedStore& store) {
    EtcdClientOptions options;
    options.endpoints = store.endpoints();
    auto client = make_etcd_client(std::move(options), drive.executor());
    REQUIRE(client);
    return std::move(*client);
  };
  Cluster east("east", drive, [&] { return to(east_store); });
  Cluster west("west", drive, [&] { return to(west_store); });
  east.hears("west", to(west_store));
  west.hears("east", to(east_store));
  REQUIRE(drive.until([&] { return east.held() == 1 && west.held() == 1; }));
  for (int i = 0; i < 4; ++i) {
    east.must_start(fmt::format("e{}", i));
    west.must_start(fmt::format("w{}", i));
  }
  east_store.stop();
  for (int i = 4; i < 6; ++i) west.must_start(fmt::format("w{}", i));
  REQUIRE_FALSE(east.start_pod("away"));
  east_store.start();
  for (int i = 6; i < 11; ++i) west.must_start(fmt::format("w{}", i));
  for (int i = 4; i < 10; ++i) east.must_start(fmt::format("e{}", i));
  REQUIRE(distinct(east, west) == 21);
}

}  // namespace
}  // namespace tombolo
