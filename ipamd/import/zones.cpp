// Zones (fault domains) of a cluster, from its nodes' labels, and what their addresses say of the
// subnets there. A hint for the fleet file, in comments: a node does not know how large its subnet
// is, and a fleet's region has to list its zones first.
#include <algorithm>
#include <map>

#include "ipamd/import/internal.h"

namespace tombolo::imports {
namespace {

struct Zone {
  std::map<Family, Prefix> around;  // the smallest prefix around its nodes
};

std::map<std::string, Zone> zones_of(const ClusterFacts& facts) {
  std::map<std::string, Zone> zones;
  for (const NodeFact& node : facts.nodes) {
    if (node.zone.empty()) continue;
    Zone& zone = zones[node.zone];
    for (Ip ip : node.addresses) {
      auto [at, is_new] = zone.around.try_emplace(ip.family(), Prefix::host(ip));
      if (!is_new) at->second = cover_of(at->second, Prefix::host(ip));
    }
  }
  // No subnet is smaller than this.
  for (auto& [name, zone] : zones)
    for (auto& [family, around] : zone.around)
      around = Prefix(around.base(), std::min(around.length(), family == Family::kV4 ? 28 : 64));
  return zones;
}

bool lie_apart(const std::map<std::string, Zone>& zones) {
  std::vector<Prefix> all;
  for (const auto& [name, zone] : zones)
    for (const auto& [family, around] : zone.around) {
      if (std::ranges::any_of(all, [&](const Prefix& other) { return other.overlaps(around); }))
        return false;
      all.push_back(around);
    }
  return true;
}

std::string quoted(const std::string& name) {
  return to_json(json::value(shown(name)));
}

}  // namespace

std::string zones_text(const ClusterFacts& facts) {
  const std::map<std::string, Zone> zones = zones_of(facts);
  if (zones.empty()) return "";
  std::string names;
  for (const auto& [name, zone] : zones) names += (names.empty() ? "" : ", ") + quoted(name);
  const auto unlabelled =
      std::ranges::count_if(facts.nodes, [](const NodeFact& node) { return node.zone.empty(); });
  std::string text = fmt::format(
      "    # zones: [{}]  # as its nodes say{}; the region has to list "
      "them\n",
      names, unlabelled > 0 ? fmt::format(" ({} do not)", unlabelled) : std::string());
  if (!lie_apart(zones))
    return text + "    # addresses of several zones lie together: no subnets per zone\n";
  text += "    # under cidrs: subnets, at least; from the addresses of the nodes in each zone\n";
  for (const auto& [name, zone] : zones) {
    text += fmt::format("    #   - {{zone: {}", quoted(name));
    for (const auto& [family, around] : zone.around)
      text += fmt::format(", {}: \"{}\"", family == Family::kV4 ? "ipv4" : "ipv6", around);
    text += "}\n";
  }
  return text;
}

}  // namespace tombolo::imports
