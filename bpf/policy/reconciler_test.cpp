// The reconciler over a port that refuses.
#include <catch2/catch_test_macros.hpp>

#include "bpf/guard.h"
#include "core/store/drive.h"
#include "core/worker.h"

namespace tombolo::bpf {
namespace {

class RefusingMaps final : public PolicyMaps {
 public:
  int refuse_bumps = 0;
  std::vector<std::string> calls;
  std::map<std::string, PolicyPeer> peers;

  Result<PolicyInForce> in_force() override { return PolicyInForce{}; }
  Result<void> put_rule(RuleNumber, std::uint64_t) override { return {}; }
  Result<void> put_set(const VerdictSet&) override { return {}; }
  Result<void> put_pod(const GuardedPod&) override { return {}; }
  Result<void> close_pod(const std::string&) override { return {}; }
  Result<void> put_peer(const PolicyPeer& peer) override {
    calls.push_back("put " + peer.key());
    peers.insert_or_assign(peer.key(), peer);
    return {};
  }
  Result<void> erase_peer(const Prefix& prefix) override {
    calls.push_back("erase " + prefix.str());
    peers.erase(prefix.str());
    return {};
  }
  Result<void> bump_generation() override {
    if (refuse_bumps > 0) {
      --refuse_bumps;
      return fail(Code::kResourceExhausted, "not now");
    }
    calls.emplace_back("bump");
    return {};
  }
  Result<void> erase_set(const std::string&) override { return {}; }
  Result<void> wait_for_readers() override { return {}; }
};

struct World {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  AgentTables tables;
  Table<NumberedRule>::Writer rules = tables.numbered_rules.take_writer("test");
  Table<VerdictSet>::Writer sets = tables.verdict_sets.take_writer("test");
  Table<GuardedPod>::Writer pods = tables.guarded_pods.take_writer("test");
  Table<PolicyPeer>::Writer peers = tables.policy_peers.take_writer("test");
  RefusingMaps maps;
  Worker worker{drive.executor()};
  TaskGroup tasks{drive.executor()};
  std::unique_ptr<GuardReconciler> reconciler = make_guard_reconciler(
      maps, worker, tables, tables.status.take_writer("test"), tasks, *clock, *rng, Logger());

  World() {
    rules.mark_synced();
    sets.mark_synced();
    pods.mark_synced();
    peers.mark_synced();
    tasks.spawn("reconcile", reconciler->run());
    REQUIRE(drive.until([&] { return reconciler->settled(); }));
    maps.calls.clear();
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
};

PolicyPeer peer(const std::string& prefix) {
  return {Prefix::parse(prefix).value(), 7, 300};
}

TEST_CASE("a generation that could not be raised is raised later, after what it is for") {
  World world;
  world.maps.refuse_bumps = 2;
  world.peers.upsert(peer("10.0.0.1/32"));
  REQUIRE(
      world.drive.until([&] { return world.tables.status.find("policy|generation") != nullptr; }));
  REQUIRE_FALSE(world.reconciler->settled());
  REQUIRE(world.drive.until([&] { return world.reconciler->settled(); }));
  REQUIRE(world.maps.calls == std::vector<std::string>{"put 10.0.0.1/32", "bump"});
  REQUIRE(world.tables.status.find("policy|generation") == nullptr);
}

TEST_CASE("a generation that could not be raised for a peer that went is raised later") {
  World world;
  world.peers.upsert(peer("10.0.0.1/32"));
  REQUIRE(world.drive.until([&] { return world.maps.calls.size() == 2; }));
  world.maps.calls.clear();
  world.maps.refuse_bumps = 1;
  world.peers.erase("10.0.0.1/32");
  REQUIRE(world.drive.until([&] { return world.maps.calls.size() == 2; }));
  REQUIRE(world.drive.until([&] { return world.reconciler->settled(); }));
  REQUIRE(world.maps.calls == std::vector<std::string>{"erase 10.0.0.1/32", "bump"});
}

}  // namespace
}  // namespace tombolo::bpf
