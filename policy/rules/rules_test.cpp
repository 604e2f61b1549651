// The plain meaning of rules: selectors, order, and what a denial tells.
#include "policy/rules/rules.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo::policy {
namespace {

TEST_CASE("selectors against labels") {
  struct Case {
    std::string name;
    LabelRequirement requirement;
    bool web;   // {app: web}
    bool none;  // {}
  };
  auto c = GENERATE(values<Case>({
      {"in", {"app", LabelOperator::kIn, {"db", "web"}}, true, false},
      {"in others", {"app", LabelOperator::kIn, {"db"}}, false, false},
      {"not in holds for the absent", {"app", LabelOperator::kNotIn, {"web"}}, false, true},
      {"exists", {"app", LabelOperator::kExists, {}}, true, false},
      {"does not exist", {"app", LabelOperator::kDoesNotExist, {}}, false, true},
  }));
  INFO(c.name);
  LabelSelector selector{{c.requirement}};
  REQUIRE(matches(selector, {{"app", "web"}}) == c.web);
  REQUIRE(matches(selector, {}) == c.none);
}

Policy policy(std::string name, std::vector<PolicyRule> rules) {
  Policy result;
  result.name_space = "shop";
  result.name = std::move(name);
  result.isolates_ingress = true;
  result.rules = std::move(rules);
  return result;
}

TEST_CASE("the first rule that allows decides; a denial tells the nearest rules first") {
  PolicyPeerMatch web;
  web.name_space = "shop";
  web.pods.requirements = {{"app", LabelOperator::kIn, {"web"}}};
  PolicyPortMatch http{Protocol::kTcp, 80, 80, ""};
  PolicyPortMatch dns{Protocol::kUdp, 53, 53, ""};
  PolicyRule far{PolicyDirection::kIngress, PolicyAction::kAllow, "ingress[0]", {web}, {dns}};
  PolicyRule near{PolicyDirection::kIngress, PolicyAction::kAllow, "ingress[1]", {web}, {http}};
  Policy second = policy("b", {near});
  Policy first = policy("a", {far, near});
  std::array<const Policy*, 2> policies{&second, &first};
  Identity db{1000, "east", "shop", "default", {{"app", "db"}}, {}};
  Identity front{1001, "west", "shop", "default", {{"app", "web"}}, {}};
  Party to{&db, {}, {}};
  Party from{&front, {}, {}};
  Traffic http_traffic{Protocol::kTcp, 80};

  Judgement allowed = judge(policies, PolicyDirection::kIngress, to, from, http_traffic);
  REQUIRE(allowed.allowed);
  REQUIRE(allowed.policy == &first);
  REQUIRE(allowed.rule->name == "ingress[1]");

  Judgement denied = judge(policies, PolicyDirection::kIngress, to, to, http_traffic);
  REQUIRE(!denied.allowed);
  REQUIRE(denied.isolating == std::vector<const Policy*>{&first, &second});
  REQUIRE(denied.misses.size() == 3);
  REQUIRE((denied.misses[0].peers && !denied.misses[0].ports));
  REQUIRE((denied.misses[2].peers && denied.misses[2].ports));
  Judgement icmp = judge(policies, PolicyDirection::kIngress, to, from, Traffic{});
  REQUIRE(!icmp.allowed);
  Party host;
  REQUIRE(judge(policies, PolicyDirection::kIngress, host, from, http_traffic).allowed);
}

}  // namespace
}  // namespace tombolo::policy
