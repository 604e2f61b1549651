// The compiler's steps but the last, and its interface.
#include "policy/compiler/compiler.h"

#include <algorithm>

#include "policy/compiler/state.h"
#include "policy/rules/rules.h"

namespace tombolo::policy {
namespace {

bool isolates(const Policy& policy, PolicyDirection direction) {
  return direction == PolicyDirection::kIngress ? policy.isolates_ingress : policy.isolates_egress;
}

std::string_view namespace_of(std::string_view pod) {
  return pod.substr(0, pod.find('/'));
}

constexpr std::string_view kClosed = "closed";

// What the rule tells addresses apart by, beside labels.
void collect(const PolicyRule& rule, std::set<Prefix>& prefixes, std::set<std::string>& names) {
  for (const PolicyPeerMatch& peer : rule.peers) {
    if (!peer.prefix) continue;
    prefixes.insert(*peer.prefix);
    prefixes.insert(peer.except.begin(), peer.except.end());
  }
  if (rule.direction != PolicyDirection::kEgress) return;
  for (const PolicyPortMatch& port : rule.ports)
    if (!port.name.empty()) names.insert(port.name);
}

}  // namespace

// ---- who governs which pod

std::optional<SetKey> Compiler::State::key_for(const LocalGuarded& pod,
                                               PolicyDirection direction) const {
  if (pod.pod.empty()) return std::nullopt;
  auto here = policies_in.find(std::string(namespace_of(pod.pod)));
  if (here == policies_in.end()) return std::nullopt;
  auto identity = identities.find(pod.identity);
  bool known = pod.identity != 0 && identity != identities.end();
  SetKey key;
  key.direction = direction;
  std::set<std::string> names;
  bool isolated = false;
  for (const std::string& name : here->second) {
    const PolicyRef& policy = policies.at(name);
    if (!isolates(policy->policy, direction)) continue;
    if (!known) {
      isolated = true;
      continue;
    }
    if (!governs(policy->policy, identity->second)) continue;
    isolated = true;
    key.policies.emplace_back(name, policy->revision);
    for (const PolicyRule& rule : policy->policy.rules)
      if (rule.direction == direction && direction == PolicyDirection::kIngress)
        for (const PolicyPortMatch& port : rule.ports)
          if (!port.name.empty()) names.insert(port.name);
  }
  if (!isolated) return std::nullopt;
  for (const NamedPort& port : pod.ports)
    if (names.contains(port.name)) key.ports.push_back(port);
  std::ranges::sort(key.ports);
  return key;
}

void Compiler::State::use(const std::optional<SetKey>& key) {
  if (!key) return;
  auto [at, fresh] = sets.try_emplace(*key);
  ++at->second.users;
  if (fresh) sets_changed = true;
}

void Compiler::State::unuse(const std::optional<SetKey>& key) {
  if (!key) return;
  auto at = sets.find(*key);
  if (--at->second.users == 0) sets_changed = true;
}

void Compiler::State::assign(KnownPod& known) {
  auto ingress = key_for(known.pod, PolicyDirection::kIngress);
  auto egress = key_for(known.pod, PolicyDirection::kEgress);
  use(ingress);
  use(egress);
  unuse(known.ingress);
  unuse(known.egress);
  known.ingress = std::move(ingress);
  known.egress = std::move(egress);
}

// The pods that a policy that comes, goes or changes may concern.
void Compiler::State::touch(const Policy& policy) {
  auto here = pods_in.find(policy.name_space);
  if (here == pods_in.end()) return;
  for (const std::string& attachment : here->second) {
    auto identity = identities.find(pods.at(attachment).pod.identity);
    if (identity == identities.end() || governs(policy, identity->second))
      due_pods.insert(attachment);
  }
}

void Compiler::State::assign_pods() {
  for (const std::string& attachment : due_pods)
    if (auto at = pods.find(attachment); at != pods.end()) assign(at->second);
  due_pods.clear();
}

// ---- which sets are in force

void Compiler::State::make_builder(const SetKey& key, LiveSet& set) {
  NumberedRule isolation;
  isolation.direction = key.direction;
  isolation.action = PolicyAction::kDeny;
  isolation.rule = key.policies.empty() ? std::string(kClosed) : "isolation";
  std::vector<RuleInForce> rules;
  for (const auto& [name, revision] : key.policies) {
    PolicyRef policy = policies.at(name);
    isolation.policies.push_back(name);
    for (const PolicyRule& rule : policy->policy.rules) {
      if (rule.direction != key.direction) continue;
      RuleInForce in_force;
      in_force.rule = &rule;
      in_force.policy = name;
      NumberedRule numbered{0, 0, key.direction, rule.action, {name}, rule.name};
      in_force.number = rule_numbers.number_of(std::move(numbered), now);
      set.numbers.insert(in_force.number);
      for (const PolicyPeerMatch& peer : rule.peers) {
        if (peer.prefix)
          in_force.prefixes.push_back(&peer);
        else
          in_force.selectors.push_back(selectors.find(peer, identities));
      }
      in_force.names_ports = std::ranges::any_of(
          rule.ports, [](const PolicyPortMatch& port) { return !port.name.empty(); });
      collect(rule, set.prefixes, set.egress_names);
      rules.push_back(std::move(in_force));
    }
    set.policies.push_back(std::move(policy));
  }
  RuleNumber number = rule_numbers.number_of(std::move(isolation), now);
  set.numbers.insert(number);
  set.builder = std::make_unique<SetBuilder>(key.direction, std::move(rules), key.ports, number,
                                             limits.cells_per_set);
}

void Compiler::State::make_sets() {
  if (!sets_changed) return;
  sets_changed = false;
  std::erase_if(sets, [](const auto& entry) { return entry.second.users == 0; });
  std::set<Prefix> prefixes;
  std::set<std::string> names;
  for (auto& [key, set] : sets) {
    if (!set.builder) make_builder(key, set);
    prefixes.insert(set.prefixes.begin(), set.prefixes.end());
    names.insert(set.egress_names.begin(), set.egress_names.end());
  }
  book.use(std::move(prefixes), std::move(names));
}

// The prefixes and names of rules that are about to be in force, beside those that are. Whether
// there are any new ones.
bool Compiler::State::announce() {
  std::set<Prefix> prefixes = book.cells();
  std::set<std::string> names = book.names();
  std::size_t before = prefixes.size() + names.size();
  for (const std::string& attachment : due_pods) {
    auto known = pods.find(attachment);
    if (known == pods.end()) continue;
    for (PolicyDirection direction : {PolicyDirection::kIngress, PolicyDirection::kEgress}) {
      auto key = key_for(known->second.pod, direction);
      if (!key || sets.contains(*key)) continue;
      for (const auto& [name, revision] : key->policies)
        for (const PolicyRule& rule : policies.at(name)->policy.rules)
          if (rule.direction == direction) collect(rule, prefixes, names);
    }
  }
  if (prefixes.size() + names.size() == before) return false;
  book.use(std::move(prefixes), std::move(names));
  return true;
}

// ---- their content

void Compiler::State::build_sets(const std::vector<std::uint32_t>& fresh) {
  for (auto& [key, set] : sets) {
    if (set.stale || set.builder->wasteful())
      set.builder->classify(book);
    else if (fresh.empty() || !set.builder->classify(book, fresh))
      continue;
    set.stale = false;
    auto built = set.builder->build();
    set.error = built ? std::string() : built.error().what;
  }
}

// ---- the interface

Compiler::Compiler(CompilerLimits limits) : state_(std::make_unique<State>(limits)) {}
Compiler::~Compiler() = default;

void Compiler::seed_peers(const std::vector<PolicyPeer>& rows) {
  state_->book.seed(rows);
}

void Compiler::seed_rules(const std::vector<std::pair<RuleNumber, std::uint64_t>>& digests) {
  for (const auto& [number, digest] : digests) state_->rule_numbers.seed(number, digest);
}

void Compiler::set_policy(Policy policy) {
  std::string key = policy.key();
  PolicyRef& slot = state_->policies[key];
  if (slot && slot->policy == policy) return;
  state_->policies_in[policy.name_space].insert(key);
  if (slot) state_->touch(slot->policy);
  state_->touch(policy);
  slot = std::make_shared<KnownPolicy>(KnownPolicy{std::move(policy), state_->next_revision++});
}

void Compiler::erase_policy(const std::string& key) {
  auto at = state_->policies.find(key);
  if (at == state_->policies.end()) return;
  const std::string& name_space = at->second->policy.name_space;
  auto here = state_->policies_in.find(name_space);
  here->second.erase(key);
  if (here->second.empty()) state_->policies_in.erase(here);
  state_->touch(at->second->policy);
  state_->policies.erase(at);
}

void Compiler::set_identity(Identity identity) {
  std::uint32_t number = identity.number;
  auto [at, fresh] = state_->identities.try_emplace(number);
  if (!fresh && at->second == identity) return;
  // The same number with other labels: peers keep their numbers and change their classes. Also when
  // it went and came back since the last compile(): nobody noticed that it was away.
  if (!fresh) state_->selectors.remove(number);
  state_->relabelled.insert(number);
  at->second = std::move(identity);
  state_->selectors.add(at->second);
  state_->book.identity_changed(number);
  if (auto pods = state_->pods_of_identity.find(number); pods != state_->pods_of_identity.end())
    state_->due_pods.insert(pods->second.begin(), pods->second.end());
}

void Compiler::erase_identity(std::uint32_t number) {
  if (state_->identities.erase(number) == 0) return;
  state_->selectors.remove(number);
  state_->book.identity_changed(number);
  if (auto pods = state_->pods_of_identity.find(number); pods != state_->pods_of_identity.end())
    state_->due_pods.insert(pods->second.begin(), pods->second.end());
}

void Compiler::set_owner(IpOwner owner) {
  state_->book.set_owner(std::move(owner));
}

void Compiler::erase_owner(const Ip& ip) {
  state_->book.erase_owner(ip);
}

void Compiler::set_pod(LocalGuarded pod) {
  auto [at, fresh] = state_->pods.try_emplace(pod.attachment);
  if (!fresh && at->second.pod == pod) return;
  if (!fresh) {
    state_->pods_in[std::string(namespace_of(at->second.pod.pod))].erase(pod.attachment);
    state_->pods_of_identity[at->second.pod.identity].erase(pod.attachment);
  }
  state_->pods_in[std::string(namespace_of(pod.pod))].insert(pod.attachment);
  state_->pods_of_identity[pod.identity].insert(pod.attachment);
  state_->due_pods.insert(pod.attachment);
  at->second.pod = std::move(pod);
}

void Compiler::erase_pod(const std::string& attachment) {
  auto at = state_->pods.find(attachment);
  if (at == state_->pods.end()) return;
  state_->unuse(at->second.ingress);
  state_->unuse(at->second.egress);
  auto here = state_->pods_in.find(std::string(namespace_of(at->second.pod.pod)));
  here->second.erase(attachment);
  if (here->second.empty()) state_->pods_in.erase(here);
  auto same = state_->pods_of_identity.find(at->second.pod.identity);
  same->second.erase(attachment);
  if (same->second.empty()) state_->pods_of_identity.erase(same);
  state_->pods.erase(at);
}

// Numbers that mean something new, and those of identities that do.
PeerBook::Update Compiler::State::update_peers() {
  PeerBook::Update peers = book.update(identities, now);
  for (std::uint32_t identity : relabelled)
    if (const auto* numbers = book.of_identity(identity))
      peers.fresh.insert(peers.fresh.end(), numbers->begin(), numbers->end());
  relabelled.clear();
  return peers;
}

std::optional<Changes> Compiler::prepare(MonotonicTime now) {
  state_->now = now;
  // At first there are no rules that were in force, but for an earlier life's, whose sets know only
  // the numbers of then.
  if (!state_->compiled || !state_->announce()) return std::nullopt;
  PeerBook::Update peers = state_->update_peers();
  state_->build_sets(peers.fresh);
  Changes changes;
  changes.peers = std::move(peers.rows);
  changes.erased_peers = std::move(peers.erased);
  state_->emit_prepared(changes);
  return changes;
}

Changes Compiler::compile(MonotonicTime now) {
  state_->now = now;
  state_->compiled = true;
  state_->assign_pods();
  state_->make_sets();
  PeerBook::Update peers = state_->update_peers();
  state_->build_sets(peers.fresh);
  state_->tell_errors();
  Changes changes;
  changes.peers = std::move(peers.rows);
  changes.erased_peers = std::move(peers.erased);
  state_->emit(changes);
  return changes;
}

const std::map<std::string, std::string>& Compiler::errors() const {
  return state_->errors;
}

}  // namespace tombolo::policy
