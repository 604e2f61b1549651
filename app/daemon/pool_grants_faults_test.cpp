// What operators and broken records do to a pool that clusters share.
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "app/daemon/pool_grants.h"
#include "app/daemon/test_sharing.h"

namespace tombolo {
namespace {

using namespace sharing_test;

std::size_t granted_by(const Cluster& home) {
  auto granted = home.grants.granted_to_others();
  return granted ? granted->size() : 99;
}

TEST_CASE("pool of two clusters: the home's document goes, and its grants stay until given back") {
  World world;
  int changes = 0;
  world.east.grants.on_granted([&] { ++changes; });
  for (int i = 0; i < 10; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.drive.until([&] { return granted_by(world.east) == 2; }));
  REQUIRE(changes > 0);
  world.east.pools.clear();
  REQUIRE(world.drive.until([&] { return world.east.held() == 0; }));
  REQUIRE(granted_by(world.east) == 2);
  // West goes on in its parts, and no further.
  int more = 10;
  while (more < 30 && world.west.start_pod(fmt::format("w{}", more))) ++more;
  REQUIRE(more < 17);
  REQUIRE(granted_by(world.east) == 2);
  for (int i = 0; i < more; ++i) world.west.end_pod(fmt::format("w{}", i));
  world.west.pools.clear();
  REQUIRE(world.drive.until([&] { return granted_by(world.east) == 0; }));
}

TEST_CASE("pool of two clusters: a cluster that was the home by mistake makes way") {
  World world;
  grants::GrantLedger mistake;
  mistake.pool = "campus";
  mistake.home = "west";
  mistake.store_id = 2;
  mistake.generation = {1, 77};
  MemoryKv kv(world.west_store);
  std::string key = grants::ledger_key("campus");
  REQUIRE(world.drive.run(kv.put({key, grants::encode(mistake), 0})));
  REQUIRE(world.drive.until([&] { return !world.drive.run(kv.get(key)).value(); }));
  for (int i = 0; i < 10; ++i) world.west.must_start(fmt::format("w{}", i));
  // One that has granted something stays, and says so.
  mistake.recovering = false;
  mistake.grants = {{5, Prefix::parse("10.9.0.24/29").value(), "north"}};
  REQUIRE(world.drive.run(kv.put({key, grants::encode(mistake), 0})));
  REQUIRE(world.drive.until([&] {
    return world.west.problem().find("was the home") != std::string::npos &&
           world.east.problem().find("nothing is granted") != std::string::npos;
  }));
  REQUIRE(world.drive.run(kv.get(key)).value());
}

TEST_CASE(
    "pool of two clusters: a claim that cannot be read is somebody's, and stops nobody else") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 3);
  // In the part of one of the pods; and one that is of no address.
  AddressClaim odd = world.west.pods.at("w19");
  MemoryKv kv(world.west_store);
  for (int i = 2; i < 20; ++i) world.west.end_pod(fmt::format("w{}", i));
  REQUIRE(world.drive.run(kv.put({records::claim_key(odd), "{", 0})));
  std::string nonsense = fmt::format("{}campus/nonsense", records::kClaimsPrefix);
  REQUIRE(world.drive.run(kv.put({nonsense, "{", 0})));
  for (int i = 0; i < 12; ++i) world.east.must_start(fmt::format("e{}", i));
  for (const auto& [pod, claim] : world.east.pods) REQUIRE(claim.ip != odd.ip);
  REQUIRE(distinct(world.east, world.west) == world.all());
}

asio::awaitable<void> pass_time() {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  for (int i = 0; i < 50; ++i) co_await asio::post(asio::use_awaitable);
}

// Its calls end in their own time, cancelled or not, as those over a network do.
class LateKv final : public MemoryKv {
 public:
  using MemoryKv::MemoryKv;
  asio::awaitable<Result<RangeResult>> range(RangeRequest request) override {
    auto executor = co_await asio::this_coro::executor;
    co_await asio::co_spawn(executor, pass_time(), asio::use_awaitable);
    co_return co_await MemoryKv::range(std::move(request));
  }
};

TEST_CASE("pool of two clusters: a controller that stops while a link is replaced ends well") {
  int handlers = GENERATE(0, 1, 2, 3, 5, 8, 40);
  World world;
  auto late = [&] { return std::make_unique<LateKv>(world.west_store); };
  world.east.hears("west", late());
  world.drive.settle_some(10);
  world.east.tasks.spawn("replace", world.east.grants.add_remote("west", late()));
  world.drive.settle_some(handlers);
}

}  // namespace
}  // namespace tombolo
