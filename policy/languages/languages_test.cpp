// NetworkPolicies in, rules out; and what the API server refuses is refused with its place.
#include "policy/languages/languages.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/yaml.h"

namespace tombolo::policy {
namespace {

Result<Policy> parse(std::string_view spec) {
  std::string text = "metadata: {name: p, namespace: shop}\nspec: " + std::string(spec) + "\n";
  auto documents = parse_yaml(text, "p.yaml");
  REQUIRE(documents);
  return parse_network_policy(documents->front().root());
}

TEST_CASE("whom a policy isolates") {
  struct Case {
    std::string name;
    std::string spec;
    bool ingress;
    bool egress;
    std::size_t rules;
  };
  auto c = GENERATE(values<Case>({
      {"nothing said", "{}", true, false, 0},
      {"no types, empty egress", "{egress: []}", true, false, 0},
      {"no types, an egress rule", "{egress: [{}]}", true, true, 1},
      {"ingress only, egress rules say nothing", "{policyTypes: [Ingress], egress: [{}]}", true,
       false, 0},
      {"egress only, ingress rules say nothing", "{policyTypes: [Egress], ingress: [{}]}", false,
       true, 0},
      {"both, both empty", "{policyTypes: [Ingress, Egress], ingress: []}", true, true, 0},
  }));
  INFO(c.name);
  auto policy = parse(c.spec);
  REQUIRE(policy);
  REQUIRE(policy->isolates_ingress == c.ingress);
  REQUIRE(policy->isolates_egress == c.egress);
  REQUIRE(policy->rules.size() == c.rules);
}

TEST_CASE("peers") {
  auto policy = parse(R"({ingress: [{from: [
    {podSelector: {}},
    {namespaceSelector: {}},
    {podSelector: {matchLabels: {a: b}}, namespaceSelector: {matchExpressions: [{key: env, operator: Exists}]}},
    {ipBlock: {cidr: 10.0.0.5/8, except: [10.1.0.0/16]}}]}]})");
  REQUIRE(policy);
  const std::vector<PolicyPeerMatch>& peers = policy->rules[0].peers;
  REQUIRE(peers.size() == 4);
  REQUIRE((peers[0].name_space == "shop" && peers[0].pods.empty()));
  REQUIRE((peers[1].name_space.empty() && peers[1].namespaces.empty()));
  REQUIRE(peers[2].pods.requirements ==
          std::vector<LabelRequirement>{{"a", LabelOperator::kIn, {"b"}}});
  REQUIRE(peers[2].namespaces.requirements ==
          std::vector<LabelRequirement>{{"env", LabelOperator::kExists, {}}});
  REQUIRE(peers[3].prefix == Prefix::parse("10.0.0.0/8").value());
  REQUIRE(peers[3].except == std::vector<Prefix>{Prefix::parse("10.1.0.0/16").value()});
}

TEST_CASE("ports") {
  struct Case {
    std::string name;
    std::string port;
    PolicyPortMatch match;
  };
  auto c = GENERATE(values<Case>({
      {"empty: all of TCP", "{}", {Protocol::kTcp, 0, 65535, ""}},
      {"protocol alone", "{protocol: UDP}", {Protocol::kUdp, 0, 65535, ""}},
      {"a number", "{port: 80}", {Protocol::kTcp, 80, 80, ""}},
      {"a range", "{port: 80, endPort: 90, protocol: SCTP}", {Protocol::kSctp, 80, 90, ""}},
      {"a name", "{port: web, protocol: UDP}", {Protocol::kUdp, 0, 65535, "web"}},
  }));
  INFO(c.name);
  auto policy = parse("{ingress: [{ports: [" + c.port + "]}]}");
  REQUIRE(policy);
  REQUIRE(policy->rules[0].ports == std::vector<PolicyPortMatch>{c.match});
}

TEST_CASE("lists are bounded") {
  struct Case {
    std::string name;
    std::string before;
    std::string entry;
    std::string after;
    std::string place;
  };
  auto c = GENERATE(values<Case>({
      {"rules", "{ingress: [", "{}", "]}", "spec.ingress"},
      {"peers", "{egress: [{to: [", "{podSelector: {}}", "]}]}", "spec.egress[0].to"},
      {"ports", "{ingress: [{ports: [", "{port: 1}", "]}]}", "spec.ingress[0].ports"},
      {"exceptions", "{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [", "10.1.0.0/16",
       "]}}]}]}", "spec.egress[0].to[0].ipBlock.except"},
      {"values", "{podSelector: {matchExpressions: [{key: a, operator: In, values: [", "b", "]}]}}",
       "spec.podSelector.matchExpressions[0].values"},
  }));
  INFO(c.name);
  std::string entries = c.entry;
  for (int i = 1; i < 4096; ++i) entries += "," + c.entry;
  REQUIRE(parse(c.before + entries + c.after));
  auto policy = parse(c.before + entries + "," + c.entry + c.after);
  REQUIRE(!policy);
  REQUIRE(policy.error().what ==
          "p.yaml:2: " + c.place + ": has 4097 entries, at most 4096 are read");
}

TEST_CASE("what is refused, and where") {
  struct Case {
    std::string name;
    std::string spec;
    std::string place;
  };
  auto c = GENERATE(values<Case>({
      {"an empty peer", "{ingress: [{from: [{}]}]}", "spec.ingress[0].from[0]"},
      {"a block beside a selector",
       "{ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
       "spec.ingress[0].from[0]"},
      {"an exception outside",
       "{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}",
       "spec.egress[0].to[0].ipBlock.except[0]"},
      {"an exception of everything",
       "{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}",
       "spec.egress[0].to[0].ipBlock.except[0]"},
      {"not a CIDR", "{egress: [{to: [{ipBlock: {cidr: ten}}]}]}",
       "spec.egress[0].to[0].ipBlock.cidr"},
      {"endPort below port", "{ingress: [{ports: [{port: 9, endPort: 8}]}]}",
       "spec.ingress[0].ports[0].endPort"},
      {"endPort with a name", "{ingress: [{ports: [{port: web, endPort: 8}]}]}",
       "spec.ingress[0].ports[0].endPort"},
      {"endPort alone", "{ingress: [{ports: [{endPort: 8}]}]}", "spec.ingress[0].ports[0].endPort"},
      {"port 0", "{ingress: [{ports: [{port: 0}]}]}", "spec.ingress[0].ports[0].port"},
      {"a number as text", "{ingress: [{ports: [{port: '80'}]}]}", "spec.ingress[0].ports[0].port"},
      {"a protocol of another layer", "{ingress: [{ports: [{protocol: ICMP}]}]}",
       "spec.ingress[0].ports[0].protocol"},
      {"three types", "{policyTypes: [Ingress, Egress, Ingress]}", "spec.policyTypes"},
      {"an unknown type", "{policyTypes: [Sideways]}", "spec.policyTypes[0]"},
      {"In without values", "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
       "spec.podSelector.matchExpressions[0]"},
      {"Exists with values",
       "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
       "spec.podSelector.matchExpressions[0].values"},
      {"a value that no label has", "{podSelector: {matchLabels: {a: '-'}}}",
       "spec.podSelector.matchLabels.a"},
      {"a misspelt member", "{ingress: [{form: []}]}", "spec.ingress[0].form"},
      {"a list for a map", "{podSelector: []}", "spec.podSelector"},
  }));
  INFO(c.name);
  auto policy = parse(c.spec);
  REQUIRE(!policy);
  REQUIRE(policy.error().what.starts_with("p.yaml:2: " + c.place + ": "));
}

}  // namespace
}  // namespace tombolo::policy
