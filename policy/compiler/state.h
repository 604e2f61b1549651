// What the compiler knows, and the steps of compile() in their order: who governs which pod ->
// which sets are in force -> which peers they tell apart -> the sets' content -> what changed. Part
// of the compiler.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/compiler/compiler.h"
#include "policy/compiler/rule_numbers.h"
#include "policy/compiler/set_builder.h"

namespace tombolo::policy {

struct KnownPolicy {
  Policy policy;
  std::uint64_t revision = 0;
};
using PolicyRef = std::shared_ptr<const KnownPolicy>;

// What pods must have in common to share a set. No policies: the closed set.
struct SetKey {
  PolicyDirection direction = PolicyDirection::kIngress;
  std::vector<std::pair<std::string, std::uint64_t>> policies;  // key and revision, sorted
  std::vector<NamedPort> ports;  // of the governed pods, as far as ingress rules name them
  auto operator<=>(const SetKey&) const = default;
};

struct LiveSet {
  std::vector<PolicyRef> policies;  // whose rules the builder points into
  std::unique_ptr<SetBuilder> builder;
  std::set<RuleNumber> numbers;
  std::set<Prefix> prefixes;
  std::set<std::string> egress_names;
  std::size_t users = 0;
  bool stale = true;  // to be classified from scratch
  std::string error;  // why it is closed
};

struct KnownPod {
  LocalGuarded pod;
  std::optional<SetKey> ingress;  // nothing: not isolated
  std::optional<SetKey> egress;
};

struct Compiler::State {
  explicit State(CompilerLimits given)
      : limits(given),
        book(given.peers, given.quarantine),
        rule_numbers(given.rules, given.quarantine) {}

  std::optional<SetKey> key_for(const LocalGuarded& pod, PolicyDirection direction) const;
  void assign(KnownPod& known);
  void touch(const Policy& policy);
  void use(const std::optional<SetKey>& key);
  void unuse(const std::optional<SetKey>& key);
  void assign_pods();
  void make_builder(const SetKey& key, LiveSet& set);
  void make_sets();
  bool announce();
  PeerBook::Update update_peers();
  void build_sets(const std::vector<std::uint32_t>& fresh);
  void tell_errors();
  std::string id_of(const std::optional<SetKey>& key) const;
  void emit(Changes& changes);
  void emit_prepared(Changes& changes);
  void emit_sets(Changes& changes, std::set<std::string>& ids);
  void emit_rules(Changes& changes);

  CompilerLimits limits;
  MonotonicTime now{};
  std::map<std::string, PolicyRef> policies;
  std::map<std::string, std::set<std::string>> policies_in;  // namespace -> keys
  std::map<std::uint32_t, Identity> identities;
  std::map<std::string, KnownPod> pods;
  std::map<std::string, std::set<std::string>> pods_in;             // namespace -> attachments
  std::map<std::uint32_t, std::set<std::string>> pods_of_identity;  // -> attachments
  std::set<std::string> due_pods;
  std::uint64_t next_revision = 1;
  SelectorIndex selectors;
  PeerBook book;
  RuleNumbers rule_numbers;
  std::map<SetKey, LiveSet> sets;
  bool sets_changed = false;
  bool compiled = false;               // at least once
  std::set<std::uint32_t> relabelled;  // identities that have, or may have, other labels now
  std::set<std::string> sent_sets;
  std::map<std::string, GuardedPod> sent_pods;
  std::map<std::string, std::string> errors;
};

}  // namespace tombolo::policy
