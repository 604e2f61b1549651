// The words of policy_text.h.
#include "app/daemon/handlers/policy_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace tombolo {
namespace {

constexpr std::size_t kMostNamed = 8;  // of a list; the rest is counted

std::string joined(std::vector<std::string> texts) {
  std::size_t more = texts.size() > kMostNamed ? texts.size() - kMostNamed : 0;
  texts.resize(texts.size() - more);
  std::string text = fmt::format("{}", fmt::join(texts, ", "));
  return more == 0 ? text : fmt::format("{} and {} more", text, more);
}

std::string text_of(const PolicyPeerMatch& match) {
  if (match.prefix) {
    std::vector<std::string> except;
    for (const Prefix& prefix : match.except) except.push_back(prefix.str());
    return except.empty() ? match.prefix->str()
                          : fmt::format("{} except {}", *match.prefix, joined(std::move(except)));
  }
  std::string pods = match.pods.empty() ? "all pods" : "pods " + policy::to_string(match.pods);
  if (!match.name_space.empty()) return fmt::format("{} of namespace {}", pods, match.name_space);
  if (match.namespaces.empty()) return pods + " of every namespace";
  return fmt::format("{} of namespaces {}", pods, policy::to_string(match.namespaces));
}

std::string text_of(const PolicyPortMatch& match) {
  if (!match.protocol) return "every port";
  std::string_view protocol = to_string(*match.protocol);
  if (!match.name.empty()) return fmt::format("{}/{}", protocol, match.name);
  if (match.first == 0 && match.last == 65535) return fmt::format("{}, every port", protocol);
  if (match.first == match.last) return fmt::format("{}/{}", protocol, match.first);
  return fmt::format("{}/{}-{}", protocol, match.first, match.last);
}

// The terms of one peer that fail.
std::vector<std::string> failing(const PolicyPeerMatch& match, const policy::Party& party) {
  if (match.prefix) {
    if (!party.ip) return {fmt::format("no address to compare with {}", *match.prefix)};
    if (!match.prefix->contains(*party.ip))
      return {fmt::format("{} is not in {}", *party.ip, *match.prefix)};
    for (const Prefix& except : match.except)
      if (except.contains(*party.ip))
        return {fmt::format("{} is in the exception {}", *party.ip, except)};
    return {};
  }
  if (party.identity == nullptr)
    return {fmt::format("not a pod with an identity, as {} are", text_of(match))};
  const Identity& identity = *party.identity;
  std::vector<std::string> terms;
  if (!match.name_space.empty() && match.name_space != identity.name_space)
    terms.push_back(fmt::format("namespace {} is not {}", identity.name_space, match.name_space));
  if (match.name_space.empty() && !policy::matches(match.namespaces, identity.namespace_labels))
    terms.push_back(fmt::format("labels of namespace {} do not match {}", identity.name_space,
                                policy::to_string(match.namespaces)));
  if (!policy::matches(match.pods, identity.labels))
    terms.push_back(fmt::format("labels do not match {}", policy::to_string(match.pods)));
  return terms;
}

std::string why_no_peer(const PolicyRule& rule, const policy::Party& party) {
  std::vector<std::string> nearest;
  for (const PolicyPeerMatch& match : rule.peers) {
    auto terms = failing(match, party);
    if (nearest.empty() || terms.size() < nearest.size()) nearest = std::move(terms);
  }
  std::string text = fmt::format("{}", fmt::join(nearest, " and "));
  return rule.peers.size() == 1 ? text
                                : fmt::format("{} (nearest of {} peers)", text, rule.peers.size());
}

std::string why_no_port(const PolicyRule& rule, policy::Traffic traffic) {
  std::vector<std::string> ports;
  for (const PolicyPortMatch& match : rule.ports) ports.push_back(text_of(match));
  return fmt::format("{} is not {}", traffic_text(traffic), joined(std::move(ports)));
}

}  // namespace

std::string short_policy(const std::string& key) {
  std::size_t slash = key.find('/');
  return slash == std::string::npos ? key : key.substr(slash + 1);
}

std::string rule_text(const PolicyRule& rule) {
  std::vector<std::string> peers;
  for (const PolicyPeerMatch& match : rule.peers) peers.push_back(text_of(match));
  std::vector<std::string> ports;
  for (const PolicyPortMatch& match : rule.ports) ports.push_back(text_of(match));
  std::string_view word = rule.direction == PolicyDirection::kIngress ? "from" : "to";
  std::string_view on = rule.direction == PolicyDirection::kIngress ? "to" : "on";
  return fmt::format("{} {} {} {}", word, peers.empty() ? "anybody" : joined(std::move(peers)), on,
                     ports.empty() ? "every port" : joined(std::move(ports)));
}

std::string decided_by(const NumberedRule& rule) {
  std::vector<std::string> policies;
  for (const std::string& key : rule.policies) policies.push_back(short_policy(key));
  if (policies.empty()) return rule.rule;
  return fmt::format("{} of {}", rule.rule, joined(std::move(policies)));
}

std::string isolation_of(const std::vector<const Policy*>& policies) {
  NumberedRule rule;
  rule.rule = "isolation";
  for (const Policy* policy : policies) rule.policies.push_back(policy->key());
  return decided_by(rule);
}

std::string why_missed(const policy::Miss& miss, const policy::Party& peer,
                       policy::Traffic traffic) {
  std::string text;
  if (miss.peers) text = why_no_peer(*miss.rule, peer);
  if (miss.ports) text += (text.empty() ? "" : "; ") + why_no_port(*miss.rule, traffic);
  return text;
}

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case 0:
      return "-";
    case 1:
      return "ICMP";
    case 6:
      return "TCP";
    case 17:
      return "UDP";
    case 58:
      return "ICMPv6";
    case 132:
      return "SCTP";
    default:
      return std::to_string(protocol);
  }
}

std::string traffic_text(policy::Traffic traffic) {
  if (!traffic.protocol) return "a protocol without ports";
  return fmt::format("{}/{}", to_string(*traffic.protocol), traffic.port);
}

}  // namespace tombolo
