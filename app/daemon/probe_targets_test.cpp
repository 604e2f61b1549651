// Whom an agent asks, and what it says of silence.
#include "app/daemon/probe_targets.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

namespace tombolo {
namespace {

using namespace std::chrono_literals;

std::vector<Node> nodes_of(int count) {
  std::vector<Node> nodes;
  for (int i = 0; i < count; ++i) {
    Node node;
    node.cluster = "west";
    node.name = fmt::format("w{}", i);
    node.internal_ips = {*Ip::parse(fmt::format("10.2.{}.{}", i / 250, i % 250 + 1))};
    nodes.push_back(std::move(node));
  }
  return nodes;
}

// Runs time in steps of a quarter second; `living` answer at once.
struct World {
  explicit World(int nodes, std::string agent = "e1") : targets(std::move(agent), "west", {}) {
    targets.set_nodes(nodes_of(nodes), now);
    for (const Node& node : nodes_of(nodes)) living.insert(node.name);
  }
  void run(Duration duration) {
    for (MonotonicTime end = now + duration; now < end; now += 250ms) {
      targets.judge(now);
      for (const auto& question : targets.due(now)) {
        asked.insert(question.node);
        ++questions;
        if (can_ask)
          targets.note(question.node, living.contains(question.node), now);
        else
          targets.note(question.node, fail(Code::kPermissionDenied, "no socket"), now);
      }
    }
    targets.judge(now);
  }
  std::string said() const {
    auto reach = targets.report();
    return reach ? fmt::format("{}/{}", reach->answered, reach->asked) : "nothing";
  }
  ProbeTargets targets;
  MonotonicTime now{1000s};
  std::set<std::string> living;
  std::set<std::string> asked;
  int questions = 0;
  bool can_ask = true;
};

TEST_CASE("three of many nodes are asked, twice a second") {
  World world(50);
  world.run(10s);
  REQUIRE(world.asked.size() == 3);
  REQUIRE(world.questions == 60);
  REQUIRE(world.said() == "3/3");
}

TEST_CASE("agents choose different nodes, the same ones every time") {
  std::set<std::string> chosen;
  for (int i = 0; i < 20; ++i) {
    World one(50, fmt::format("e{}", i));
    World same(50, fmt::format("e{}", i));
    one.run(1s);
    same.run(1s);
    REQUIRE(one.asked == same.asked);
    chosen.insert(one.asked.begin(), one.asked.end());
  }
  REQUIRE(chosen.size() > 25);
}

TEST_CASE("silence is said after two seconds, not before") {
  World world(2);
  world.run(5s);
  REQUIRE(world.said() == "2/2");
  world.living.clear();  // the last answer is half a second old
  world.run(1250ms);
  REQUIRE(world.said() == "2/2");
  world.run(250ms);
  REQUIRE(world.said() == "0/2");
  world.living = {"w0"};
  world.run(750ms);
  REQUIRE(world.said() == "1/2");
}

TEST_CASE("a new agent says nothing of silence before it has waited") {
  World world(3);
  world.living.clear();
  world.run(1500ms);
  REQUIRE(world.said() == "nothing");
  world.run(1s);
  REQUIRE(world.said() == "0/3");
}

TEST_CASE("while none answers, all are asked in turn, and one that lives is found") {
  World world(12);
  world.living.clear();
  world.run(3s);
  REQUIRE(world.said() == "0/3");
  world.run(10s);
  REQUIRE(world.asked.size() == 12);
  REQUIRE(world.said() == "0/3");
  world.living = {"w7"};
  world.run(10s);
  REQUIRE(world.said() == "1/3");
}

TEST_CASE("what cannot be asked is not silent") {
  World world(3);
  world.can_ask = false;
  world.run(10s);
  REQUIRE(world.said() == "nothing");
  world.can_ask = true;
  world.run(1s);
  REQUIRE(world.said() == "3/3");
}

TEST_CASE("a process that was stopped does not blame others") {
  World world(3);
  world.run(5s);
  world.now += 60s;
  world.targets.forgive(world.now);
  world.targets.judge(world.now);
  REQUIRE(world.said() == "3/3");
  world.run(5s);
  REQUIRE(world.said() == "3/3");
}

TEST_CASE("nodes that come and go change only the targets that they were") {
  World world(10);
  world.run(3s);
  std::set<std::string> before = world.asked;
  auto nodes = nodes_of(10);
  std::erase_if(nodes, [&](const Node& node) { return node.name == *before.begin(); });
  world.targets.set_nodes(nodes, world.now);
  REQUIRE(world.said() == "3/3");
  world.asked.clear();
  world.run(3s);
  REQUIRE(world.said() == "3/3");
  REQUIRE(world.asked.size() == 3);
  std::set<std::string> kept;
  for (const std::string& node : world.asked)
    if (before.contains(node)) kept.insert(node);
  REQUIRE(kept.size() == 2);
  world.targets.set_nodes({}, world.now);
  REQUIRE(world.targets.empty());
  REQUIRE(world.said() == "nothing");
}

}  // namespace
}  // namespace tombolo
