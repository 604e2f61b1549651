// Fixed addresses, and what happens to claims around a crash: over the in-memory store.
#include <catch2/generators/catch_generators.hpp>

#include "core/store/memory_kv.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

const std::string kDb0 = "StatefulSet/shop/db/0/eth0";
const std::string kWeb = "Deployment/shop/web/eth0";

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  std::unique_ptr<TestNode> one = node("n1");
  std::unique_ptr<TestNode> two = node("n2");

  World() {
    for (TestNode* each : {one.get(), two.get()}) {
      each->wait_synced();
      each->set_pools({{"campus", {range("10.9.0.1", "10.9.0.40")}, 0, {0, 0}},
                       {"annex", {range("10.8.0.1", "10.8.0.40")}, 0, {0, 0}}});
    }
  }
  std::unique_ptr<TestNode> node(const std::string& name, ClaimsOptions options = {}) {
    return std::make_unique<TestNode>(name, drive, std::make_unique<MemoryKv>(store), options);
  }
  AddressClaim take(const TestNode& at, ClaimWanted wanted) {
    auto taken = at.take(std::move(wanted));
    INFO((taken ? "" : taken.error().text()));
    REQUIRE(taken);
    return taken->at(0);
  }
  std::map<std::string, AddressClaim> stored() {
    MemoryKv kv(store);
    RangeRequest request{.key = std::string(records::kClaimsPrefix),
                         .range_end = prefix_end(records::kClaimsPrefix)};
    auto all = drive.run(kv.range(request));
    std::map<std::string, AddressClaim> claims;
    for (const KeyValue& pair : all->kvs) {
      AddressClaim claim = records::decode_claim(pair).value();
      claims.emplace(claim.key(), std::move(claim));
    }
    return claims;
  }
  Claimant claimant(const std::string& identity) {
    MemoryKv kv(store);
    auto pair = drive.run(kv.get(records::claimant_key({identity, {}})));
    REQUIRE(pair);
    return *pair ? records::decode_claimant(**pair).value() : Claimant{identity, {}};
  }
};

TEST_CASE("identity: a StatefulSet's pod has its address again on another node") {
  World world;
  AddressClaim first = world.take(*world.one, fixed("a", kDb0));
  REQUIRE(world.claimant(kDb0).addresses.size() == 1);
  // Its first life is not over: nobody is given its address, and no second one is made.
  auto early = world.two->take(fixed("b", kDb0));
  REQUIRE(early.error().code == Code::kAborted);
  REQUIRE(early.error().what ==
          kDb0 + ": " + first.ip.str() + " is still held by shop/a on node n1: try again later");
  REQUIRE(world.one->release("a"));
  REQUIRE(world.stored().at(first.key()).kept());
  AddressClaim second = world.take(*world.two, fixed("b", kDb0));
  REQUIRE(second.ip == first.ip);
  REQUIRE(second.node == "n2");
  REQUIRE(second.sequence > first.sequence);
  // The first one's release comes late and frees nothing.
  REQUIRE(world.one->release("a"));
  REQUIRE(world.stored().at(first.key()).holder == "b/eth0");
}

TEST_CASE("identity: nobody else is given a kept address") {
  World world;
  world.one->set_pools({{"campus", {range("10.9.0.1", "10.9.0.1")}, 0, {0, 0}}});
  AddressClaim kept = world.take(*world.one, fixed("a", kDb0));
  REQUIRE(world.one->release("a"));
  REQUIRE(world.one->take(wanted("b")).error().code == Code::kResourceExhausted);
  ClaimWanted exact = wanted("b");
  exact.addresses[0].exact = kept.ip;
  auto refused = world.one->take(exact);
  REQUIRE(refused.error().code == Code::kAlreadyExists);
  REQUIRE(refused.error().what.find("kept for " + kDb0) != std::string::npos);
  REQUIRE(world.take(*world.one, fixed("c", kDb0)).ip == kept.ip);
}

TEST_CASE("identity: a Deployment's pods share a room of addresses") {
  World world;
  std::set<Ip> ips;
  for (const char* pod : {"a", "b", "c"})
    ips.insert(world.take(*world.one, fixed(pod, kWeb, 3)).ip);
  REQUIRE(ips.size() == 3);
  REQUIRE(world.two->take(fixed("d", kWeb, 3)).error().code == Code::kAborted);
  REQUIRE(world.take(*world.two, fixed("d", kWeb, 4)).ip != Ip());
  REQUIRE(world.claimant(kWeb).addresses.size() == 4);
  // The address that is kept for the longest time comes first.
  AddressClaim b = world.one->claims->claims_of_node().at(1);
  REQUIRE(world.one->release(b.holder.substr(0, b.holder.find('/'))));
  REQUIRE(world.take(*world.two, fixed("e", kWeb, 4)).ip == b.ip);
  REQUIRE(world.claimant(kWeb).addresses.size() == 4);
}

TEST_CASE("identity: another pool takes effect at the next start, and frees what was kept") {
  World world;
  AddressClaim old = world.take(*world.one, fixed("a", kDb0));
  // The running pod keeps its own, and no second one is made beside it.
  REQUIRE(world.two->take(fixed("b", kDb0, 1, "annex")).error().code == Code::kAborted);
  REQUIRE(world.one->release("a"));
  AddressClaim moved = world.take(*world.two, fixed("b", kDb0, 1, "annex"));
  REQUIRE(moved.pool == "annex");
  REQUIRE(world.stored().at(old.key()).free());
  REQUIRE(world.stored().at(old.key()).sequence == moved.sequence);
  REQUIRE(world.claimant(kDb0).addresses == std::vector<Claimant::Address>{{"annex", moved.ip}});
}

