// Judgements in words, for `tombolo policy explain`: not only that nothing allowed it, but which
// rule came nearest and which of its terms failed.
#include "policy/rules/rules.h"

namespace tombolo::policy {
namespace {

constexpr std::size_t kTermsShown = 4;

// "a, b, c, d and 3 more".
template <class Match>
std::string list_of(const std::vector<Match>& matches) {
  std::string text;
  for (std::size_t i = 0; i < matches.size() && i < kTermsShown; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : "; ", to_string(matches[i]));
  if (matches.size() > kTermsShown)
    text += fmt::format(" and {} more", matches.size() - kTermsShown);
  return text;
}

std::string text_of(Traffic traffic) {
  if (!traffic.protocol) return "a protocol without ports";
  return fmt::format("{}/{}", to_string(*traffic.protocol), traffic.port);
}

std::string text_of(const Miss& miss, PolicyDirection direction, Traffic traffic) {
  std::string text = fmt::format("{} of {} does not match:", miss.rule->name, miss.policy->key());
  if (miss.peers)
    text += fmt::format(" the {} is none of ({})",
                        direction == PolicyDirection::kIngress ? "source" : "destination",
                        list_of(miss.rule->peers));
  if (miss.ports)
    text += fmt::format("{} {} is none of ({})", miss.peers ? ", and" : "", text_of(traffic),
                        list_of(miss.rule->ports));
  return text;
}

}  // namespace

std::string to_string(const PolicyPortMatch& match) {
  if (!match.protocol) return "every port and protocol";
  std::string_view protocol = to_string(*match.protocol);
  if (!match.name.empty()) return fmt::format("{}/{}", protocol, match.name);
  if (match.first == match.last) return fmt::format("{}/{}", protocol, match.first);
  if (match.first == 0 && match.last == 65535) return fmt::format("every {} port", protocol);
  return fmt::format("{}/{}-{}", protocol, match.first, match.last);
}

std::string to_string(const PolicyPeerMatch& match) {
  if (match.prefix) {
    std::string text = match.prefix->str();
    for (std::size_t i = 0; i < match.except.size() && i < kTermsShown; ++i)
      text += fmt::format("{}{}", i == 0 ? " except " : ", ", match.except[i].str());
    if (match.except.size() > kTermsShown)
      text += fmt::format(" and {} more", match.except.size() - kTermsShown);
    return text;
  }
  std::string pods = match.pods.empty() ? "all pods" : "pods " + to_string(match.pods);
  if (!match.name_space.empty()) return fmt::format("{} in namespace {}", pods, match.name_space);
  if (match.namespaces.empty()) return fmt::format("{} in every namespace", pods);
  return fmt::format("{} in namespaces {}", pods, to_string(match.namespaces));
}

std::vector<std::string> explain(const Judgement& judgement, PolicyDirection direction,
                                 Traffic traffic, std::size_t limit) {
  std::vector<std::string> lines;
  std::string_view way = to_string(direction);
  if (judgement.isolating.empty())
    return {fmt::format("{}: allowed, no policy isolates the pod", way)};
  if (judgement.allowed)
    return {
        fmt::format("{}: allowed by {} of {}", way, judgement.rule->name, judgement.policy->key())};
  std::string isolating;
  for (const Policy* policy : judgement.isolating)
    isolating += fmt::format("{}{}", isolating.empty() ? "" : ", ", policy->key());
  lines.push_back(fmt::format("{}: denied, isolated by {}", way, isolating));
  for (std::size_t i = 0; i < judgement.misses.size() && i < limit; ++i)
    lines.push_back(text_of(judgement.misses[i], direction, traffic));
  if (judgement.misses.size() > limit)
    lines.push_back(fmt::format("{} more rules do not match", judgement.misses.size() - limit));
  if (judgement.misses.empty()) lines.push_back("none of them has a rule in this direction");
  return lines;
}

}  // namespace tombolo::policy
