// The addresses inside underlays and their subnets: which subnet a node is in, its address and its
// gateway.
#include <algorithm>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr std::uint32_t kGatewayHost = 1;
constexpr std::uint32_t kDefaultEntryNodes = 2;

struct NodePlace {
  Prefix subnet;
  std::uint64_t host = 0;
};

std::vector<Subnet> private_subnets(const PlannedCluster& cluster, Family family) {
  std::vector<Subnet> found;
  for (const Subnet& subnet : cluster.subnets)
    if (!subnet.is_public && subnet.prefix.family() == family) found.push_back(subnet);
  return found;
}

// The first node is in the first zone, the second in the second; in a zone they fill one subnet
// after the other, so that an address stays its node's when the cluster grows.
Result<NodePlace> place_of_node(const PlannedCluster& cluster, Family family, unsigned index) {
  const PlannedRange* underlay = find_range(cluster, BlockUse::kUnderlay, family);
  if (underlay == nullptr)
    return fail(Code::kNotFound, "cluster {} has no {} underlay", cluster.name, to_string(family));
  const CloudRules& rules = rules_of(cluster.cloud);
  std::vector<Subnet> subnets = private_subnets(cluster, family);
  if (subnets.empty()) subnets.push_back({"", false, underlay->prefix});
  std::vector<std::string> zones;
  for (const Subnet& subnet : subnets)
    if (std::ranges::find(zones, subnet.zone) == zones.end()) zones.push_back(subnet.zone);
  const std::string& zone = zones[index % zones.size()];
  std::uint64_t left = index / zones.size();
  for (const Subnet& subnet : subnets) {
    if (subnet.zone != zone) continue;
    std::uint64_t room = nodes_in(subnet.prefix, load_of(cluster, rules), rules);
    if (left < room) return NodePlace{subnet.prefix, rules.reserved_first + left};
    left -= room;
  }
  return fail(Code::kOutOfRange, "cluster {}: the underlay {} has no address for node {}",
              cluster.name, underlay->prefix, index + 1);
}

// Whether a node may have the address: not a gateway's, in no public subnet.
bool may_be_node(const PlannedCluster& planned, const Prefix& underlay, Ip ip) {
  auto is_host = [&](const Prefix& subnet) {
    return subnet.contains(ip) && ip != gateway_of(subnet) && ip != subnet.base();
  };
  bool divided = false;
  for (const Subnet& subnet : planned.subnets) {
    if (subnet.prefix.family() != ip.family()) continue;
    if (!subnet.is_public && is_host(subnet.prefix)) return true;
    divided = true;
  }
  return !divided && is_host(underlay);
}

}  // namespace

Ip gateway_of(const Prefix& subnet) {
  return subnet.at(kGatewayHost);
}

Result<Prefix> node_subnet(const PlannedCluster& cluster, Family family, unsigned index) {
  TRY(place, place_of_node(cluster, family, index));
  return place.subnet;
}

Result<Ip> gateway_address(const PlannedCluster& cluster, Family family, unsigned index) {
  TRY(place, place_of_node(cluster, family, index));
  return gateway_of(place.subnet);
}

Result<Ip> node_address(const PlannedCluster& cluster, Family family, unsigned index) {
  TRY(place, place_of_node(cluster, family, index));
  return place.subnet.at(place.host);
}

std::string subnet_name(const Subnet& subnet) {
  return fmt::format("{}subnet{}{}", subnet.is_public ? "public " : "",
                     subnet.zone.empty() ? "" : " ", subnet.zone);
}

std::string_view to_string(PodAddresses pods) {
  switch (pods) {
    case PodAddresses::kPodRange:
      return "pod-range";
    case PodAddresses::kUnderlay:
      return "underlay";
    case PodAddresses::kUnderlayPrefixes:
      return "underlay-prefixes";
  }
  return "?";
}

Result<std::vector<Ip>> entry_of(const FleetCluster& wanted, const PlannedCluster& planned) {
  std::vector<Ip> entry;
  for (Family family : wanted.families) {
    std::size_t before = entry.size();
    for (Ip ip : wanted.entry_ips) {
      if (ip.family() != family) continue;
      const PlannedRange* underlay = find_range(planned, BlockUse::kUnderlay, family);
      if (underlay == nullptr || !may_be_node(planned, underlay->prefix, ip))
        return fail(Code::kFailedPrecondition,
                    "{}: cluster {}: entry {} is no node's address in the underlay {}",
                    wanted.place, wanted.name, ip, underlay->prefix);
      entry.push_back(ip);
    }
    if (!wanted.entry_ips.empty()) {
      if (entry.size() == before)
        return fail(Code::kFailedPrecondition, "{}: cluster {}: entry has no {} address",
                    wanted.place, wanted.name, to_string(family));
      continue;
    }
    std::vector<std::uint32_t> indices = wanted.entry_nodes;
    if (indices.empty())
      for (std::uint32_t i = 0; i < std::min(kDefaultEntryNodes, wanted.nodes); ++i)
        indices.push_back(i);
    for (std::uint32_t index : indices) {
      TRY(ip, node_address(planned, family, index));
      entry.push_back(ip);
    }
  }
  for (Ip ip : wanted.entry_ips)
    if (!has_family(wanted.families, ip.family()))
      return fail(Code::kFailedPrecondition,
                  "{}: cluster {}: entry {} is of a family that the cluster does not have",
                  wanted.place, wanted.name, ip);
  return entry;
}

}  // namespace tombolo
