// The entries of `clusters` in a fleet file: names and ids that stand once, numbers within limits,
// ranges that are in use already.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "ipamd/plan/fleet_reader.h"

namespace tombolo {
namespace {

constexpr std::int64_t kMostSubnetHosts = 1 << 20;
constexpr std::size_t kMostGivenSubnets = 256;

// A count from `least` to `most`; where the field is missing `count` stays.
Result<void> read_count(const Cursor& cursor, std::int64_t least, std::int64_t most,
                        std::uint32_t& count) {
  TRY(number, cursor.integer_or(count, least, most));
  count = static_cast<std::uint32_t>(number);
  return {};
}

Result<void> read_numbers(const Cursor& entry, FleetCluster& cluster) {
  TRY(nodes, entry["nodes"].integer(1, kMostNodes));
  cluster.nodes = static_cast<std::uint32_t>(nodes);
  TRY_OK(read_count(entry["pods_per_node"], 1, 4096, cluster.pods_per_node));
  TRY_OK(read_count(entry["services"], 1, 1 << 20, cluster.services));
  TRY_OK(read_count(entry["load_balancer_services"], 0, 1 << 20, cluster.load_balancer_services));
  TRY_OK(read_count(entry["tunnels_per_node"], 0, 16, cluster.tunnels_per_node));
  TRY_OK(read_count(entry["growth_per_year"], 0, 1000, cluster.yearly_growth_percent));
  Cursor growth = entry["growth"];
  if (growth.is_null()) return {};
  if (!growth.is_number()) return growth.error("must be a number, such as 1.5");
  double factor =
      growth.value().is_double() ? growth.value().get_double() : growth.value().to_number<double>();
  if (!(factor >= 1.0 && factor <= 100.0)) return growth.error("is not from 1 to 100");
  cluster.growth_percent = static_cast<std::uint32_t>(std::lround(factor * 100));
  return {};
}

// A list of node numbers (the first node is 1) or a list of addresses.
Result<void> read_entry_nodes(const Cursor& list, FleetCluster& cluster) {
  if (list.is_null()) return {};
  TRY_OK(list.expect_array());
  if (list.size() == 0 || list.size() > 16) return list.error("needs 1 to 16 entries");
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor node = list.at(i);
    if (node.is_string() != list.at(0).is_string())
      return node.error("node numbers and addresses cannot be mixed");
    if (node.is_string()) {
      TRY(text, node.string());
      auto ip = Ip::parse(text);
      if (!ip) return node.error(ip.error().what);
      if (std::ranges::count(cluster.entry_ips, *ip) > 0) return node.error("stands twice");
      cluster.entry_ips.push_back(*ip);
    } else {
      TRY(number, node.integer(1, cluster.nodes));
      auto index = static_cast<std::uint32_t>(number - 1);
      if (std::ranges::count(cluster.entry_nodes, index) > 0) return node.error("stands twice");
      cluster.entry_nodes.push_back(index);
    }
  }
  return {};
}

// "load_balancer": fields have underscores.
std::string field_of(BlockUse use) {
  std::string field(to_string(use));
  std::ranges::replace(field, '-', '_');
  return field;
}

// "pod_addresses: underlay".
Result<void> read_pod_addresses(const Cursor& cursor, FleetCluster& cluster) {
  if (cursor.is_null()) return {};
  TRY(text, cursor.string());
  for (PodAddresses each :
       {PodAddresses::kPodRange, PodAddresses::kUnderlay, PodAddresses::kUnderlayPrefixes})
    if (text == to_string(each)) {
      cluster.pod_addresses = each;
      return {};
    }
  return cursor.error(
      fmt::format("'{}' is not pod-range, underlay or underlay-prefixes", text.substr(0, 64)));
}

// "25%" of a private subnet, or a number of hosts.
Result<void> read_public(const Cursor& cursor, FleetCluster& cluster) {
  if (!cursor.is_string()) return read_count(cursor, 0, kMostSubnetHosts, cluster.public_hosts);
  TRY(text, cursor.string());
  unsigned percent = 0;
  const char* end = text.data() + text.size();
  auto [next, error] = std::from_chars(text.data(), end, percent);
  if (error != std::errc() || next + 1 != end || *next != '%' || percent < 1 || percent > 100)
    return cursor.error("must be a number of hosts, or from \"1%\" to \"100%\"");
  cluster.public_percent = percent;
  return {};
}

// {private: 200, public: 20}: hosts of each subnet.
Result<void> read_subnets(const Cursor& subnets, FleetCluster& cluster) {
  if (subnets.is_null()) return {};
  TRY_OK(subnets.expect_object());
  TRY_OK(subnets.only({"private", "public"}));
  TRY_OK(read_count(subnets["private"], 0, kMostSubnetHosts, cluster.private_hosts));
  return read_public(subnets["public"], cluster);
}

}  // namespace

Result<void> ClusterReader::read(const Cursor& entry) {
  TRY_OK(entry.only({"name", "id", "region", "families", "nodes", "pods_per_node", "services",
                     "load_balancer_services", "tunnels_per_node", "growth", "growth_per_year",
                     "pod_addresses", "zones", "subnets", "cidrs", "entry"}));
  FleetCluster cluster;
  cluster.place = fleet_place(place_, entry);
  TRY_OK(read_names(entry, cluster));
  TRY(families, read_families(entry["families"], fleet_.families));
  cluster.families = std::move(families);
  TRY_OK(read_numbers(entry, cluster));
  TRY_OK(read_pod_addresses(entry["pod_addresses"], cluster));
  TRY_OK(read_subnets(entry["subnets"], cluster));
  TRY_OK(read_zone_names(entry, cluster));
  TRY_OK(read_cidrs(entry["cidrs"], cluster));
  TRY_OK(read_entry_nodes(entry["entry"], cluster));
  fleet_.clusters.push_back(std::move(cluster));
  return {};
}

