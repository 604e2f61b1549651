// NetworkPolicy's meaning: who is governed and isolated, what is allowed nevertheless.
#include <algorithm>

#include "policy/rules/rules.h"

namespace tombolo::policy {
namespace {

bool isolates(const Policy& policy, PolicyDirection direction) {
  return direction == PolicyDirection::kIngress ? policy.isolates_ingress : policy.isolates_egress;
}

// Rules that fail in one term only come first.
std::vector<Miss> by_nearness(const std::vector<Miss>& misses) {
  std::vector<Miss> result;
  for (bool both : {false, true})
    for (const Miss& miss : misses)
      if ((miss.peers && miss.ports) == both) result.push_back(miss);
  return result;
}

}  // namespace

Judgement judge(std::span<const Policy* const> policies, PolicyDirection direction,
                const Party& governed, const Party& peer, Traffic traffic) {
  Judgement result;
  if (governed.identity == nullptr) return result;
  for (const Policy* policy : policies)
    if (isolates(*policy, direction) && governs(*policy, *governed.identity))
      result.isolating.push_back(policy);
  std::ranges::sort(result.isolating, {}, [](const Policy* policy) { return policy->key(); });
  if (result.isolating.empty()) return result;
  result.allowed = false;
  const Party& destination = direction == PolicyDirection::kIngress ? governed : peer;
  // Names of ports are a pod's: whoever has no identity is an address and nothing else.
  std::span<const NamedPort> named;
  if (destination.identity != nullptr) named = destination.ports;
  for (const Policy* policy : result.isolating) {
    for (const PolicyRule& rule : policy->rules) {
      if (rule.direction != direction) continue;
      bool peers =
          rule.peers.empty() || std::ranges::any_of(rule.peers, [&](const PolicyPeerMatch& match) {
            return matches(match, peer);
          });
      bool ports =
          rule.ports.empty() || std::ranges::any_of(rule.ports, [&](const PolicyPortMatch& match) {
            return matches(match, traffic, named);
          });
      if (peers && ports) {
        result.allowed = true;
        result.policy = policy;
        result.rule = &rule;
        result.misses.clear();
        return result;
      }
      result.misses.push_back({policy, &rule, !peers, !ports});
    }
  }
  result.misses = by_nearness(result.misses);
  return result;
}

}  // namespace tombolo::policy
