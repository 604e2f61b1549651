// Shared addresses against every store: the in-memory one, the embedded one and Debian's etcd.
#include <grpc/grpc.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include "core/store/etcd_client.h"
#include "core/store/memory_kv.h"
#include "core/store/test_stores.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

// Real stores are started once for all cases.
struct SharedStores {
  std::unique_ptr<TestStore> embedded = std::make_unique<EmbeddedStore>();
  std::unique_ptr<TestStore> etcd = EtcdStore::start();
};
std::unique_ptr<SharedStores> shared_stores;

// Ends them before the process does: gRPC takes itself down on a thread of its own. They are there
// from the beginning, because gRPC 1.51 does not bear that the last channel or server of a process
// goes away on one of its own threads, as the channel of a watch may.
class EndOfRun final : public Catch::EventListenerBase {
 public:
  using EventListenerBase::EventListenerBase;
  void testRunEnded(const Catch::TestRunStats&) override {
    shared_stores.reset();
    grpc_shutdown_blocking();
  }
  void testRunStarting(const Catch::TestRunInfo&) override {
    grpc_init();
    shared_stores = std::make_unique<SharedStores>();
  }
};
CATCH_REGISTER_LISTENER(EndOfRun)

struct World {
  Drive drive;
  MemoryStore memory{drive.executor()};
  std::string engine;
  std::vector<std::unique_ptr<TestNode>> nodes;

