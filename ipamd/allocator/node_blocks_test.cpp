// Blocks for nodes: lowest free, stable, both families or nothing.
#include "ipamd/allocator/node_blocks.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

Prefix prefix(const std::string& text) {
  return Prefix::parse(text).value();
}
PlanBlock pod_range(const std::string& text, int node_prefix_length) {
  return {"east", BlockUse::kPod, prefix(text), node_prefix_length};
}
NodeBlock block(const std::string& node, const std::string& text) {
  return {node, prefix(text)};
}

TEST_CASE("node blocks are assigned") {
  struct Case {
    std::string name;
    std::vector<PlanBlock> ranges;
    std::vector<NodeBlock> existing;
    std::vector<std::string> nodes;
    std::vector<NodeBlock> added;
    std::vector<std::string> problems;
  };
  auto both = std::vector{pod_range("10.1.0.0/22", 24), pod_range("fd00:1::/56", 64)};
  auto test = GENERATE_COPY(values<Case>({
      {"both families, nodes by name",
       both,
       {},
       {"b", "a"},
       {block("a", "10.1.0.0/24"), block("a", "fd00:1::/64"), block("b", "10.1.1.0/24"),
        block("b", "fd00:1:0:1::/64")},
       {}},
      {"nothing to do",
       both,
       {block("a", "10.1.3.0/24"), block("a", "fd00:1:0:9::/64")},
       {"a"},
       {},
       {}},
      {"the lowest gap",
       both,
       {block("a", "10.1.0.0/24"), block("a", "fd00:1::/64"), block("c", "10.1.2.0/24")},
       {"a", "b"},
       {block("b", "10.1.1.0/24"), block("b", "fd00:1:0:1::/64")},
       {}},
      {"a family that is missing",
       both,
       {block("a", "10.1.2.0/24")},
       {"a"},
       {block("a", "fd00:1::/64")},
       {}},
      {"blocks of nodes that left stay taken",
       both,
       {block("old", "10.1.0.0/24"), block("old", "fd00:1::/63")},
       {"a"},
       {block("a", "10.1.1.0/24"), block("a", "fd00:1:0:2::/64")},
       {}},
      {"a larger block of an older plan",
       both,
       {block("old", "10.1.0.0/23")},
       {"a"},
       {block("a", "10.1.2.0/24"), block("a", "fd00:1::/64")},
       {}},
      {"a second range when the first is full",
       {pod_range("10.1.0.0/24", 24), pod_range("10.9.0.0/23", 24)},
       {},
       {"a", "b", "c"},
       {block("a", "10.1.0.0/24"), block("b", "10.9.0.0/24"), block("c", "10.9.1.0/24")},
       {}},
      {"both or nothing",
       {pod_range("10.1.0.0/24", 24), pod_range("fd00::/48", 64)},
       {},
       {"a", "b"},
       {block("a", "10.1.0.0/24"), block("a", "fd00::/64")},
       {"node b: the pod ranges have no free IPv4 block left; it gets none"}},
      {"other uses are ignored",
       {{"east", BlockUse::kService, prefix("10.2.0.0/20"), 0}},
       {},
       {"a"},
       {},
       {}},
      {"a node length that cannot be",
       {pod_range("10.1.0.0/24", 22)},
       {},
       {"a"},
       {},
       {"node a: the pod ranges have no free IPv4 block left; it gets none"}},
      {"one name twice",
       {pod_range("10.1.0.0/24", 25)},
       {},
       {"a", "a"},
       {block("a", "10.1.0.0/25")},
       {}},
  }));
  INFO(test.name);
  auto result = assign_node_blocks(test.ranges, test.existing, test.nodes);
  REQUIRE(result.added == test.added);
  REQUIRE(result.problems == test.problems);
}

TEST_CASE("blocks of nodes that are gone are stranded") {
  std::vector<NodeBlock> existing{block("n1", "10.1.0.0/28"), block("n1", "fd00::/64"),
                                  block("gone", "10.1.0.16/28"), block("gone", "10.1.0.32/27"),
                                  block("gone", "fd00:0:0:1::/64")};
  auto v4 = stranded_blocks(existing, {"n1", "n2"}, Family::kV4);
  REQUIRE(v4.blocks == 2);
  REQUIRE(v4.addresses == 14 + 30);
  auto v6 = stranded_blocks(existing, {"n1", "n2"}, Family::kV6);
  REQUIRE(v6.blocks == 1);
  REQUIRE(v6.addresses > 1.8e19);
  REQUIRE(stranded_blocks(existing, {"n1", "gone"}, Family::kV4).blocks == 0);
}

TEST_CASE("blocks never overlap, stay where they are, and fill the range") {
  REQUIRE(rc::check("node blocks", [] {
    std::vector<PlanBlock> ranges{pod_range("10.1.0.0/24", 28), pod_range("fd00::/60", 64)};
    std::vector<NodeBlock> held;
    for (int round = 0; round < 6; ++round) {
      auto numbers = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 20));
      std::vector<std::string> nodes;
      for (int number : numbers) nodes.push_back("n" + std::to_string(number));
      if (round == 3) std::erase_if(held, [](const NodeBlock& one) { return one.node < "n15"; });
      auto result = assign_node_blocks(ranges, held, nodes);
      held.insert(held.end(), result.added.begin(), result.added.end());
      RC_ASSERT(assign_node_blocks(ranges, held, nodes).added.empty());
      for (std::size_t i = 0; i < held.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) RC_ASSERT(!held[i].prefix.overlaps(held[j].prefix));
      if (!result.problems.empty()) RC_ASSERT(held.size() == 32U);
    }
  }));
}

}  // namespace
}  // namespace tombolo