Result<void> ClusterReader::read_names(const Cursor& entry, FleetCluster& cluster) {
  TRY(name, read_fleet_name(entry["name"], 32));
  cluster.name = std::move(name);
  if (cluster.name == "default")
    return entry["name"].error("'default' is the name of a cluster without an id");
  TRY(id, entry["id"].integer_or(0, 1, fleet_.max_connected_clusters));
  cluster.id = static_cast<std::uint32_t>(id);
  auto [twin, is_new] = clusters_.emplace(cluster.name, fleet_.clusters.size());
  if (!is_new)
    return entry["name"].error(fmt::format("the cluster '{}' stands twice ({})", cluster.name,
                                           fleet_.clusters[twin->second].place));
  if (id != 0) {
    auto [other, free] = ids_.emplace(cluster.id, fleet_.clusters.size());
    if (!free)
      return entry["id"].error(fmt::format("{} is the id of '{}' ({})", id,
                                           fleet_.clusters[other->second].name,
                                           fleet_.clusters[other->second].place));
  }
  TRY(region, entry["region"].string());
  if (find_region(fleet_, region) == nullptr)
    return entry["region"].error(fmt::format("there is no region '{}'", region.substr(0, 64)));
  cluster.region = std::move(region);
  return {};
}

// Its region's zones, or some of them.
Result<void> ClusterReader::read_zone_names(const Cursor& entry, FleetCluster& cluster) const {
  const FleetRegion& region = *find_region(fleet_, cluster.region);
  TRY(zones, read_zones(entry["zones"]));
  for (const std::string& zone : zones)
    if (std::ranges::find(region.zones, zone) == region.zones.end())
      return entry["zones"].error(
          fmt::format("the region '{}' has no zone '{}'", region.name, zone));
  cluster.zones = zones.empty() ? region.zones : std::move(zones);
  return {};
}

Result<void> ClusterReader::read_cidrs(const Cursor& cidrs, FleetCluster& cluster) const {
  if (cidrs.is_null()) return {};
  TRY_OK(cidrs.expect_object());
  TRY_OK(cidrs.only({"underlay", "pod", "service", "load_balancer", "tunnel", "subnets"}));
  for (BlockUse use : kClusterUses) {
    const std::string field = field_of(use);  // the cursor refers to it
    Cursor ranges = cidrs[field];
    if (ranges.is_null()) continue;
    TRY_OK(ranges.expect_object());
    TRY_OK(ranges.only({"ipv4", "ipv6"}));
    for (Family family : {Family::kV4, Family::kV6}) {
      Cursor range = ranges[family_field(family)];
      if (range.is_null()) continue;
      if (!has_family(cluster.families, family))
        return range.error("is not among the cluster's families");
      TRY(given, use == BlockUse::kPod ? read_given_pod(range, family)
                                       : read_given_range(place_, range, use, family));
      if (use == BlockUse::kPod && cluster.pod_addresses != PodAddresses::kPodRange)
        return range.error("its pods take addresses of the underlay (pod_addresses)");
      cluster.given.push_back(std::move(given));
    }
  }
  return read_given_subnets(cidrs["subnets"], cluster);
}

// [{zone: a, public: true, ipv4: 10.1.0.0/24}]
Result<void> ClusterReader::read_given_subnets(const Cursor& list, FleetCluster& cluster) const {
  if (list.is_null()) return {};
  TRY_OK(list.expect_array());
  if (list.size() > kMostGivenSubnets)
    return list.error(fmt::format("{} entries; the limit is {}", list.size(), kMostGivenSubnets));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY_OK(entry.expect_object());
    TRY_OK(entry.only({"zone", "public", "ipv4", "ipv6"}));
    TRY(zone, entry["zone"].string_or(""));
    if (!zone.empty() && std::ranges::find(cluster.zones, zone) == cluster.zones.end())
      return entry["zone"].error(fmt::format("'{}' is no zone of the cluster", zone.substr(0, 64)));
    TRY(is_public, entry["public"].boolean_or(false));
    for (Family family : cluster.families) {
      Cursor cidr = entry[family_field(family)];
      if (cidr.is_null()) continue;
      TRY(given, read_given_range(place_, cidr, BlockUse::kUnderlay, family));
      cluster.given_subnets.push_back({zone, is_public, given.prefix});
    }
  }
  return {};
}

// {cidr: 10.1.0.0/16, node_prefix_length: 24}
Result<GivenRange> ClusterReader::read_given_pod(const Cursor& range, Family family) const {
  TRY_OK(range.expect_object());
  TRY_OK(range.only({"cidr", "node_prefix_length"}));
  TRY(given, read_given_range(place_, range["cidr"], BlockUse::kPod, family));
  TRY(length, range["node_prefix_length"].integer(given.prefix.length(), bits_of(family) - 1));
  given.node_prefix_length = static_cast<int>(length);
  return given;
}

}  // namespace tombolo
