// The compiled tables say what the rules say, for any policies, pods and edits: measured against
// judge(), which reads the rules one by one.
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "policy/compiler/compiler.h"
#include "policy/rules/rules.h"

namespace tombolo::policy {
namespace {

// A small world, so that things coincide.
const std::vector<std::string> kNamespaces{"red", "blue"};
const std::vector<std::string> kKeys{"app", "tier"};
const std::vector<std::string> kValues{"a", "b", "c"};
const std::vector<std::string> kPortNames{"web", "db"};
constexpr std::array kProtocols{Protocol::kTcp, Protocol::kUdp, Protocol::kSctp};

template <class T>
T pick(const std::vector<T>& list) {
  return *rc::gen::elementOf(list);
}
int number(int low, int high) {
  return *rc::gen::inRange(low, high + 1);
}

LabelSelector any_selector() {
  LabelSelector selector;
  for (int i = number(0, 2); i > 0; --i) {
    LabelRequirement requirement;
    requirement.key = pick(kKeys);
    requirement.op = static_cast<LabelOperator>(number(0, 3));
    bool takes = requirement.op == LabelOperator::kIn || requirement.op == LabelOperator::kNotIn;
    if (takes) requirement.values = {pick(kValues)};
    selector.requirements.push_back(std::move(requirement));
  }
  return selector;
}

// 10.0.0.0/24 and halves of halves, so that prefixes nest.
Prefix any_prefix(int shortest) {
  return Prefix(Ip::v4(0x0a000000U + static_cast<std::uint32_t>(number(0, 255))),
                number(shortest, 32));
}

PolicyPeerMatch any_peer(const std::string& own) {
  PolicyPeerMatch peer;
  if (number(0, 2) == 0) {
    peer.prefix = any_prefix(24);
    for (int i = number(0, 2); i > 0; --i)
      if (Prefix except = any_prefix(25); peer.prefix->contains(except))
        peer.except.push_back(except);
    return peer;
  }
  if (number(0, 1) == 0)
    peer.name_space = own;
  else
    peer.namespaces = any_selector();
  peer.pods = any_selector();
  return peer;
}

PolicyPortMatch any_port() {
  PolicyPortMatch port;
  if (number(0, 9) == 0) return port;
  port.protocol = kProtocols[static_cast<std::size_t>(number(0, 2))];
  if (number(0, 2) == 0) {
    port.name = pick(kPortNames);
    return port;
  }
  port.first = static_cast<Port>(number(1, 5));
  port.last = static_cast<Port>(port.first + number(0, 3));
  return port;
}

Policy any_policy() {
  Policy policy;
  policy.name_space = pick(kNamespaces);
  policy.name = fmt::format("p{}", number(0, 5));
  policy.subjects = any_selector();
  policy.isolates_ingress = number(0, 3) != 0;
  policy.isolates_egress = number(0, 1) != 0;
  for (PolicyDirection direction : {PolicyDirection::kIngress, PolicyDirection::kEgress}) {
    bool isolates =
        direction == PolicyDirection::kIngress ? policy.isolates_ingress : policy.isolates_egress;
    for (int i = isolates ? number(0, 3) : 0; i > 0; --i) {
      PolicyRule rule;
      rule.direction = direction;
      rule.name = fmt::format("{}[{}]", to_string(direction), i);
      for (int j = number(0, 2); j > 0; --j) rule.peers.push_back(any_peer(policy.name_space));
      for (int j = number(0, 2); j > 0; --j) rule.ports.push_back(any_port());
      policy.rules.push_back(std::move(rule));
    }
  }
  return policy;
}

struct Pod {
  std::uint32_t identity = 0;
  Ip ip;
  std::vector<NamedPort> ports;
};

// What both sides are told, and what the compiler's rows say so far.
struct World {
  std::map<std::string, Policy> policies;
  std::map<std::uint32_t, Identity> identities;
  std::map<int, Pod> pods;
  Compiler compiler;
  MonotonicTime now{};
  std::map<std::string, VerdictSet> sets;
  std::map<Prefix, std::uint32_t> peers;
  std::map<std::string, GuardedPod> guarded;
  std::map<RuleNumber, NumberedRule> rules;

