// The one rule form: what every policy language is parsed into (policy/), how it is kept in the
// store (core/records) and what it is compiled from. And what it is compiled to: verdict sets,
// which the kernel (bpf/) and the simulation carry out. Rows of tables; no behaviour beyond keys.
//
//   NetworkPolicy, … -> Policy ┐
//   identities, addresses      ┼-> compiler -> VerdictSet, PolicyPeer, GuardedPod -> kernel
//   pods of the node           ┘
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ip.h"

namespace tombolo {

enum class PolicyDirection { kIngress, kEgress };
std::string_view to_string(PolicyDirection direction);  // "ingress", "egress"

enum class PolicyAction { kAllow, kDeny, kPass };
std::string_view to_string(PolicyAction action);  // "allow", "deny", "pass"

// ---- the one rule form

enum class LabelOperator { kIn, kNotIn, kExists, kDoesNotExist };

struct LabelRequirement {
  std::string key;
  LabelOperator op = LabelOperator::kExists;
  std::vector<std::string> values;  // sorted; kIn and kNotIn only
  auto operator<=>(const LabelRequirement&) const = default;
};

// All requirements must hold; none: everything matches. NotIn and DoesNotExist hold for an absent
// key (apimachinery's labels.Selector).
struct LabelSelector {
  std::vector<LabelRequirement> requirements;  // sorted
  bool empty() const { return requirements.empty(); }
  auto operator<=>(const LabelSelector&) const = default;
};

// Whom a rule is about. Either workloads (of every cluster) or addresses.
struct PolicyPeerMatch {
  // Workloads: in `name_space` when it is not empty, else in namespaces whose labels match; and
  // their own labels match. Never the host, and nobody without an identity.
  std::string name_space;
  LabelSelector namespaces;
  LabelSelector pods;
  // Addresses instead, when set: inside the prefix and in none of the exceptions.
  std::optional<Prefix> prefix;
  std::vector<Prefix> except;
  bool operator==(const PolicyPeerMatch&) const = default;
};

// Which ports of the destination. `first` to `last` inclusive, or by the name of the destination
// pod's container port.
struct PolicyPortMatch {
  std::optional<Protocol> protocol;  // none: every IP protocol, and then all ports
  Port first = 0;
  Port last = 65535;
  std::string name;
  bool operator==(const PolicyPortMatch&) const = default;
};

struct PolicyRule {
  PolicyDirection direction = PolicyDirection::kIngress;
  PolicyAction action = PolicyAction::kAllow;
  std::string name;                    // as its language calls it: "ingress[0]"
  std::vector<PolicyPeerMatch> peers;  // none: anybody
  std::vector<PolicyPortMatch> ports;  // none: every port and protocol
  bool operator==(const PolicyRule&) const = default;
};

enum class PolicyKind { kNetworkPolicy };
std::string_view to_string(PolicyKind kind);  // "NetworkPolicy"

// A policy and whom it governs: pods of its own cluster.
struct Policy {
  PolicyKind kind = PolicyKind::kNetworkPolicy;
  std::string name_space;
  std::string name;
  LabelSelector subjects;         // pods of its namespace
  bool isolates_ingress = false;  // what no rule allows is denied
  bool isolates_egress = false;
  std::vector<PolicyRule> rules;
  std::string key() const;  // "KIND/NAMESPACE/NAME"
  bool operator==(const Policy&) const = default;
};

// ---- what it is compiled to, per node

// How the verdict tables call a rule; 0: no rule was needed (not isolated, or the pod's own node).
using RuleNumber = std::uint32_t;
inline constexpr RuleNumber kMaxRuleNumber = 65535;

// A rule that a number stands for. A denial is a rule too: "isolation" of the policies that
// isolate.
struct NumberedRule {
  RuleNumber number = 0;
  std::uint64_t digest = 0;  // of everything below: numbers are kept over restarts by it
  PolicyDirection direction = PolicyDirection::kIngress;
  PolicyAction action = PolicyAction::kAllow;
  std::vector<std::string> policies;  // "KIND/NAMESPACE/NAME"; several only for an isolation
  std::string rule;  // "ingress[0]", "isolation", "closed" (its identity is unknown)
  std::string key() const { return std::to_string(number); }
  bool operator==(const NumberedRule&) const = default;
};

// bit 31: allowed; the rest: the rule.
using Verdict = std::uint32_t;
inline constexpr Verdict kVerdictAllow = 1U << 31;

struct PortSpan {
  std::uint8_t protocol = 0;  // 6, 17, 132; 0: every other one (then first 0, last 65535)
  Port first = 0;
  Port last = 65535;
  std::uint16_t port_class = 0;
  auto operator<=>(const PortSpan&) const = default;
};

// One direction of everything that a set of policies says, for all pods that it governs alike.
// Immutable: its name is a digest of its content.
struct VerdictSet {
  std::string id;
  PolicyDirection direction = PolicyDirection::kIngress;
  std::vector<std::uint16_t> peer_classes;  // by peer number; numbers beyond it are denied
  std::vector<PortSpan> ports;  // sorted; each of the protocols 0, 6, 17, 132 covered without gaps
  std::uint16_t port_class_count = 1;
  std::vector<Verdict> verdicts;  // [peer class * port_class_count + port class]
  RuleNumber otherwise = 0;       // names the denial of a peer that has no class yet
  const std::string& key() const { return id; }
  bool operator==(const VerdictSet&) const = default;
};

// An address or range that policy tells apart. A whole address (/32, /128) wins over ranges, a
// longer range over a shorter one; what is in none is peer 0.
struct PolicyPeer {
  Prefix prefix;
  std::uint32_t peer = 0;  // below kMaxPeers; pods that every rule treats alike share one
  std::uint32_t identity = 0;
  std::string key() const { return prefix.str(); }
  bool operator==(const PolicyPeer&) const = default;
};
inline constexpr std::uint32_t kMaxPeers = 65536;

// A pod of this node under policy.
struct GuardedPod {
  std::string attachment;      // Attachment::key()
  std::string host_interface;  // "tbo…"
  std::string pod;             // "NAMESPACE/NAME"; empty when the runtime gave none
  std::vector<Ip> ips;         // the only sources that it may use
  std::uint32_t identity = 0;
  std::string ingress;  // VerdictSet::id; empty: not isolated
  std::string egress;
  const std::string& key() const { return attachment; }
  bool operator==(const GuardedPod&) const = default;
};

}  // namespace tombolo
