// Single decisions of home and grantee, one conversation after the other.
#include "ipamd/grants/grants.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace tombolo::grants {
namespace {

using Catch::Matchers::ContainsSubstring;

Prefix prefix(const std::string& text) {
  return Prefix::parse(text).value();
}
Ip ip(const std::string& text) {
  return Ip::parse(text).value();
}

// East is the home, west a grantee; everything is heard at once.
struct Pair {
  std::optional<GrantLedger> ledger;
  std::map<std::string, std::optional<PoolParts>> parts{{"east", {}}, {"west", {}}};
  std::map<std::string, std::uint64_t> stores{{"east", 1}, {"west", 2}};
  std::map<std::string, std::int64_t> wanted{{"east", 1}, {"west", 1}};
  std::map<std::string, std::set<Prefix>> busy;
  std::map<Prefix, std::size_t> in_use;  // of west
  std::set<Prefix> pinned;
  std::vector<std::string> problems;
  std::int64_t numbers = 1000;
  bool apart = false;  // west and east do not hear each other

  void home() {
    HomeFacts facts;
    facts.pool = "racks";
    facts.self = "east";
    facts.store_id = stores["east"];
    facts.members = {"east", "west"};
    if (parts["east"]) facts.copies["east"] = *parts["east"];
    if (parts["west"] && !apart) facts.copies["west"] = *parts["west"];
    facts.parts = cut({{ip("10.9.0.0"), ip("10.9.0.15")}}, 30);
    facts.used_here = busy["east"];
    facts.random = numbers += 7919;
    HomeStep step = next_ledger(ledger, facts);
    ledger = step.ledger;
    problems = step.problems;
  }
  void grantee(const std::string& name) {
    GranteeFacts facts;
    facts.pool = "racks";
    facts.self = name;
    facts.home = "east";
    facts.store_id = stores[name];
    if (ledger && !(apart && name == "west")) facts.ledger = *ledger;
    facts.busy = busy[name];
    if (name == "west") facts.in_use = in_use;
    facts.pinned = pinned;
    facts.wanted = wanted[name];
    facts.random = numbers += 7919;
    GranteeStep step = next_parts(parts[name], facts);
    parts[name] = step.parts;
    for (std::string& problem : step.problems) problems.push_back(std::move(problem));
  }
  void settle(int rounds = 8) {
    for (int i = 0; i < rounds; ++i) {
      home();
      grantee("east");
      grantee("west");
    }
  }
  // East has 10.9.0.0/30, west 10.9.0.4/30.
  void start() {
    wanted["west"] = 0;
    settle();
    wanted["west"] = 1;
    settle();
  }
  std::string held(const std::string& name) {
    std::string text;
    for (const Part& part : parts[name]->parts)
      text += fmt::format(
          "{}{}{}", text.empty() ? "" : " ", part.range,
          part.state == PartState::kHeld ? "" : fmt::format(" {}", to_string(part.state)));
    return text;
  }
};

TEST_CASE("grants: each cluster gets a part, and more when it wants more") {
  Pair pair;
  pair.home();
  REQUIRE_THAT(pair.problems.at(0), ContainsSubstring("before what west has is known"));
  REQUIRE(pair.ledger->grants.empty());
  pair.start();
  REQUIRE(pair.problems.empty());
  REQUIRE(pair.held("east") == "10.9.0.0/30");
  REQUIRE(pair.held("west") == "10.9.0.4/30");
  REQUIRE(allows(*pair.parts["west"], 2, ip("10.9.0.5")));
  REQUIRE_FALSE(allows(*pair.parts["west"], 3, ip("10.9.0.5")));
  REQUIRE_FALSE(allows(*pair.parts["west"], 2, ip("10.9.0.1")));
  pair.wanted["west"] = 2;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30");
}

TEST_CASE("grants: what nobody else wants is not given back; what another wants is, when empty") {
  Pair pair;
  pair.start();
  pair.wanted["west"] = 3;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30 10.9.0.12/30");
  pair.wanted["west"] = 1;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30 10.9.0.12/30");
  pair.busy["west"] = {prefix("10.9.0.12/30")};
  pair.wanted["east"] = 2;
  pair.settle(1);  // said
  pair.settle(1);  // heard
  REQUIRE(pair.ledger->scarce);
  pair.settle();
  REQUIRE(pair.held("east") == "10.9.0.0/30 10.9.0.4/30");
  REQUIRE(pair.held("west") == "10.9.0.12/30");
}

TEST_CASE("grants: a part is given back in two steps, and only when it is empty") {
  Pair pair;
  pair.start();
  pair.wanted["west"] = 3;
  pair.settle();
  pair.wanted["west"] = 1;
  pair.wanted["east"] = 2;
  pair.settle(2);
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30 returning 10.9.0.12/30 returning");
  // A claim was written before that was.
  pair.busy["west"] = {prefix("10.9.0.12/30")};
  pair.settle(3);
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.12/30 returning");
  REQUIRE(pair.held("east") == "10.9.0.0/30 10.9.0.8/30");
}

TEST_CASE("grants: of parts with addresses in use, the emptiest drain, none with fixed ones") {
  Pair pair;
  pair.start();
  pair.wanted["west"] = 3;
  pair.settle();
  for (int start : {4, 8, 12}) {
    Prefix part = prefix(fmt::format("10.9.0.{}/30", start));
    pair.busy["west"].insert(part);
    pair.in_use[part] = static_cast<std::size_t>(16 - start) / 4;
  }
  pair.pinned = {prefix("10.9.0.12/30")};
  pair.wanted["west"] = 2;
  pair.wanted["east"] = 2;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30 returning 10.9.0.12/30");
  // West needs it again before it is empty.
  pair.wanted["west"] = 3;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30 10.9.0.12/30");
  pair.wanted["west"] = 2;
  pair.busy["west"].erase(prefix("10.9.0.8/30"));
  pair.in_use.erase(prefix("10.9.0.8/30"));
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.12/30");
  REQUIRE(pair.held("east") == "10.9.0.0/30 10.9.0.8/30");
}

TEST_CASE("grants: the home's store is put back") {
  Pair pair;
  pair.start();
  auto backup = std::pair(pair.ledger, pair.parts["east"]);
  pair.wanted["west"] = 2;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30");
  // Forgotten: 10.9.0.8/30 is west's.
  std::tie(pair.ledger, pair.parts["east"]) = backup;
  pair.stores["east"] = 9;
  pair.wanted["east"] = 3;
  pair.apart = true;
  pair.settle();
  REQUIRE_THAT(pair.problems.at(0), ContainsSubstring("before what west has is known"));
  REQUIRE(pair.ledger->grants.size() == 2);
  REQUIRE(pair.held("east").empty());  // its own copy is of the other store
  pair.apart = false;
  pair.settle();
  REQUIRE(pair.held("east") == "10.9.0.0/30 10.9.0.12/30");
  REQUIRE(pair.held("west") == "10.9.0.4/30 10.9.0.8/30");
}

TEST_CASE("grants: a grantee's store is put back") {
  Pair pair;
  pair.start();
  pair.wanted["west"] = 2;
  pair.settle();
  auto backup = pair.parts["west"];
  pair.wanted["west"] = 1;
  pair.wanted["east"] = 3;
  pair.settle();
  REQUIRE(pair.held("east") == "10.9.0.0/30 10.9.0.8/30 10.9.0.12/30");
  // It believes that 10.9.0.8/30 is its own, and hears nobody.
  pair.parts["west"] = backup;
  pair.stores["west"] = 8;
  pair.apart = true;
  REQUIRE_FALSE(allows(*pair.parts["west"], 8, ip("10.9.0.5")));
  pair.settle();
  REQUIRE(pair.held("west").empty());
  pair.apart = false;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.4/30");
}

TEST_CASE("grants: a cluster that is gone, and comes back all the same") {
  Pair pair;
  pair.start();
  pair.apart = true;
  REQUIRE(without_cluster(*pair.ledger, "north").error().code == Code::kNotFound);
  REQUIRE(without_cluster(*pair.ledger, "east").error().code == Code::kInvalidArgument);
  pair.ledger = without_cluster(*pair.ledger, "west").value();
  pair.wanted["east"] = 4;
  pair.settle();
  REQUIRE(pair.ledger->grants.size() == 4);
  REQUIRE(pair.held("west") == "10.9.0.4/30");
  // Fenced as soon as it hears of it.
  pair.busy["west"] = {prefix("10.9.0.4/30")};
  pair.apart = false;
  pair.grantee("west");
  REQUIRE(pair.held("west") == "10.9.0.4/30 returning");
  REQUIRE_THAT(pair.problems.back(), ContainsSubstring("may be in use in another cluster too"));
  REQUIRE_FALSE(allows(*pair.parts["west"], 2, ip("10.9.0.5")));
  pair.busy["west"].clear();
  pair.wanted["east"] = 3;
  pair.settle();
  REQUIRE(pair.problems.empty());
  REQUIRE(pair.held("east") == "10.9.0.0/30 10.9.0.4/30 10.9.0.8/30");
  REQUIRE(pair.held("west") == "10.9.0.12/30");
}

TEST_CASE("grants: both stores are put back: an operator decides") {
  Pair pair;
  pair.start();
  auto backup = std::tuple(pair.ledger, pair.parts["east"], pair.parts["west"]);
  pair.wanted["west"] = 2;
  pair.settle();
  std::tie(pair.ledger, pair.parts["east"], pair.parts["west"]) = backup;
  pair.stores = {{"east", 11}, {"west", 12}};
  pair.settle();
  REQUIRE_THAT(pair.problems.at(0), ContainsSubstring("were both put back"));
  REQUIRE(pair.held("west").empty());
  pair.ledger = without_cluster(*pair.ledger, "west").value();
  // Its pods go on in 10.9.0.8/30: that is its own before it is granted to anybody.
  pair.busy["west"] = {prefix("10.9.0.8/30")};
  pair.wanted["west"] = 1;
  pair.settle();
  REQUIRE(pair.held("west") == "10.9.0.8/30");
}

TEST_CASE("grants: another home is followed when nothing of the first is left") {
  PoolParts parts;
  parts.home = "west";
  parts.store_id = 1;
  parts.generation = {3, 9};
  parts.parts = {{5, prefix("10.9.0.0/30"), PartState::kReturning}};
  GranteeFacts facts;
  facts.pool = "racks";
  facts.self = "north";
  facts.home = "east";
  facts.store_id = 1;
  GranteeStep kept = next_parts(parts, facts);
  REQUIRE(kept.parts == parts);
  REQUIRE_THAT(kept.problems.at(0), ContainsSubstring("the home is east, but the parts are of"));
  parts.parts.clear();
  GranteeStep moved = next_parts(parts, facts);
  REQUIRE(moved.parts.home == "east");
  REQUIRE(moved.parts.generation.number == 4);
  REQUIRE(moved.parts.forgetful);
}

TEST_CASE("grants: two homes grant nothing") {
  HomeFacts facts;
  facts.pool = "racks";
  facts.self = "east";
  facts.store_id = 1;
  facts.members = {"east"};
  facts.other_homes = {"west"};
  facts.parts = {prefix("10.9.0.0/30")};
  facts.used_here = {prefix("10.9.0.0/30")};
  HomeStep step = next_ledger(std::nullopt, facts);
  REQUIRE(step.ledger.grants.empty());
  REQUIRE_THAT(step.problems.at(0), ContainsSubstring("west says that it is the home"));
}

TEST_CASE("grants: how many parts a cluster has use for") {
  struct Case {
    const char* name;
    std::size_t in_use;
    const char* part;
    std::int64_t parts;
  };
  auto c = GENERATE(values<Case>({
      {"nothing yet", 0, "10.9.0.0/28", 1},
      {"half a part", 8, "10.9.0.0/28", 1},
      {"more", 9, "10.9.0.0/28", 2},
      {"single addresses", 3, "10.9.0.0/32", 4},
      {"IPv6", 1000, "fd00::/68", 1},
  }));
  INFO(c.name);
  REQUIRE(wanted_parts(c.in_use, prefix(c.part)) == c.parts);
}

TEST_CASE("grants: a pool is cut into aligned parts, each once") {
  REQUIRE(cut({{ip("10.9.0.3"), ip("10.9.0.5")}, {ip("10.9.0.7"), ip("10.9.0.8")}}, 30) ==
          std::vector{prefix("10.9.0.0/30"), prefix("10.9.0.4/30"), prefix("10.9.0.8/30")});
  REQUIRE(cut({{ip("255.255.255.250"), ip("255.255.255.255")}}, 30).size() == 2);
  REQUIRE(cut({{ip("10.0.0.0"), ip("10.255.255.255")}}, 32).size() == kMaxGrants);
}

}  // namespace
}  // namespace tombolo::grants