  void edit();
  void edit_policy();
  void edit_pod();
  void edit_identity();
  void take(const std::function<void()>& look = [] {});
  void write(const Changes& changes, const std::function<void()>& look);
  void check() const;
  std::vector<Party> parties() const;
  bool allowed(PolicyDirection direction, int at, const Party& peer, Traffic traffic) const;
  std::vector<bool> verdicts(const std::vector<Party>& peers) const;
  void check_direction(PolicyDirection direction, int at, const Pod& pod, const Party& peer,
                       Traffic traffic) const;
  Party party_of(const Pod& pod) const {
    Party party;
    auto identity = identities.find(pod.identity);
    party.identity = identity == identities.end() ? nullptr : &identity->second;
    party.ip = pod.ip;
    party.ports = pod.ports;
    return party;
  }
  std::uint32_t peer_of(const Ip& ip) const {
    for (int length = 32; length >= 0; --length)
      if (auto at = peers.find(Prefix(ip, length)); at != peers.end()) return at->second;
    return 0;
  }
};

void World::edit_identity() {
  Identity identity;
  identity.number = static_cast<std::uint32_t>(number(300, 306));
  identity.name_space = identity.number % 2 == 0 ? "red" : "blue";
  identity.namespace_labels = {{"app", pick(kValues)}};
  if (number(0, 2) != 0) identity.labels[pick(kKeys)] = pick(kValues);
  if (number(0, 5) == 0) {
    identities.erase(identity.number);
    compiler.erase_identity(identity.number);
    return;
  }
  identities[identity.number] = identity;
  compiler.set_identity(identity);
}

void World::edit_pod() {
  int at = number(0, 7);
  std::string key = fmt::format("c{}/eth0", at);
  if (auto old = pods.find(at); old != pods.end()) {
    compiler.erase_owner(old->second.ip);
    if (number(0, 2) == 0) {
      compiler.erase_pod(key);
      pods.erase(old);
      return;
    }
  }
  Pod pod;
  pod.identity = static_cast<std::uint32_t>(number(300, 306));
  pod.ip = Ip::v4(0x0a000000U + static_cast<std::uint32_t>(at * 32 + number(0, 31)));
  for (const std::string& name : kPortNames)
    if (number(0, 1) == 0)
      pod.ports.push_back({name, kProtocols[static_cast<std::size_t>(number(0, 1))],
                           static_cast<Port>(number(1, 5))});
  std::ranges::sort(pod.ports);
  pods[at] = pod;
  IpOwner owner;
  owner.ip = pod.ip;
  owner.identity = pod.identity;
  owner.ports = pod.ports;
  compiler.set_owner(owner);
  std::string name_space = pod.identity % 2 == 0 ? "red" : "blue";
  compiler.set_pod({key, "tbo", name_space + "/p", {pod.ip}, pod.identity, pod.ports});
}

void World::edit_policy() {
  if (policies.empty() || number(0, 2) != 0) {
    Policy policy = any_policy();
    compiler.set_policy(policy);
    policies[policy.key()] = policy;
    return;
  }
  std::string key =
      std::next(policies.begin(), number(0, static_cast<int>(policies.size()) - 1))->first;
  compiler.erase_policy(key);
  policies.erase(key);
}

void World::edit() {
  switch (number(0, 3)) {
    case 0:
    case 1:
      return edit_policy();
    case 2:
      return edit_identity();
    default:
      return edit_pod();
  }
}

// In the order of the guard; `look` sees what packets may meet.
void World::write(const Changes& changes, const std::function<void()>& look) {
  for (const NumberedRule& rule : changes.rules) rules[rule.number] = rule;
  for (const VerdictSet& set : changes.sets) {
    RC_ASSERT(!sets.contains(set.id));
    sets[set.id] = set;
  }
  for (const GuardedPod& pod : changes.pods) guarded[pod.attachment] = pod;
  look();
  for (std::size_t i = 0; i < changes.peers.size(); ++i) {
    peers[changes.peers[i].prefix] = changes.peers[i].peer;
    if (i == changes.peers.size() / 2) look();
  }
  look();
  for (std::size_t i = 0; i < changes.erased_peers.size(); ++i) {
    RC_ASSERT(peers.erase(changes.erased_peers[i]) == 1U);
    if (i == changes.erased_peers.size() / 2) look();
  }
  look();
  for (const std::string& gone : changes.erased_pods) RC_ASSERT(guarded.erase(gone) == 1U);
  for (const std::string& gone : changes.erased_sets) RC_ASSERT(sets.erase(gone) == 1U);
  for (RuleNumber gone : changes.erased_rules) rules.erase(gone);
}

void World::take(const std::function<void()>& look) {
  now += std::chrono::seconds(number(0, 40));
  if (auto prepared = compiler.prepare(now)) write(*prepared, look);
  write(compiler.compile(now), look);
  RC_ASSERT(compiler.errors().empty());
  RC_ASSERT(!compiler.prepare(now));
  RC_ASSERT(compiler.compile(now).empty());
}

bool World::allowed(PolicyDirection direction, int at, const Party& peer, Traffic traffic) const {
  const GuardedPod& row = guarded.at(fmt::format("c{}/eth0", at));
  const std::string& id = direction == PolicyDirection::kIngress ? row.ingress : row.egress;
  if (id.empty()) return true;
  auto protocol =
      static_cast<std::uint8_t>(traffic.protocol ? static_cast<int>(*traffic.protocol) : 1);
  return (look_up(sets.at(id), peer_of(*peer.ip), protocol, traffic.port) & kVerdictAllow) != 0;
}

void World::check_direction(PolicyDirection direction, int at, const Pod& pod, const Party& peer,
                            Traffic traffic) const {
  const GuardedPod& row = guarded.at(fmt::format("c{}/eth0", at));
  const std::string& id = direction == PolicyDirection::kIngress ? row.ingress : row.egress;
  Party own = party_of(pod);
  std::vector<const Policy*> all;
  for (const auto& [key, policy] : policies) all.push_back(&policy);
  if (own.identity == nullptr) {
    // Closed where anything in its namespace isolates.
    bool isolated = std::ranges::any_of(all, [&](const Policy* policy) {
      return policy->name_space == (pod.identity % 2 == 0 ? "red" : "blue") &&
             (direction == PolicyDirection::kIngress ? policy->isolates_ingress
                                                     : policy->isolates_egress);
    });
    RC_ASSERT(isolated == !id.empty());
    if (!isolated) return;
    const VerdictSet& set = sets.at(id);
    for (Verdict verdict : set.verdicts) RC_ASSERT((verdict & kVerdictAllow) == 0U);
    return;
  }
  Judgement expected = judge(all, direction, own, peer, traffic);
  RC_ASSERT(expected.isolating.empty() == id.empty());
  if (id.empty()) return;
  auto protocol =
      static_cast<std::uint8_t>(traffic.protocol ? static_cast<int>(*traffic.protocol) : 1);
  Verdict verdict = look_up(sets.at(id), peer_of(*peer.ip), protocol, traffic.port);
  RC_ASSERT(((verdict & kVerdictAllow) != 0) == expected.allowed);
  const NumberedRule& rule = rules.at(verdict & ~kVerdictAllow);
  if (expected.allowed) {
    RC_ASSERT(rule.policies == std::vector<std::string>{expected.policy->key()});
    RC_ASSERT(rule.rule == expected.rule->name);
  } else {
    RC_ASSERT(rule.rule == "isolation");
    RC_ASSERT(rule.policies.size() == expected.isolating.size());
  }
}

constexpr std::array<Port, 7> kPorts{0, 1, 2, 4, 5, 8, 65535};

template <class Body>
void each_traffic(Body body) {
  for (Port port : kPorts)
    for (int protocol = 0; protocol < 4; ++protocol) {
      Traffic traffic;
      traffic.port = port;
      if (protocol < 3) traffic.protocol = kProtocols[static_cast<std::size_t>(protocol)];
      body(traffic);
    }
}

// All pods, and some addresses outside.
std::vector<Party> World::parties() const {
  std::vector<Party> parties;
  for (const auto& [at, pod] : pods) parties.push_back(party_of(pod));
  for (int i = 0; i < 4; ++i) {
    Party outside;
    outside.ip = Ip::v4(0x0a000000U + static_cast<std::uint32_t>(number(0, 300)));
    if (std::ranges::none_of(pods,
                             [&](const auto& entry) { return entry.second.ip == *outside.ip; }))
      parties.push_back(outside);
  }
  return parties;
}

void World::check() const {
  std::vector<Party> all = parties();
  for (const auto& [at, pod] : pods)
    for (const Party& peer : all)
      each_traffic([&](Traffic traffic) {
        check_direction(PolicyDirection::kIngress, at, pod, peer, traffic);
        check_direction(PolicyDirection::kEgress, at, pod, peer, traffic);
      });
}

std::vector<bool> World::verdicts(const std::vector<Party>& peers_asked) const {
  std::vector<bool> result;
  for (const auto& [at, pod] : pods)
    for (const Party& peer : peers_asked)
      each_traffic([&](Traffic traffic) {
        for (PolicyDirection direction : {PolicyDirection::kIngress, PolicyDirection::kEgress})
          result.push_back(allowed(direction, at, peer, traffic));
      });
  return result;
}

TEST_CASE("compiled tables say what the rules say") {
  REQUIRE(rc::check("any edits, compiled whenever", [] {
    World world;
    for (int round = number(1, 6); round > 0; --round) {
      for (int edits = number(1, 8); edits > 0; --edits) world.edit();
      world.take();
      world.check();
    }
  }));
}

TEST_CASE("while policies change, everything is judged by the old ones or by the new ones") {
  REQUIRE(rc::check("any policies, looked at while they are written", [] {
    World world;
    for (int edits = number(4, 24); edits > 0; --edits) world.edit();
    world.take();
    for (int round = number(4, 12); round > 0; --round) {
      for (int edits = number(1, 3); edits > 0; --edits) world.edit_policy();
      std::vector<Party> parties = world.parties();
      std::vector<std::vector<bool>> seen{world.verdicts(parties)};
      world.take([&] { seen.push_back(world.verdicts(parties)); });
      seen.push_back(world.verdicts(parties));
      for (const std::vector<bool>& moment : seen)
        for (std::size_t i = 0; i < moment.size(); ++i)
          RC_ASSERT(moment[i] == seen.front()[i] || moment[i] == seen.back()[i]);
    }
  }));
}

}  // namespace
}  // namespace tombolo::policy
