// What the properties cannot show: numbers over restarts, bounds, pods that are not known yet.
#include "policy/compiler/compiler.h"

#include <catch2/catch_test_macros.hpp>

namespace tombolo::policy {
namespace {

using std::chrono::seconds;

Identity identity(std::uint32_t number, StringMap labels) {
  return {number, "east", "shop", "default", std::move(labels), {}};
}

IpOwner owner(std::string_view ip, std::uint32_t number) {
  IpOwner row;
  row.ip = Ip::parse(ip).value();
  row.identity = number;
  return row;
}

Policy only_web() {
  Policy policy;
  policy.name_space = "shop";
  policy.name = "only-web";
  policy.isolates_ingress = true;
  PolicyPeerMatch peer;
  peer.name_space = "shop";
  peer.pods.requirements = {{"app", LabelOperator::kIn, {"web"}}};
  policy.rules = {{PolicyDirection::kIngress, PolicyAction::kAllow, "ingress[0]", {peer}, {}}};
  return policy;
}

void fill(Compiler& compiler) {
  compiler.set_policy(only_web());
  compiler.set_identity(identity(300, {{"app", "web"}}));
  compiler.set_identity(identity(301, {{"app", "db"}}));
  compiler.set_owner(owner("10.0.0.1", 300));
  compiler.set_owner(owner("10.0.0.2", 301));
  compiler.set_pod({"c1/eth0", "tbo1", "shop/db", {Ip::parse("10.0.0.2").value()}, 301, {}});
}

TEST_CASE("numbers keep their meaning over a restart") {
  Compiler first;
  fill(first);
  Changes before = first.compile(MonotonicTime{});
  REQUIRE(before.peers.size() == 2);
  REQUIRE(before.rules.size() == 2);

  // Another order of arrival, and the kernel's tables as seeds.
  Compiler second;
  std::vector<std::pair<RuleNumber, std::uint64_t>> digests;
  for (const NumberedRule& rule : before.rules) digests.emplace_back(rule.number, rule.digest);
  second.seed_peers({before.peers[1], before.peers[0]});
  second.seed_rules(digests);
  second.set_owner(owner("10.0.0.3", 302));
  second.set_identity(identity(302, {}));
  fill(second);
  Changes after = second.compile(MonotonicTime{});
  for (const PolicyPeer& row : after.peers)
    for (const PolicyPeer& old : before.peers)
      REQUIRE((row.prefix == old.prefix) == (row.peer == old.peer));
  REQUIRE(after.rules == before.rules);
}

TEST_CASE("a pod is closed until its identity is known, where its namespace isolates") {
  Compiler compiler;
  compiler.set_policy(only_web());
  compiler.set_pod({"c1/eth0", "tbo1", "shop/new", {}, 0, {}});
  compiler.set_pod({"c2/eth0", "tbo2", "other/new", {}, 0, {}});
  compiler.set_pod({"c3/eth0", "tbo3", "", {}, 0, {}});
  Changes changes = compiler.compile(MonotonicTime{});
  REQUIRE(changes.pods.size() == 3);
  REQUIRE(!changes.pods[0].ingress.empty());
  REQUIRE(changes.pods[0].egress.empty());
  REQUIRE((changes.pods[1].ingress.empty() && changes.pods[2].ingress.empty()));
  REQUIRE(changes.sets.size() == 1);
  REQUIRE(changes.rules.size() == 1);
  REQUIRE(changes.rules[0].rule == "closed");
}

TEST_CASE("without a free number a new peer is denied, and it is said") {
  CompilerLimits limits;
  limits.peers = 4;  // two to give: 0 is the world, the last means nobody
  Compiler compiler(limits);
  fill(compiler);
  compiler.compile(MonotonicTime{});
  REQUIRE(compiler.errors().empty());
  compiler.set_identity(identity(302, {{"app", "web"}, {"v", "2"}}));
  compiler.set_owner(owner("10.0.0.3", 302));
  Changes changes = compiler.compile(MonotonicTime{} + seconds(1));
  REQUIRE(compiler.errors().contains("peers"));
  REQUIRE(changes.peers.size() == 1);
  REQUIRE(changes.peers[0].peer == 3);

  // One goes; its number rests for a minute, then the waiting one gets it.
  compiler.erase_owner(Ip::parse("10.0.0.1").value());
  compiler.compile(MonotonicTime{} + seconds(2));
  REQUIRE(compiler.errors().contains("peers"));
  changes = compiler.compile(MonotonicTime{} + seconds(63));
  REQUIRE(compiler.errors().empty());
  REQUIRE(changes.peers.size() == 1);
  REQUIRE((changes.peers[0].peer == 1 || changes.peers[0].peer == 2));
}

TEST_CASE("a set that would be too large is closed, and it is said") {
  CompilerLimits limits;
  limits.cells_per_set = 8;
  Compiler compiler(limits);
  fill(compiler);
  Policy policy = only_web();
  for (Port port = 1; port < 20; ++port) {
    PolicyRule rule = policy.rules.front();
    rule.name = fmt::format("ingress[{}]", port);
    rule.ports = {{Protocol::kTcp, port, port, ""}};
    policy.rules.push_back(rule);
  }
  compiler.set_policy(policy);
  Changes changes = compiler.compile(MonotonicTime{});
  REQUIRE(compiler.errors().size() == 1);
  REQUIRE(compiler.errors().begin()->first == "NetworkPolicy/shop/only-web");
  REQUIRE(changes.sets.size() == 1);
  for (std::uint32_t peer = 0; peer < 5; ++peer)
    REQUIRE((look_up(changes.sets[0], peer, 6, 1) & kVerdictAllow) == 0);
}

TEST_CASE("a set that is closed stays told of, whatever else changes") {
  CompilerLimits limits;
  limits.cells_per_set = 1;
  Compiler compiler(limits);
  fill(compiler);
  compiler.compile(MonotonicTime{});
  REQUIRE(compiler.errors().size() == 1);
  compiler.set_policy({PolicyKind::kNetworkPolicy, "elsewhere", "p", {}, true, false, {}});
  compiler.compile(MonotonicTime{});
  REQUIRE(compiler.errors().size() == 1);
}

TEST_CASE("rules without a number are in force, and it is said") {
  CompilerLimits limits;
  limits.rules = 1;
  Compiler compiler(limits);
  fill(compiler);
  Changes changes = compiler.compile(MonotonicTime{});
  REQUIRE(compiler.errors().contains("rules"));
  REQUIRE(changes.sets.size() == 1);
  std::size_t allowed = 0;
  for (std::uint32_t peer = 0; peer < 4; ++peer)
    if ((look_up(changes.sets[0], peer, 6, 80) & kVerdictAllow) != 0) ++allowed;
  REQUIRE(allowed == 1);
}

std::uint32_t peer_of(const Changes& changes, std::string_view ip) {
  for (const PolicyPeer& row : changes.peers)
    if (row.prefix == Prefix::host(Ip::parse(ip).value())) return row.peer;
  FAIL("no row of " << ip);
  return 0;
}

TEST_CASE("an identity that comes back with other labels is another one") {
  Compiler compiler;
  fill(compiler);
  Changes before = compiler.compile(MonotonicTime{});
  std::uint32_t web = peer_of(before, "10.0.0.1");
  REQUIRE((look_up(before.sets[0], web, 6, 80) & kVerdictAllow) != 0);
  // Both between two calls: its number and its peer stay.
  compiler.erase_identity(300);
  compiler.set_identity(identity(300, {{"app", "other"}}));
  Changes after = compiler.compile(MonotonicTime{});
  REQUIRE(after.peers.empty());
  REQUIRE(after.sets.size() == 1);
  REQUIRE((look_up(after.sets[0], web, 6, 80) & kVerdictAllow) == 0);
}

TEST_CASE("a peer that no rule selects changes no set") {
  Compiler compiler;
  fill(compiler);
  compiler.compile(MonotonicTime{});
  compiler.set_identity(identity(302, {{"app", "other"}}));
  compiler.set_owner(owner("10.0.0.3", 302));
  Changes changes = compiler.compile(MonotonicTime{});
  REQUIRE(changes.peers.size() == 1);
  REQUIRE(changes.sets.empty());
  REQUIRE(changes.pods.empty());
}

TEST_CASE("who is allowed before and after is allowed in between") {
  Compiler compiler;
  fill(compiler);
  Changes before = compiler.compile(MonotonicTime{});
  std::uint32_t old = peer_of(before, "10.0.0.1");
  // The block tells addresses apart that were alike: the web pod gets another number.
  Policy policy = only_web();
  PolicyPeerMatch block;
  block.prefix = Prefix::parse("10.0.0.0/31").value();
  policy.rules.push_back(
      {PolicyDirection::kIngress, PolicyAction::kAllow, "ingress[1]", {block}, {}});
  compiler.set_policy(policy);
  Changes after = compiler.compile(MonotonicTime{} + seconds(1));
  REQUIRE(peer_of(after, "10.0.0.1") != old);
  REQUIRE(after.sets.size() == 1);
  // Sets are written before peers: for a moment the new set is asked about the old number.
  REQUIRE((look_up(after.sets[0], old, 6, 80) & kVerdictAllow) != 0);
  std::uint32_t db = peer_of(before, "10.0.0.2");
  REQUIRE((look_up(after.sets[0], db, 6, 80) & kVerdictAllow) == 0);
}

TEST_CASE("a number of an earlier life passes to the same identity only") {
  Compiler compiler;
  compiler.seed_peers({{Prefix::parse("10.0.0.1/32").value(), 7, 999},
                       {Prefix::parse("10.0.0.2/32").value(), 8, 301}});
  fill(compiler);
  Changes changes = compiler.compile(MonotonicTime{});
  REQUIRE(peer_of(changes, "10.0.0.1") != 7);
  REQUIRE(peer_of(changes, "10.0.0.2") == 8);
}

}  // namespace
}  // namespace tombolo::policy
