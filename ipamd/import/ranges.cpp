// From facts to one range per use and family.
#include <algorithm>
#include <array>

#include "ipamd/import/internal.h"

namespace tombolo {
namespace imports {

std::string shown(std::string_view text) {
  std::string line(text.substr(0, 128));
  for (char& character : line)
    if (character < ' ' || character > '~') character = '?';
  return line;
}

std::string cluster_title(const ClusterFacts& facts) {
  return facts.name.empty() ? "the cluster" : "cluster " + shown(facts.name);
}

Prefix cover_of(const Prefix& a, const Prefix& b) {
  Prefix cover = a;
  while (!cover.contains(b)) cover = Prefix(cover.base(), cover.length() - 1);
  return cover;
}

namespace {

// Who knows best: the network plugin assigns, kubeadm was told once.
constexpr std::array<std::string_view, 4> kSources{"ServiceCIDR", "cilium-config", "IPPool",
                                                   "kubeadm-config"};

std::size_t rank_of(const RangeFact& fact) {
  auto source = std::ranges::find_if(
      kSources, [&](std::string_view each) { return fact.source.starts_with(each); });
  return static_cast<std::size_t>(source - kSources.begin());
}

const RangeFact* best_fact(const ClusterFacts& facts, BlockUse use, Family family) {
  const RangeFact* best = nullptr;
  for (const RangeFact& fact : facts.ranges) {
    if (fact.use != use || fact.prefix.family() != family) continue;
    if (best == nullptr || rank_of(fact) < rank_of(*best)) best = &fact;
  }
  return best;
}

std::vector<Prefix> pod_ranges_of_nodes(const ClusterFacts& facts, Family family) {
  std::vector<Prefix> all;
  for (const NodeFact& node : facts.nodes)
    for (const Prefix& prefix : split_out(node.pod_ranges, family)) all.push_back(prefix);
  return all;
}

// The most frequent question: /24 of 10.0.0.0/16. Where nodes have none: room for the usual 110
// pods, an IPv6 /64.
int node_length(const Prefix& range, int said, const std::vector<Prefix>& of_nodes) {
  if (said > 0) return said;
  if (!of_nodes.empty() && of_nodes.front().length() >= range.length())
    return of_nodes.front().length();
  int usual = range.family() == Family::kV4 ? 24 : 64;
  return std::clamp(usual, range.length(), bits_of(range.family()) - 1);
}

std::optional<RangeInUse> pods_of(const ClusterFacts& facts, Family family) {
  std::vector<Prefix> of_nodes = pod_ranges_of_nodes(facts, family);
  if (const RangeFact* fact = best_fact(facts, BlockUse::kPod, family))
    return RangeInUse{BlockUse::kPod, fact->prefix,
                      node_length(fact->prefix, fact->node_prefix_length, of_nodes), fact->source,
                      false};
  if (of_nodes.empty()) return std::nullopt;
  Prefix cover = of_nodes.front();
  for (const Prefix& prefix : of_nodes) cover = cover_of(cover, prefix);
  return RangeInUse{BlockUse::kPod, cover, node_length(cover, 0, of_nodes), "podCIDRs of its nodes",
                    true};
}

std::optional<RangeInUse> underlay_of(const ClusterFacts& facts,
                                      const std::vector<RouteFact>& routes, Family family) {
  std::optional<Prefix> cover;
  for (const NodeFact& node : facts.nodes)
    for (Ip ip : node.addresses)
      if (ip.family() == family)
        cover = cover ? cover_of(*cover, Prefix::host(ip)) : Prefix::host(ip);
  if (!cover) return std::nullopt;
  const RouteFact* network = nullptr;
  for (const RouteFact& route : routes) {
    bool holds = route.connected && route.destination.contains(*cover) &&
                 route.destination.length() < bits_of(family);
    if (holds && (network == nullptr || network->destination.contains(route.destination)))
      network = &route;
  }
  if (network != nullptr)
    return RangeInUse{BlockUse::kUnderlay, network->destination, 0, "route in " + network->source,
                      false};
  // No network is smaller than this.
  int longest = family == Family::kV4 ? 28 : 64;
  Prefix around(cover->base(), std::min(cover->length(), longest));
  return RangeInUse{BlockUse::kUnderlay, around, 0, "addresses of its nodes", true};
}

}  // namespace
}  // namespace imports

std::vector<RangeInUse> ranges_in_use(const ClusterFacts& facts,
                                      const std::vector<RouteFact>& routes) {
  std::vector<RangeInUse> ranges;
  for (Family family : {Family::kV4, Family::kV6})
    if (auto underlay = imports::underlay_of(facts, routes, family)) ranges.push_back(*underlay);
  for (Family family : {Family::kV4, Family::kV6})
    if (auto pods = imports::pods_of(facts, family)) ranges.push_back(*pods);
  for (Family family : {Family::kV4, Family::kV6})
    if (const RangeFact* fact = imports::best_fact(facts, BlockUse::kService, family))
      ranges.push_back({BlockUse::kService, fact->prefix, 0, fact->source, false});
  return ranges;
}

}  // namespace tombolo
