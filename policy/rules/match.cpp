// Selectors, peers and ports against one end of a packet.
#include <algorithm>

#include "policy/rules/rules.h"

namespace tombolo::policy {
namespace {

bool holds(const LabelRequirement& requirement, const StringMap& labels) {
  auto at = labels.find(requirement.key);
  bool present = at != labels.end();
  auto listed = [&] { return std::ranges::binary_search(requirement.values, at->second); };
  switch (requirement.op) {
    case LabelOperator::kIn:
      return present && listed();
    case LabelOperator::kNotIn:
      return !present || !listed();
    case LabelOperator::kExists:
      return present;
    case LabelOperator::kDoesNotExist:
      return !present;
  }
  return false;
}

std::string text_of(const LabelRequirement& requirement) {
  std::string values = fmt::format("{}", fmt::join(requirement.values, ", "));
  switch (requirement.op) {
    case LabelOperator::kIn:
      if (requirement.values.size() == 1) return fmt::format("{}={}", requirement.key, values);
      return fmt::format("{} in ({})", requirement.key, values);
    case LabelOperator::kNotIn:
      return fmt::format("{} not in ({})", requirement.key, values);
    case LabelOperator::kExists:
      return requirement.key;
    case LabelOperator::kDoesNotExist:
      return fmt::format("!{}", requirement.key);
  }
  return "?";
}

}  // namespace

bool matches(const LabelSelector& selector, const StringMap& labels) {
  return std::ranges::all_of(selector.requirements, [&](const LabelRequirement& requirement) {
    return holds(requirement, labels);
  });
}

std::string to_string(const LabelSelector& selector) {
  if (selector.empty()) return "everything";
  std::string text;
  for (const LabelRequirement& requirement : selector.requirements)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", text_of(requirement));
  return text;
}

bool governs(const Policy& policy, const Identity& identity) {
  return policy.name_space == identity.name_space && matches(policy.subjects, identity.labels);
}

bool matches(const PolicyPeerMatch& match, const Party& party) {
  if (match.prefix) {
    if (!party.ip || !match.prefix->contains(*party.ip)) return false;
    return std::ranges::none_of(match.except,
                                [&](const Prefix& except) { return except.contains(*party.ip); });
  }
  if (party.identity == nullptr) return false;
  const Identity& identity = *party.identity;
  bool in_namespace = match.name_space.empty()
                          ? matches(match.namespaces, identity.namespace_labels)
                          : match.name_space == identity.name_space;
  return in_namespace && matches(match.pods, identity.labels);
}

bool matches(const PolicyPortMatch& match, Traffic traffic, std::span<const NamedPort> ports) {
  if (!match.protocol) return true;
  if (traffic.protocol != match.protocol) return false;
  if (match.name.empty()) return match.first <= traffic.port && traffic.port <= match.last;
  return std::ranges::any_of(ports, [&](const NamedPort& port) {
    return port.name == match.name && port.protocol == *match.protocol && port.port == traffic.port;
  });
}

}  // namespace tombolo::policy
