// Policies round-trip, and what could be misread is refused with its key.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>

#include "core/records/records.h"
#include "schema/state/v1/state.pb.h"

namespace tombolo {
namespace {

const std::string kKey = "tombolo/v1/policies/NetworkPolicy/stars/backend";

Policy sample() {
  Policy policy;
  policy.name_space = "stars";
  policy.name = "backend";
  policy.subjects.requirements = {{"role", LabelOperator::kIn, {"backend"}}};
  policy.isolates_ingress = true;
  PolicyRule rule;
  rule.name = "ingress[0]";
  PolicyPeerMatch pods;
  pods.namespaces.requirements = {{"team", LabelOperator::kNotIn, {"a", "b"}}};
  pods.pods.requirements = {{"old", LabelOperator::kDoesNotExist, {}},
                            {"role", LabelOperator::kExists, {}}};
  PolicyPeerMatch range;
  range.prefix = Prefix::parse("10.0.0.0/8").value();
  range.except = {Prefix::parse("10.1.0.0/16").value()};
  rule.peers = {pods, range};
  rule.ports = {{Protocol::kTcp, 6379, 6380, ""}, {Protocol::kUdp, 0, 65535, "dns"}, {}};
  PolicyRule egress;
  egress.direction = PolicyDirection::kEgress;
  egress.action = PolicyAction::kDeny;
  egress.name = "egress[0]";
  policy.rules = {rule, egress};
  return policy;
}

TEST_CASE("a policy survives the store") {
  Policy policy = sample();
  REQUIRE(records::policy_key(policy) == kKey);
  REQUIRE(records::decode_policy({kKey, records::encode(policy)}).value() == policy);
  Policy empty;
  empty.name_space = "a";
  empty.name = "b";
  KeyValue kv{records::policy_key(empty), records::encode(empty)};
  REQUIRE(records::decode_policy(kv).value() == empty);
}

TEST_CASE("a policy that could be misread is refused") {
  struct Case {
    std::string name;
    std::function<void(state::v1::Policy&)> change;
    std::string what;
  };
  auto test = GENERATE_COPY(values<Case>({
      {"kind", [](auto& m) { m.set_kind(state::v1::POLICY_KIND_UNSPECIFIED); },
       "policy kind 0 is unknown"},
      {"direction", [](auto& m) { m.mutable_rules(0)->clear_direction(); },
       "direction 0 is unknown"},
      {"action", [](auto& m) { m.mutable_rules(0)->clear_action(); }, "action 0 is unknown"},
      {"operator",
       [](auto& m) {
         m.mutable_subjects()->mutable_requirements(0)->set_op(
             static_cast<state::v1::LabelOperator>(9));
       },
       "label operator 9 is unknown"},
      {"in of nothing",
       [](auto& m) { m.mutable_subjects()->mutable_requirements(0)->clear_values(); },
       "the label requirement on 'role' has 0 values"},
      {"exists with values",
       [](auto& m) {
         m.mutable_rules(0)->mutable_peers(0)->mutable_pods()->mutable_requirements(0)->add_values(
             "x");
       },
       "the label requirement on 'old' has 1 values"},
      {"no label key", [](auto& m) { m.mutable_subjects()->mutable_requirements(0)->clear_key(); },
       "a label requirement without a key"},
      {"workloads and addresses",
       [](auto& m) { m.mutable_rules(0)->mutable_peers(1)->set_name_space("x"); },
       "a peer of workloads and of 10.0.0.0/8"},
      {"two kinds of namespaces",
       [](auto& m) { m.mutable_rules(0)->mutable_peers(0)->set_name_space("x"); },
       "a peer of a namespace and of selected ones"},
      {"host bits",
       [](auto& m) { m.mutable_rules(0)->mutable_peers(1)->mutable_prefix()->set_length(4); },
       "10.0.0.0/4 has bits behind its length"},
      {"length",
       [](auto& m) { m.mutable_rules(0)->mutable_peers(1)->mutable_prefix()->set_length(33); },
       "prefix length 33"},
      {"exception outside",
       [](auto& m) {
         m.mutable_rules(0)->mutable_peers(1)->mutable_except(0)->set_address(
             std::string("\x0b\x01\x00\x00", 4));
       },
       "the exception 11.1.0.0/16 is not inside its prefix"},
      {"exception without a prefix",
       [](auto& m) { m.mutable_rules(0)->mutable_peers(1)->clear_prefix(); },
       "the exception 10.1.0.0/16 is not inside its prefix"},
      {"port number", [](auto& m) { m.mutable_rules(0)->mutable_ports(0)->set_last(65536); },
       "65536 is not a port"},
      {"no ports", [](auto& m) { m.mutable_rules(0)->mutable_ports(0)->set_first(7000); },
       "ports 7000 to 6380 are none"},
      {"ports of every protocol",
       [](auto& m) { m.mutable_rules(0)->mutable_ports(0)->clear_protocol(); },
       "ports of every protocol"},
      {"name and number", [](auto& m) { m.mutable_rules(0)->mutable_ports(0)->set_name("x"); },
       "the port 'x' has numbers, too"},
      {"no name", [](auto& m) { m.clear_name(); }, "a policy without namespace or name"},
      {"another key", [](auto& m) { m.set_name("x"); },
       "holds the policy of another key, tombolo/v1/policies/NetworkPolicy/stars/x"},
  }));
  CAPTURE(test.name);
  state::v1::Policy message;
  REQUIRE(message.ParseFromString(records::encode(sample())));
  test.change(message);
  auto decoded = records::decode_policy({kKey, message.SerializeAsString()});
  REQUIRE_FALSE(decoded.has_value());
  REQUIRE(decoded.error().what == kKey + ": " + test.what);
  REQUIRE(records::decode_policy({kKey, "\xff\xff"}).error().what == kKey + ": not a Policy");
}

TEST_CASE("bytes that were damaged are refused or mean a policy of this key") {
  REQUIRE(rc::check("decode_policy", [] {
    std::string bytes = records::encode(sample());
    auto at = *rc::gen::inRange<std::size_t>(0, bytes.size());
    bytes[at] = static_cast<char>(*rc::gen::inRange(0, 256));
    auto decoded = records::decode_policy({kKey, bytes});
    if (!decoded) {
      RC_ASSERT(decoded.error().what.starts_with(kKey + ": "));
      return;
    }
    RC_ASSERT(records::policy_key(*decoded) == kKey);
    RC_ASSERT(records::decode_policy({kKey, records::encode(*decoded)}).value() == *decoded);
  }));
}

}  // namespace
}  // namespace tombolo
