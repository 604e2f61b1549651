// The facts as a piece of a fleet file. Texts of others are quoted as JSON, which YAML reads.
#include <algorithm>

#include "ipamd/import/internal.h"

namespace tombolo {
namespace {

using imports::shown;

std::string_view lower(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

std::string range_line(const RangeInUse& range) {
  std::string value = range.use == BlockUse::kPod
                          ? fmt::format("{{cidr: \"{}\", node_prefix_length: {}}}", range.prefix,
                                        range.node_prefix_length)
                          : fmt::format("\"{}\"", range.prefix);
  return fmt::format("        {}: {}  # {}{}\n", lower(range.prefix.family()), value,
                     range.guessed ? "at least; from the " : "", shown(range.source));
}

std::string ranges_text(const std::vector<RangeInUse>& ranges) {
  std::string text;
  for (BlockUse use : {BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService}) {
    std::string lines;
    for (const RangeInUse& range : ranges)
      if (range.use == use) lines += range_line(range);
    if (!lines.empty()) text += fmt::format("      {}:\n{}", to_string(use), lines);
  }
  return text.empty() ? text : "    cidrs:\n" + text;
}

std::string families_of(const std::vector<RangeInUse>& ranges) {
  bool v4 = false;
  bool v6 = false;
  for (const RangeInUse& range : ranges) (range.prefix.family() == Family::kV4 ? v4 : v6) = true;
  if (v4 == v6) return "";  // both, as by default, or nothing is known
  return fmt::format("    families: [{}]\n", v4 ? "ipv4" : "ipv6");
}

std::string cluster_text(const ClusterFacts& facts, const std::vector<RangeInUse>& ranges) {
  std::string text = facts.name.empty()
                         ? std::string("  - # name: to be filled in\n")
                         : fmt::format("  - name: {}\n", to_json(json::value(shown(facts.name))));
  text += facts.id == 0 ? std::string("    # id: to be filled in\n")
                        : fmt::format("    id: {}\n", facts.id);
  text += "    # region: to be filled in\n";
  text += families_of(ranges);
  text += imports::zones_text(facts);
  if (facts.nodes.empty())
    text += "    # nodes: to be filled in\n";
  else
    text += fmt::format("    nodes: {}\n", facts.nodes.size());
  std::uint32_t pods = 0;
  for (const NodeFact& node : facts.nodes) pods = std::max(pods, node.pods);
  if (pods > 0) text += fmt::format("    pods_per_node: {}\n", pods);
  if (facts.services > 0) text += fmt::format("    services: {}\n", facts.services);
  return text + ranges_text(ranges);
}

// Destinations that belong to no cluster, without those inside others.
std::vector<RouteFact> foreign_routes(const std::vector<std::vector<RangeInUse>>& clusters,
                                      std::vector<RouteFact> routes) {
  auto used = [&](const RouteFact& route) {
    return std::ranges::any_of(clusters, [&](const std::vector<RangeInUse>& ranges) {
      return std::ranges::any_of(ranges, [&](const RangeInUse& range) {
        return range.prefix.overlaps(route.destination);
      });
    });
  };
  std::erase_if(routes, used);
  // An outer prefix comes before what lies in it.
  std::ranges::sort(routes, {}, [](const RouteFact& route) {
    return std::tuple(route.destination, route.via, route.source);
  });
  std::vector<RouteFact> outer;
  for (RouteFact& route : routes)
    if (outer.empty() || !outer.back().destination.contains(route.destination))
      outer.push_back(std::move(route));
  return outer;
}

}  // namespace

std::string fleet_fragment(const std::vector<ClusterFacts>& clusters,
                           const std::vector<RouteFact>& routes) {
  std::string text = "# Read by tombolo plan import; a piece for a fleet file.\nclusters:\n";
  std::vector<std::vector<RangeInUse>> ranges;
  for (const ClusterFacts& facts : clusters) {
    ranges.push_back(ranges_in_use(facts, routes));
    text += cluster_text(facts, ranges.back());
  }
  if (clusters.empty()) text += "  []\n";
  std::vector<RouteFact> foreign = foreign_routes(ranges, routes);
  if (foreign.empty()) return text;
  text += "reserved:\n";
  for (const RouteFact& route : foreign)
    text += fmt::format("  - cidr: \"{}\"\n    note: {}\n", route.destination,
                        to_json(json::value(fmt::format("route in {} by {}", shown(route.source),
                                                        shown(route.via)))));
  return text;
}

}  // namespace tombolo