  explicit World(std::string which, int count) : engine(std::move(which)) {
    auto cleaner = connect();
    for (std::string_view prefix : {records::kClaimsPrefix, records::kClaimantsPrefix})
      REQUIRE(drive.run(cleaner->erase({std::string(prefix), prefix_end(prefix)})));
    for (int i = 0; i < count; ++i) {
      nodes.push_back(std::make_unique<TestNode>(fmt::format("n{}", i), drive, connect()));
      nodes.back()->wait_synced();
    }
  }
  std::unique_ptr<Kv> connect() {
    if (engine == "memory") return std::make_unique<MemoryKv>(memory);
    TestStore* store = engine == "etcd" ? shared_stores->etcd.get() : shared_stores->embedded.get();
    if (store == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
    EtcdClientOptions options;
    options.endpoints = store->endpoints();
    auto client = make_etcd_client(options, drive.executor());
    REQUIRE(client);
    return std::move(*client);
  }
  void set_pools(const std::vector<ClaimPool>& pools) const {
    for (const auto& node : nodes) node->set_pools(pools);
  }
  TestNode& operator[](std::size_t index) const { return *nodes[index]; }
  // Every claim in the store, read anew.
  std::vector<AddressClaim> stored() {
    auto kv = connect();
    RangeRequest request{.key = std::string(records::kClaimsPrefix),
                         .range_end = prefix_end(records::kClaimsPrefix)};
    auto all = drive.run(kv->range(request));
    REQUIRE(all);
    std::vector<AddressClaim> claims;
    for (const KeyValue& pair : all->kvs) claims.push_back(records::decode_claim(pair).value());
    return claims;
  }
};

std::string an_engine() {
  return GENERATE(as<std::string>(), "memory", "embedded", "etcd");
}

ClaimPool campus(const std::string& last = "10.9.0.40") {
  return {"campus", {range("10.9.0.1", last)}, 0, {0, 0}};
}

TEST_CASE("claims: one address has one holder, and comes back when it is released") {
  World world(an_engine(), 2);
  world.set_pools({campus("10.9.0.1")});
  auto first = world[0].take(wanted("a"));
  REQUIRE(first);
  REQUIRE(first->at(0).key() == "campus/10.9.0.1");
  REQUIRE(first->at(0).node == "n0");
  REQUIRE(first->at(0).sequence > 0);
  auto refused = world[1].take(wanted("b"));
  REQUIRE(refused.error().code == Code::kResourceExhausted);
  // A release of what one does not hold is done already, and touches nothing.
  REQUIRE(world[1].release("a"));
  REQUIRE(world.stored().at(0).holder == "a/eth0");
  REQUIRE(world[0].release("a"));
  REQUIRE(
      world.drive.until([&] { return world[1].claims->usage("campus", Family::kV4).in_use == 0; }));
  auto second = world[1].take(wanted("b"));
  REQUIRE(second);
  REQUIRE(second->at(0).sequence > first->at(0).sequence);
  REQUIRE(world[0].release("a"));
  REQUIRE(world.stored().at(0).holder == "b/eth0");
}

TEST_CASE("claims: all addresses of all interfaces, or none") {
  World world(an_engine(), 1);
  world.set_pools({campus(),
                   {"tiny", {range("10.8.0.1", "10.8.0.1")}, 0, {0, 0}},
                   {"six", {range("fd00::1", "fd00::ff")}, 0, {0, 0}}});
  ClaimWanted eth0 = wanted("a");
  eth0.addresses.push_back({Family::kV6, {"six"}, {}});
  ClaimWanted net1 = wanted("b", "tiny");
  net1.holder = "a/net1";
  auto taken = world.drive.run(world[0].claims->take({eth0, net1}));
  REQUIRE(taken);
  REQUIRE(taken->claims.size() == 2);
  REQUIRE(taken->claims[0].size() == 2);
  REQUIRE(taken->claims[1].at(0).key() == "tiny/10.8.0.1");
  REQUIRE(taken->claims[0][1].sequence == taken->claims[1][0].sequence);
  auto refused = world.drive.run(world[0].claims->take({wanted("c"), wanted("d", "tiny")}));
  REQUIRE(refused.error().code == Code::kResourceExhausted);
  REQUIRE(world.stored().size() == 3);
  REQUIRE(world[0].claims->usage("campus", Family::kV4).in_use == 1);
}

// Takes and releases by turns until it has taken so many; what it holds in the end is in `held`.
asio::awaitable<void> churn(TestNode& node, std::string prefix, int takes,
                            std::multiset<std::string>& held, int& running, std::string& trouble) {
  std::vector<std::pair<std::string, std::string>> mine;
  for (int i = 0; i < takes && trouble.empty();) {
    std::vector<ClaimWanted> one{wanted(fmt::format("{}-{}", prefix, i))};
    std::string holder = one[0].holder;
    Result<ClaimsTaken> taken = co_await node.claims->take(std::move(one));
    if (taken) {
      std::string address = taken->claims[0][0].ip.str();
      held.insert(address);
      if (held.count(address) != 1) trouble = "twice: " + address;
      mine.emplace_back(std::move(holder), std::move(address));
      ++i;
    } else if (taken.error().code != Code::kResourceExhausted &&
               taken.error().code != Code::kAborted) {
      trouble = taken.error().text();
    }
    if (mine.size() < 3 && taken) continue;
    if (mine.empty()) {
      (void)co_await node.clock->sleep_for(2ms);
      continue;
    }
    // It is not ours any more before it can be another's.
    held.erase(held.find(mine.front().second));
    std::vector<std::string> holders{mine.front().first};
    mine.erase(mine.begin());
    if (auto done = co_await node.claims->release(std::move(holders)); !done)
      trouble = done.error().text();
  }
  --running;
}

TEST_CASE("claims: many nodes at once, none twice and none lost") {
  World world(an_engine(), 6);
  world.set_pools({campus()});
  std::multiset<std::string> held;
  std::string trouble;
  int running = 0;
  for (const auto& node : world.nodes)
    for (int lane = 0; lane < 3; ++lane) {
      ++running;
      asio::co_spawn(
          world.drive.executor(),
          churn(*node, fmt::format("{}-{}", node->name, lane), 20, held, running, trouble),
          asio::detached);
    }
  REQUIRE(world.drive.until([&] { return running == 0; }, 60s));
  REQUIRE(trouble.empty());
  std::multiset<std::string> stored;
  for (const AddressClaim& claim : world.stored())
    if (claim.held()) stored.insert(claim.ip.str());
  REQUIRE(stored == held);
}

// A pod of a Deployment: as often as kubelet would, until it has an address.
asio::awaitable<void> start_pod(TestNode& node, std::string pod, std::size_t room,
                                std::multiset<std::string>& held, std::string& trouble) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::vector<ClaimWanted> one{fixed(pod, "Deployment/shop/web/eth0", room)};
    Result<ClaimsTaken> taken = co_await node.claims->take(std::move(one));
    if (taken) {
      held.insert(taken->claims[0][0].ip.str());
      co_return;
    }
    if (taken.error().code != Code::kAborted) trouble = taken.error().text();
  }
  trouble = pod + " has no address";
}

TEST_CASE("claims: a whole Deployment starts at once, and has its room and no more") {
  World world(an_engine(), 4);
  world.set_pools({campus()});
  constexpr std::size_t kPods = 24;
  std::multiset<std::string> held;
  std::string trouble;
  for (std::size_t i = 0; i < kPods; ++i)
    asio::co_spawn(world.drive.executor(),
                   start_pod(world[i % 4], fmt::format("web-{}", i), kPods, held, trouble),
                   asio::detached);
  REQUIRE(world.drive.until([&] { return held.size() == kPods || !trouble.empty(); }, 60s));
  REQUIRE(trouble.empty());
  REQUIRE(std::set<std::string>(held.begin(), held.end()).size() == kPods);
  auto surge = world[0].take(fixed("surge", "Deployment/shop/web/eth0", kPods));
  REQUIRE_FALSE(surge);
  REQUIRE(surge.error().code == Code::kAborted);
  auto kv = world.connect();
  auto pair = world.drive.run(kv->get("tombolo/v1/claimants/Deployment/shop/web/eth0"));
  REQUIRE(records::decode_claimant(**pair)->addresses.size() == kPods);
}

}  // namespace
}  // namespace tombolo