TEST_CASE("identity: an address that left the pool's ranges is replaced") {
  World world;
  AddressClaim old = world.take(*world.one, fixed("a", kDb0));
  REQUIRE(world.one->release("a"));
  IpRange rest = range("10.9.0.30", "10.9.0.40");
  if (rest.contains(old.ip)) rest = range("10.9.0.1", "10.9.0.10");
  world.one->set_pools({{"campus", {rest}, 0, {0, 0}}});
  AddressClaim moved = world.take(*world.one, fixed("b", kDb0));
  REQUIRE(rest.contains(moved.ip));
  REQUIRE(world.stored().at(old.key()).free());
}

TEST_CASE("identity: the same pod asks again, of an ADD whose answer was lost") {
  World world;
  AddressClaim first = world.take(*world.one, fixed("a", kDb0));
  AddressClaim again = world.take(*world.one, fixed("a", kDb0));
  REQUIRE(again.ip == first.ip);
  REQUIRE(again.sequence > first.sequence);
  // With another pool it gets that, and the identity still has one.
  AddressClaim moved = world.take(*world.one, fixed("a", kDb0, 1, "annex"));
  REQUIRE(moved.pool == "annex");
  REQUIRE(world.stored().at(first.key()).free());
  REQUIRE(world.claimant(kDb0).addresses.size() == 1);
}

TEST_CASE("identity: an exact address is the identity's, if it is free") {
  World world;
  AddressClaim other = world.take(*world.two, wanted("x"));
  ClaimWanted exact = fixed("a", kDb0);
  exact.addresses[0].exact = other.ip;
  auto refused = world.one->take(exact);
  REQUIRE(refused.error().code == Code::kAlreadyExists);
  REQUIRE(refused.error().what.find("held by shop/x on node n2") != std::string::npos);
  exact.addresses[0].exact = Ip::parse("10.9.0.33").value();
  if (other.ip == *exact.addresses[0].exact)
    exact.addresses[0].exact = Ip::parse("10.9.0.34").value();
  REQUIRE(world.take(*world.one, exact).ip == exact.addresses[0].exact);
  REQUIRE(world.one->release("a"));
  // Another exact one: the kept one goes.
  ClaimWanted next = exact;
  next.holder = "b/eth0";
  next.addresses[0].exact = Ip::parse("10.9.0.35").value();
  if (other.ip == *next.addresses[0].exact)
    next.addresses[0].exact = Ip::parse("10.9.0.36").value();
  REQUIRE(world.take(*world.one, next).ip == next.addresses[0].exact);
  REQUIRE(world.claimant(kDb0).addresses.size() == 1);
  REQUIRE(world.stored().at("campus/" + exact.addresses[0].exact->str()).free());
  next.holder = "c/eth0";
  next.identity = "";
  next.addresses[0].exact = Ip::parse("10.7.0.1").value();
  REQUIRE(world.one->take(next).error().code == Code::kOutOfRange);
}

TEST_CASE("identity: a claim that somebody removed by hand is not waited for") {
  World world;
  AddressClaim lost = world.take(*world.one, fixed("a", kDb0));
  MemoryKv other(world.store);
  REQUIRE(world.drive.run(other.erase({records::claim_key(lost), ""})));
  REQUIRE(world.drive.until([&] { return world.one->claims->claims_of_node().empty(); }));
  REQUIRE(world.take(*world.one, fixed("b", kDb0)).holder == "b/eth0");
  REQUIRE(world.claimant(kDb0).addresses.size() == 1);
}

TEST_CASE("take: what cannot be meant is refused") {
  struct Case {
    std::string name;
    std::function<void(std::vector<ClaimWanted>&)> breaks;
    Code code;
  };
  auto [name, breaks, code] = GENERATE(values<Case>({
      {"nothing", [](auto& all) { all.clear(); }, Code::kInvalidArgument},
      {"no address", [](auto& all) { all[0].addresses.clear(); }, Code::kInvalidArgument},
      {"a holder twice", [](auto& all) { all.push_back(all[0]); }, Code::kInvalidArgument},
      {"no holder", [](auto& all) { all[0].holder = ""; }, Code::kInvalidArgument},
      {"an identity twice",
       [](auto& all) {
         all[0].identity = kDb0;
         all.push_back(all[0]);
         all[1].holder = "b/eth0";
       },
       Code::kInvalidArgument},
      {"a family twice",
       [](auto& all) {
         all[0].identity = kDb0;
         all[0].addresses.push_back(all[0].addresses[0]);
       },
       Code::kInvalidArgument},
      {"too many",
       [](auto& all) { all[0].addresses.assign(Claims::kMaxAddresses + 1, all[0].addresses[0]); },
       Code::kInvalidArgument},
      {"bytes that are no text", [](auto& all) { all[0].pod = "\xff\xfe"; },
       Code::kInvalidArgument},
      {"an unknown pool", [](auto& all) { all[0].addresses[0].pools = {"none"}; },
       Code::kFailedPrecondition},
      {"a family that the pool has not",
       [](auto& all) { all[0].addresses[0].family = Family::kV6; }, Code::kFailedPrecondition},
  }));
  INFO(name);
  World world;
  std::vector<ClaimWanted> all{wanted("a")};
  breaks(all);
  auto refused = world.drive.run(world.one->claims->take(all));
  REQUIRE_FALSE(refused);
  INFO(refused.error().text());
  REQUIRE(refused.error().code == code);
  REQUIRE(world.stored().empty());
}

}  // namespace
}  // namespace tombolo
