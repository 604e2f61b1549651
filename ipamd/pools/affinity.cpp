// Whom a pool is for.
#include <algorithm>

#include "ipamd/pools/internal.h"

namespace tombolo {
namespace {

// The length of a bracket expression that matches `c`, its sign in `matches`; 0: unclosed.
std::size_t bracket(std::string_view pattern, char c, bool& matches) {
  std::size_t at = 1;
  bool negated = at < pattern.size() && pattern[at] == '!';
  if (negated) ++at;
  bool found = false;
  std::size_t begin = at;
  for (; at < pattern.size() && (pattern[at] != ']' || at == begin); ++at) {
    bool range = at + 2 < pattern.size() && pattern[at + 1] == '-' && pattern[at + 2] != ']';
    char last = range ? pattern[at + 2] : pattern[at];
    found = found || (pattern[at] <= c && c <= last);
    if (range) at += 2;
  }
  if (at >= pattern.size()) return 0;
  matches = found != negated;
  return at + 1;
}

bool holds(const LabelSelector& selector, const StringMap& labels) {
  return std::ranges::all_of(selector.requirements, [&](const LabelRequirement& requirement) {
    auto at = labels.find(requirement.key);
    bool there = at != labels.end();
    bool among = there && std::ranges::count(requirement.values, at->second) > 0;
    switch (requirement.op) {
      case LabelOperator::kIn:
        return among;
      case LabelOperator::kNotIn:
        return !among;
      case LabelOperator::kExists:
        return there;
      case LabelOperator::kDoesNotExist:
        return !there;
    }
    return false;
  });
}

bool any_matches(const std::vector<std::string>& patterns, std::string_view text) {
  return std::ranges::any_of(
      patterns, [&](const std::string& pattern) { return matches_wildcard(pattern, text); });
}

// A pattern without a namespace is for the network's name alone.
bool any_network_matches(const std::vector<std::string>& patterns, std::string_view network) {
  std::string_view name = network.substr(network.find('/') + 1);
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return matches_wildcard(pattern, pattern.find('/') == std::string::npos ? name : network);
  });
}

}  // namespace

bool matches_wildcard(std::string_view pattern, std::string_view text) {
  // Where to go on when a star has to take one character more.
  std::optional<std::pair<std::size_t, std::size_t>> star;
  std::size_t p = 0;
  std::size_t t = 0;
  while (t < text.size()) {
    std::size_t step = 0;
    bool matches = false;
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = {p++, t};
        continue;
      }
      if (pattern[p] == '[') step = bracket(pattern.substr(p), text[t], matches);
      if (step == 0) {
        step = 1;
        matches = pattern[p] == '?' || pattern[p] == text[t];
      }
    }
    if (matches) {
      p += step;
      ++t;
    } else if (star) {
      p = star->first + 1;
      t = ++star->second;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

namespace pools {

std::string why_not(const IpPool& pool, const PoolRequest& request) {
  const PoolAffinity& affinity = pool.affinity;
  if (pool.disabled) return "it is disabled";
  if (pool.load_balancer) return "it is for services of type LoadBalancer";
  if (!affinity.node_names.empty() && !any_matches(affinity.node_names, request.node))
    return fmt::format("it is not for node {}", request.node);
  if (!holds(affinity.nodes, request.node_labels))
    return fmt::format("it is not for nodes with the labels of {}", request.node);
  if (!affinity.namespace_names.empty() &&
      !any_matches(affinity.namespace_names, request.name_space))
    return fmt::format("it is not for namespace {}", request.name_space);
  if (!holds(affinity.namespaces, request.namespace_labels))
    return fmt::format("it is not for namespaces with the labels of {}", request.name_space);
  if (!holds(affinity.pods, request.pod_labels)) return "it is not for pods with these labels";
  if (!affinity.owners.empty() && !any_matches(affinity.owners, request.owner))
    return fmt::format("it is not for {}",
                       request.owner.empty() ? "pods without an owner" : request.owner);
  if (!affinity.networks.empty() && !any_network_matches(affinity.networks, request.network))
    return fmt::format("it is not for network {}", request.network);
  if (!affinity.interfaces.empty() && !any_matches(affinity.interfaces, request.interface_name))
    return fmt::format("it is not for interface {}", request.interface_name);
  return {};
}

int rank(const IpPool& pool) {
  const PoolAffinity& affinity = pool.affinity;
  if (!affinity.pods.empty()) return 0;
  if (!affinity.owners.empty()) return 1;
  if (!affinity.node_names.empty()) return 2;
  if (!affinity.nodes.empty()) return 3;
  if (!affinity.namespace_names.empty()) return 4;
  if (!affinity.namespaces.empty()) return 5;
  if (!affinity.interfaces.empty()) return 6;
  if (!affinity.networks.empty()) return 7;
  return 8;
}

}  // namespace pools
}  // namespace tombolo
