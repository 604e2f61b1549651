// Two clusters before they join: what is found, and what is suggested.
#include "app/join/join.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <functional>

namespace tombolo {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;

PlanBlock block(const std::string& cluster, BlockUse use, const std::string& prefix) {
  return {cluster, use, Prefix::parse(prefix).value(), 0};
}

JoinFacts side(const std::string& name, std::uint32_t id) {
  JoinFacts facts;
  facts.fleet = "islands";
  facts.cluster = name;
  facts.id = id;
  facts.mtu = 1450;
  facts.roots = {Prefix::parse("10.0.0.0/8").value()};
  facts.ranges = {block(name, BlockUse::kPod, fmt::format("10.{}.0.0/16", id)),
                  block(name, BlockUse::kUnderlay, fmt::format("10.200.{}.0/24", id))};
  facts.services = {{"default", "db", false, {"sql 5432/TCP"}}};
  return facts;
}

std::string line_of(const JoinFinding& finding) {
  return fmt::format("{} {}: {} | {} | {}", to_string(finding.severity), finding.kind, finding.here,
                     finding.there, finding.fix);
}

TEST_CASE("clusters that fit have no findings") {
  REQUIRE(check_join(side("east", 1), side("west", 2)).empty());
  JoinFacts east = side("east", 1);
  JoinFacts west = side("west", 2);
  // Both with the fleet's plan and a third cluster: what is the same is no conflict.
  for (JoinFacts* facts : {&east, &west}) {
    facts->joined = {{"north", 3}};
    facts->ranges.push_back(block("north", BlockUse::kPod, "10.3.0.0/16"));
    facts->ranges.push_back(block("", BlockUse::kClusterset, "10.255.0.0/20"));
  }
  REQUIRE(check_join(east, west).empty());
}

TEST_CASE("each conflict is found, with a fix") {
  struct Case {
    const char* name;
    std::function<void(JoinFacts& here, JoinFacts& there)> change;
    const char* line;
  };
  auto c = GENERATE(values<Case>({
      {"fleets", [](JoinFacts&, JoinFacts& there) { there.fleet = "lakes"; },
       "conflict fleet: islands | lakes | certificates are of one fleet"},
      {"names",
       [](JoinFacts& here, JoinFacts& there) {
         there.cluster = "east";
         there.ranges.clear();
         here.ranges.clear();
       },
       "conflict name: east (id 1) | east (id 2) | name one of them otherwise"},
      {"ids", [](JoinFacts&, JoinFacts& there) { there.id = 1; },
       "conflict id: east (id 1) | west (id 1) | give one of them another cluster.id: 2 is free"},
      {"the id of a third", [](JoinFacts&, JoinFacts& there) { there.joined = {{"north", 1}}; },
       "conflict id: east (id 1) | north (id 1) | give one of them another cluster.id: 3 is free"},
      {"another cluster of one name",
       [](JoinFacts& here, JoinFacts& there) {
         here.joined = {{"north", 7}};
         there.joined = {{"north", 8}};
       },
       "conflict name: north (id 7) | north (id 8) | "},
      {"widths of identities", [](JoinFacts& here, JoinFacts&) { here.identity_cluster_bits = 9; },
       "conflict identities: 9 bits for the cluster | 8 bits for the cluster | set "
       "cluster.identity_cluster_bits to 9 on both sides"},
      {"an id without room", [](JoinFacts&, JoinFacts& there) { there.id = 300; },
       "conflict identities:  | id 300 | 8 bits hold ids up to 255"},
      {"ranges",
       [](JoinFacts&, JoinFacts& there) {
         there.ranges[0].prefix = Prefix::parse("10.1.128.0/17").value();
       },
       "conflict cidr: east pod 10.1.0.0/16 | west pod 10.1.128.0/17 | move west's pod range from "
       "10.1.128.0/17, to 10.0.0.0/17 for example"},
      {"plans",
       [](JoinFacts& here, JoinFacts& there) {
         here.ranges.push_back(block("", BlockUse::kClusterset, "10.255.0.0/20"));
         there.ranges.push_back(block("", BlockUse::kClusterset, "10.254.0.0/20"));
       },
       "conflict cidr: clusterset 10.255.0.0/20 | clusterset 10.254.0.0/20 | the two plans "
       "disagree"},
      {"mtu", [](JoinFacts& here, JoinFacts&) { here.mtu = 9000; },
       "warning mtu: 9000 | 1450 | set agent.mtu to 1450 on both sides"},
      {"mtu of one side", [](JoinFacts& here, JoinFacts&) { here.mtu = 0; },
       "warning mtu: not set | 1450 | "},
      {"headless", [](JoinFacts& here, JoinFacts&) { here.services[0].headless = true; },
       "conflict service: default/db is headless | default/db has an address | "},
      {"names of ports",
       [](JoinFacts& here, JoinFacts&) { here.services[0].ports = {"db 5432/TCP"}; },
       "conflict service: default/db: db 5432/TCP | default/db: sql 5432/TCP | give ports the "
       "same"},
      {"numbers of ports",
       [](JoinFacts& here, JoinFacts&) { here.services[0].ports = {"sql 15432/TCP"}; },
       "warning service: default/db: sql 15432/TCP | default/db: sql 5432/TCP | clients use"},
  }));
  JoinFacts here = side("east", 1);
  JoinFacts there = side("west", 2);
  c.change(here, there);
  auto findings = check_join(here, there);
  CAPTURE(c.name);
  REQUIRE(findings.size() == 1);
  REQUIRE_THAT(line_of(findings[0]), ContainsSubstring(c.line));
}

TEST_CASE("a full address space is said to be full, and findings are bounded") {
  JoinFacts here = side("east", 1);
  JoinFacts there = side("west", 2);
  here.roots = there.roots = {Prefix::parse("10.0.0.0/15").value()};
  here.ranges = {block("east", BlockUse::kPod, "10.0.0.0/15")};
  there.ranges = {block("west", BlockUse::kPod, "10.1.0.0/16")};
  REQUIRE_THAT(check_join(here, there).at(0).fix, ContainsSubstring("has no room for it"));
  for (int i = 0; i < 150; ++i)
    there.ranges.push_back(
        block(fmt::format("c{}", i), BlockUse::kPod, fmt::format("10.1.{}.0/24", i)));
  auto findings = check_join(here, there);
  REQUIRE(findings.size() == 101);
  REQUIRE(findings.back().here == "51 more");
}

TEST_CASE("all overlaps of two sides are found, and no others") {
  JoinFacts here = side("east", 1);
  JoinFacts there = side("west", 2);
  here.ranges.clear();
  there.ranges.clear();
  const std::vector<std::string> prefixes{
      "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "10.1.2.0/24", "10.128.0.0/9",  "10.255.255.0/24",
      "11.0.0.0/8", "fd00::/16",   "fd00:1::/48", "fd01::/16",   "10.1.2.128/25", "10.1.2.3/32"};
  for (const std::string& text : prefixes) {
    here.ranges.push_back(block("a" + text, BlockUse::kPod, text));
    there.ranges.push_back(block("b" + text, BlockUse::kPod, text));
  }
  std::size_t expected = 0;
  for (const PlanBlock& ours : here.ranges)
    for (const PlanBlock& theirs : there.ranges) expected += ours.prefix.overlaps(theirs.prefix);
  auto findings = check_join(here, there);
  REQUIRE(findings.size() == expected);
  for (const JoinFinding& finding : findings) REQUIRE(finding.kind == "cidr");
}

TEST_CASE("facts come back from their JSON") {
  JoinFacts facts = side("east", 1);
  facts.joined = {{"north", 3}};
  json::value value = join_facts_to_json(facts);
  DocumentPlace place{"east.json", {}};
  auto back = parse_join_facts(Cursor(value, place));
  REQUIRE(back.has_value());
  REQUIRE(join_facts_to_json(*back) == value);
}

TEST_CASE("facts that are none are refused with their place") {
  struct Case {
    const char* name;
    const char* text;
    const char* what;
  };
  auto c = GENERATE(values<Case>({
      {"newer", R"({"version": 2})", "east.json: version: written by a newer Tombolo"},
      {"no cluster", R"({"version": 1, "fleet": "a"})", "east.json: cluster: "},
      {"a range", R"({"version": 1, "fleet": "a", "cluster": "b", "id": 1,
                      "ranges": [{"use": "pod", "cidr": "10.0.0.1/8"}]})",
       "east.json: ranges[0].cidr: "},
      {"a use", R"({"version": 1, "fleet": "a", "cluster": "b", "id": 1,
                    "ranges": [{"use": "moon", "cidr": "10.0.0.0/8"}]})",
       "east.json: ranges[0].use: 'moon' is not known"},
  }));
  json::value value = parse_json(c.text).value();
  DocumentPlace place{"east.json", {}};
  auto facts = parse_join_facts(Cursor(value, place));
  REQUIRE_FALSE(facts.has_value());
  REQUIRE_THAT(facts.error().what, ContainsSubstring(c.what));
}

}  // namespace
}  // namespace tombolo
