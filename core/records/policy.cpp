// Policies in the one rule form, as the controller keeps them for its agents. What policies mean
// hangs on details, so decoding refuses whatever no writer of this form produces, rather than
// guess: a rule that says less than it should would let through or cut off.
#include <algorithm>

#include "core/records/fields.h"

namespace tombolo::records {
namespace {

namespace state = ::tombolo::state::v1;

void fill(state::LabelSelector* message, const LabelSelector& selector) {
  for (const LabelRequirement& requirement : selector.requirements) {
    auto* added = message->add_requirements();
    added->set_key(requirement.key);
    // The numbers of the message begin behind "unspecified".
    added->set_op(static_cast<state::LabelOperator>(static_cast<int>(requirement.op) + 1));
    for (const std::string& value : requirement.values) added->add_values(value);
  }
}
static_assert(static_cast<int>(LabelOperator::kIn) + 1 == state::LABEL_OPERATOR_IN);
static_assert(static_cast<int>(LabelOperator::kNotIn) + 1 == state::LABEL_OPERATOR_NOT_IN);
static_assert(static_cast<int>(LabelOperator::kExists) + 1 == state::LABEL_OPERATOR_EXISTS);
static_assert(static_cast<int>(LabelOperator::kDoesNotExist) + 1 ==
              state::LABEL_OPERATOR_DOES_NOT_EXIST);

void fill(state::PolicyPeerMatch* message, const PolicyPeerMatch& peer) {
  message->set_name_space(peer.name_space);
  if (!peer.namespaces.empty()) fill(message->mutable_namespaces(), peer.namespaces);
  if (!peer.pods.empty()) fill(message->mutable_pods(), peer.pods);
  if (peer.prefix) set_prefix(message->mutable_prefix(), *peer.prefix);
  for (const Prefix& prefix : peer.except) set_prefix(message->add_except(), prefix);
}

void fill(state::PolicyPortMatch* message, const PolicyPortMatch& port) {
  if (port.protocol) message->set_protocol(static_cast<state::Protocol>(*port.protocol));
  message->set_first(port.first);
  message->set_last(port.last);
  message->set_name(port.name);
}

void fill(state::PolicyRule* message, const PolicyRule& rule) {
  message->set_direction(rule.direction == PolicyDirection::kIngress
                             ? state::POLICY_DIRECTION_INGRESS
                             : state::POLICY_DIRECTION_EGRESS);
  switch (rule.action) {
    case PolicyAction::kAllow:
      message->set_action(state::POLICY_ACTION_ALLOW);
      break;
    case PolicyAction::kDeny:
      message->set_action(state::POLICY_ACTION_DENY);
      break;
    case PolicyAction::kPass:
      message->set_action(state::POLICY_ACTION_PASS);
      break;
  }
  message->set_name(rule.name);
  for (const PolicyPeerMatch& peer : rule.peers) fill(message->add_peers(), peer);
  for (const PolicyPortMatch& port : rule.ports) fill(message->add_ports(), port);
}

Result<LabelSelector> selector_of(const KeyValue& kv, const state::LabelSelector& message) {
  LabelSelector selector;
  for (const auto& entry : message.requirements()) {
    if (entry.op() == state::LABEL_OPERATOR_UNSPECIFIED ||
        !state::LabelOperator_IsValid(entry.op()))
      return fail(Code::kInvalidArgument, "{}: label operator {} is unknown", kv.key,
                  static_cast<int>(entry.op()));
    LabelRequirement requirement;
    requirement.key = entry.key();
    requirement.op = static_cast<LabelOperator>(static_cast<int>(entry.op()) - 1);
    requirement.values.assign(entry.values().begin(), entry.values().end());
    std::ranges::sort(requirement.values);
    bool has_values =
        requirement.op == LabelOperator::kIn || requirement.op == LabelOperator::kNotIn;
    if (requirement.key.empty())
      return fail(Code::kInvalidArgument, "{}: a label requirement without a key", kv.key);
    if (has_values == requirement.values.empty())
      return fail(Code::kInvalidArgument, "{}: the label requirement on '{}' has {} values", kv.key,
                  requirement.key, requirement.values.size());
    selector.requirements.push_back(std::move(requirement));
  }
  std::ranges::sort(selector.requirements);
  return selector;
}

Result<PolicyPeerMatch> peer_of(const KeyValue& kv, const state::PolicyPeerMatch& message) {
  PolicyPeerMatch peer;
  TRY(namespaces, selector_of(kv, message.namespaces()));
  TRY(pods, selector_of(kv, message.pods()));
  peer.name_space = message.name_space();
  peer.namespaces = std::move(namespaces);
  peer.pods = std::move(pods);
  if (!peer.name_space.empty() && !peer.namespaces.empty())
    return fail(Code::kInvalidArgument, "{}: a peer of a namespace and of selected ones", kv.key);
  if (message.has_prefix()) {
    TRY(prefix, prefix_of(kv, message.prefix()));
    if (!peer.name_space.empty() || !peer.namespaces.empty() || !peer.pods.empty())
      return fail(Code::kInvalidArgument, "{}: a peer of workloads and of {}", kv.key,
                  prefix.str());
    peer.prefix = prefix;
  }
  for (const auto& entry : message.except()) {
    TRY(prefix, prefix_of(kv, entry));
    if (!peer.prefix || !peer.prefix->contains(prefix))
      return fail(Code::kInvalidArgument, "{}: the exception {} is not inside its prefix", kv.key,
                  prefix.str());
    peer.except.push_back(prefix);
  }
  return peer;
}

Result<PolicyPortMatch> match_of(const KeyValue& kv, const state::PolicyPortMatch& message) {
  PolicyPortMatch match;
  if (message.protocol() != state::PROTOCOL_UNSPECIFIED) {
    TRY(protocol, protocol_of(kv, message.protocol()));
    match.protocol = protocol;
  }
  TRY(first, port_of(kv, message.first()));
  TRY(last, port_of(kv, message.last()));
  if (first > last)
    return fail(Code::kInvalidArgument, "{}: ports {} to {} are none", kv.key, first, last);
  match.first = first;
  match.last = last;
  match.name = message.name();
  bool all_ports = first == 0 && last == 65535;
  if (!match.protocol && (!all_ports || !match.name.empty()))
    return fail(Code::kInvalidArgument, "{}: ports of every protocol", kv.key);
  if (!match.name.empty() && !all_ports)
    return fail(Code::kInvalidArgument, "{}: the port '{}' has numbers, too", kv.key, match.name);
  return match;
}

Result<PolicyDirection> direction_of(const KeyValue& kv, state::PolicyDirection direction) {
  switch (direction) {
    case state::POLICY_DIRECTION_INGRESS:
      return PolicyDirection::kIngress;
    case state::POLICY_DIRECTION_EGRESS:
      return PolicyDirection::kEgress;
    default:
      return fail(Code::kInvalidArgument, "{}: direction {} is unknown", kv.key,
                  static_cast<int>(direction));
  }
}

Result<PolicyAction> action_of(const KeyValue& kv, state::PolicyAction action) {
  switch (action) {
    case state::POLICY_ACTION_ALLOW:
      return PolicyAction::kAllow;
    case state::POLICY_ACTION_DENY:
      return PolicyAction::kDeny;
    case state::POLICY_ACTION_PASS:
      return PolicyAction::kPass;
    default:
      return fail(Code::kInvalidArgument, "{}: action {} is unknown", kv.key,
                  static_cast<int>(action));
  }
}

Result<PolicyRule> rule_of(const KeyValue& kv, const state::PolicyRule& message) {
  PolicyRule rule;
  TRY(direction, direction_of(kv, message.direction()));
  TRY(action, action_of(kv, message.action()));
  rule.direction = direction;
  rule.action = action;
  rule.name = message.name();
  for (const auto& entry : message.peers()) {
    TRY(peer, peer_of(kv, entry));
    rule.peers.push_back(std::move(peer));
  }
  for (const auto& entry : message.ports()) {
    TRY(port, match_of(kv, entry));
    rule.ports.push_back(std::move(port));
  }
  return rule;
}

}  // namespace

std::string policy_key(const Policy& policy) {
  return fmt::format("{}{}", kPoliciesPrefix, policy.key());
}

std::string encode(const Policy& policy) {
  state::Policy message;
  switch (policy.kind) {
    case PolicyKind::kNetworkPolicy:
      message.set_kind(state::POLICY_KIND_NETWORK_POLICY);
      break;
  }
  message.set_name_space(policy.name_space);
  message.set_name(policy.name);
  fill(message.mutable_subjects(), policy.subjects);
  message.set_isolates_ingress(policy.isolates_ingress);
  message.set_isolates_egress(policy.isolates_egress);
  for (const PolicyRule& rule : policy.rules) fill(message.add_rules(), rule);
  return bytes_of(message);
}

Result<Policy> decode_policy(const KeyValue& kv) {
  TRY(message, parse<state::Policy>(kv));
  if (message.kind() != state::POLICY_KIND_NETWORK_POLICY)
    return fail(Code::kInvalidArgument, "{}: policy kind {} is unknown", kv.key,
                static_cast<int>(message.kind()));
  Policy policy;
  policy.kind = PolicyKind::kNetworkPolicy;
  policy.name_space = message.name_space();
  policy.name = message.name();
  TRY(subjects, selector_of(kv, message.subjects()));
  policy.subjects = std::move(subjects);
  policy.isolates_ingress = message.isolates_ingress();
  policy.isolates_egress = message.isolates_egress();
  for (const auto& entry : message.rules()) {
    TRY(rule, rule_of(kv, entry));
    policy.rules.push_back(std::move(rule));
  }
  if (policy.name_space.empty() || policy.name.empty())
    return fail(Code::kInvalidArgument, "{}: a policy without namespace or name", kv.key);
  if (policy_key(policy) != kv.key)
    return fail(Code::kInvalidArgument, "{}: holds the policy of another key, {}", kv.key,
                policy_key(policy));
  return policy;
}

}  // namespace tombolo::records
