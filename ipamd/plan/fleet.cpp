// The fleet file: a YAML document becomes a Fleet, or an error that names file, line and field.
// What concerns one entry or names is checked here; what concerns ranges of several entries belongs
// to make_plan.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostRegions = 1'000;
constexpr std::size_t kMostRanges = 2'000;  // roots, and reserved ranges
constexpr std::size_t kMostClusters = 20'000;

// The pattern of Cilium's cluster names: ^([a-z0-9][-a-z0-9]*)?[a-z0-9]$, with a limit of length.
bool is_name(std::string_view text, std::size_t most) {
  auto is_alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (text.empty() || text.size() > most) return false;
  if (!is_alphanumeric(text.front()) || !is_alphanumeric(text.back())) return false;
  return std::ranges::all_of(text, [&](char c) { return is_alphanumeric(c) || c == '-'; });
}

class FleetReader {
 public:
  explicit FleetReader(const DocumentPlace& place) : place_(place) {}

  Result<Fleet> read(const Cursor& root) {
    TRY_OK(root.expect_object());
    TRY_OK(root.only({"fleet", "families", "max_connected_clusters", "regions", "address_space",
                      "reserved", "clusterset", "clusters"}));
    fleet_.place = place_of(root);
    TRY(name, read_name(root["fleet"], 63));
    fleet_.name = std::move(name);
    TRY(families, read_families(root["families"], {Family::kV4, Family::kV6}));
    fleet_.families = std::move(families);
    TRY_OK(read_most_clusters(root["max_connected_clusters"]));
    TRY_OK(each(root["regions"], kMostRegions, &FleetReader::read_region));
    TRY_OK(each(root["address_space"], kMostRanges, &FleetReader::read_root));
    Cursor reserved = root["reserved"];
    if (!reserved.is_null()) TRY_OK(each(reserved, kMostRanges, &FleetReader::read_reserved));
    TRY_OK(read_clusterset(root["clusterset"]));
    TRY_OK(each(root["clusters"], kMostClusters, &FleetReader::read_cluster));
    return std::move(fleet_);
  }

 private:
  using Reader = Result<void> (FleetReader::*)(const Cursor&);

  Result<void> each(const Cursor& list, std::size_t most, Reader reader) {
    TRY_OK(list.expect_array());
    if (list.size() == 0) return list.error("needs at least one entry");
    if (list.size() > most)
      return list.error(fmt::format("{} entries; the limit is {}", list.size(), most));
    for (std::size_t i = 0; i < list.size(); ++i) {
      Cursor entry = list.at(i);
      TRY_OK(entry.expect_object());
      TRY_OK((this->*reader)(entry));
    }
    return {};
  }

  std::string place_of(const Cursor& cursor) const {
    auto line = place_.lines.find(cursor.path());
    if (line == place_.lines.end()) return place_.name;
    return fmt::format("{}:{}", place_.name, line->second);
  }

  static Result<std::string> read_name(const Cursor& cursor, std::size_t most) {
    TRY(name, cursor.string());
    if (!is_name(name, most))
      return cursor.error(
          fmt::format("'{}' is not a name: a to z, 0 to 9 and '-' (not first, not last), at most "
                      "{} characters",
                      name.substr(0, 64), most));
    return name;
  }

  static Result<std::vector<Family>> read_families(const Cursor& cursor,
                                                   std::vector<Family> fallback) {
    TRY(names, cursor.string_list());
    if (cursor.is_null()) return fallback;
    std::vector<Family> families;
    for (const std::string& name : names) {
      bool v4 = name == "ipv4";
      if (!v4 && name != "ipv6")
        return cursor.error(fmt::format("'{}' is not ipv4 or ipv6", name.substr(0, 64)));
      Family family = v4 ? Family::kV4 : Family::kV6;
      if (has_family(families, family)) return cursor.error(fmt::format("{} stands twice", name));
      if (!has_family(fallback, family))
        return cursor.error(fmt::format("{} is not among the fleet's families", name));
      families.push_back(family);
    }
    if (families.empty()) return cursor.error("needs ipv4, ipv6 or both");
    std::ranges::sort(families);
    return families;
  }

  static Result<Prefix> read_prefix(const Cursor& cursor) {
    TRY(text, cursor.string());
    auto prefix = Prefix::parse(text);
    if (!prefix) return cursor.error(prefix.error().what);
    if (prefix->length() == 0) return cursor.error("a whole address family is no range of a fleet");
    return *prefix;
  }

  static Result<BlockUse> read_use(const Cursor& cursor) {
    TRY(text, cursor.string());
    for (BlockUse use : kBlockUses)
      if (text == to_string(use)) return use;
    return cursor.error(
        fmt::format("'{}' is not underlay, pod, service, clusterset, load-balancer or tunnel",
                    text.substr(0, 64)));
  }

  // How the 24 bits of an identity are split decides how many clusters can be told apart.
  Result<void> read_most_clusters(const Cursor& cursor) {
    TRY(most, cursor.integer_or(fleet_.max_connected_clusters, 1, 1023));
    if (most != 255 && most != 511 && most != 1023)
      return cursor.error("is not 255, 511 (as Cilium has it) or 1023 (Tombolo alone)");
    fleet_.max_connected_clusters = static_cast<std::uint32_t>(most);
    return {};
  }

  Result<void> read_region(const Cursor& entry) {
    TRY_OK(entry.only({"name", "cloud"}));
    FleetRegion region;
    region.place = place_of(entry);
    TRY(name, read_name(entry["name"], 63));
    if (const FleetRegion* twin = find_region(fleet_, name))
      return entry["name"].error(
          fmt::format("the region '{}' stands twice ({})", name, twin->place));
    region.name = std::move(name);
    Cursor cloud = entry["cloud"];
    TRY(text, cloud.string());
    bool known = false;
    for (Cloud each : {Cloud::kAws, Cloud::kAzure, Cloud::kGcp, Cloud::kOnPrem})
      if (text == to_string(each)) {
        region.cloud = each;
        known = true;
      }
    if (!known)
      return cloud.error(fmt::format("'{}' is not aws, azure, gcp or on-prem", text.substr(0, 64)));
    fleet_.regions.push_back(std::move(region));
    return {};
  }

  Result<void> read_root(const Cursor& entry) {
    TRY_OK(entry.only({"cidr", "uses", "regions"}));
    FleetRoot root;
    root.place = place_of(entry);
    Cursor cidr = entry["cidr"];
    TRY(prefix, read_prefix(cidr));
    root.prefix = prefix;
    if (!has_family(fleet_.families, prefix.family()))
      return cidr.error(
          fmt::format("{} is not among the fleet's families", to_string(prefix.family())));
    for (const FleetRoot& other : fleet_.roots)
      if (other.prefix.overlaps(prefix))
        return cidr.error(fmt::format("{} overlaps {} ({})", prefix, other.prefix, other.place));
    Cursor uses = entry["uses"];
    if (!uses.is_null()) TRY_OK(uses.expect_array());
    for (std::size_t i = 0; i < uses.size(); ++i) {
      TRY(use, read_use(uses.at(i)));
      root.uses.push_back(use);
    }
    Cursor regions = entry["regions"];
    TRY(names, regions.string_list());
    for (const std::string& name : names)
      if (find_region(fleet_, name) == nullptr)
        return regions.error(fmt::format("there is no region '{}'", name.substr(0, 64)));
    root.regions = std::move(names);
    fleet_.roots.push_back(std::move(root));
    return {};
  }

  Result<void> read_reserved(const Cursor& entry) {
    TRY_OK(entry.only({"cidr", "note"}));
    FleetReserved reserved;
    reserved.place = place_of(entry);
    TRY(prefix, read_prefix(entry["cidr"]));
    reserved.prefix = prefix;
    TRY(note, entry["note"].string_or(""));
    reserved.note = std::move(note);
    fleet_.reserved.push_back(std::move(reserved));
    return {};
  }

  Result<void> read_clusterset(const Cursor& entry) {
    if (entry.is_null()) return {};
    TRY_OK(entry.expect_object());
    TRY_OK(entry.only({"services", "ipv4", "ipv6"}));
    TRY(services, entry["services"].integer_or(fleet_.clusterset_services, 1, 1 << 24));
    fleet_.clusterset_services = static_cast<std::uint32_t>(services);
    for (Family family : fleet_.families) {
      Cursor cidr = entry[family == Family::kV4 ? "ipv4" : "ipv6"];
      if (cidr.is_null()) continue;
      TRY(given, read_given(cidr, BlockUse::kClusterset, family));
      if (given.prefix.length() > clusterset_size(fleet_.clusterset_services, family).length)
        return cidr.error(fmt::format("{} has no room for {} services", given.prefix,
                                      fleet_.clusterset_services));
      fleet_.clusterset_given.push_back(std::move(given));
    }
    return {};
  }

  Result<GivenRange> read_given(const Cursor& cidr, BlockUse use, Family family) const {
    TRY(prefix, read_prefix(cidr));
    if (prefix.family() != family)
      return cidr.error(fmt::format("{} is not {}", prefix, to_string(family)));
    return GivenRange{use, prefix, 0, place_of(cidr)};
  }

  Result<void> read_cluster(const Cursor& entry) {
    TRY_OK(entry.only({"name", "id", "region", "families", "nodes", "pods_per_node", "services",
                       "growth", "cidrs", "entry"}));
    FleetCluster cluster;
    cluster.place = place_of(entry);
    TRY(name, read_name(entry["name"], 32));
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
    TRY(families, read_families(entry["families"], fleet_.families));
    cluster.families = std::move(families);
    TRY_OK(read_numbers(entry, cluster));
    TRY_OK(read_cidrs(entry["cidrs"], cluster));
    TRY_OK(read_entry_nodes(entry["entry"], cluster));
    fleet_.clusters.push_back(std::move(cluster));
    return {};
  }

  static Result<void> read_numbers(const Cursor& entry, FleetCluster& cluster) {
    TRY(nodes, entry["nodes"].integer(1, kMostNodes));
    cluster.nodes = static_cast<std::uint32_t>(nodes);
    TRY(pods, entry["pods_per_node"].integer_or(cluster.pods_per_node, 1, 4096));
    cluster.pods_per_node = static_cast<std::uint32_t>(pods);
    TRY(services, entry["services"].integer_or(cluster.services, 1, 1 << 20));
    cluster.services = static_cast<std::uint32_t>(services);
    Cursor growth = entry["growth"];
    if (growth.is_null()) return {};
    if (!growth.is_number()) return growth.error("must be a number, such as 1.5");
    double factor = growth.value().is_double() ? growth.value().get_double()
                                               : growth.value().to_number<double>();
    if (!(factor >= 1.0 && factor <= 100.0)) return growth.error("is not from 1 to 100");
    cluster.growth_percent = static_cast<std::uint32_t>(std::lround(factor * 100));
    return {};
  }

  Result<void> read_cidrs(const Cursor& cidrs, FleetCluster& cluster) {
    if (cidrs.is_null()) return {};
    TRY_OK(cidrs.expect_object());
    TRY_OK(cidrs.only({"underlay", "pod", "service"}));
    for (BlockUse use : {BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService}) {
      Cursor ranges = cidrs[to_string(use)];
      if (ranges.is_null()) continue;
      TRY_OK(ranges.expect_object());
      TRY_OK(ranges.only({"ipv4", "ipv6"}));
      for (Family family : {Family::kV4, Family::kV6}) {
        Cursor range = ranges[family == Family::kV4 ? "ipv4" : "ipv6"];
        if (range.is_null()) continue;
        if (!has_family(cluster.families, family))
          return range.error("is not among the cluster's families");
        TRY(given,
            use == BlockUse::kPod ? read_given_pod(range, family) : read_given(range, use, family));
        cluster.given.push_back(std::move(given));
      }
    }
    return {};
  }

  // {cidr: 10.1.0.0/16, node_prefix_length: 24}
  Result<GivenRange> read_given_pod(const Cursor& range, Family family) const {
    TRY_OK(range.expect_object());
    TRY_OK(range.only({"cidr", "node_prefix_length"}));
    TRY(given, read_given(range["cidr"], BlockUse::kPod, family));
    TRY(length, range["node_prefix_length"].integer(given.prefix.length(), bits_of(family) - 1));
    given.node_prefix_length = static_cast<int>(length);
    return given;
  }

  // A list of node numbers (the first node is 1) or a list of addresses.
  static Result<void> read_entry_nodes(const Cursor& list, FleetCluster& cluster) {
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

  const DocumentPlace& place_;
  Fleet fleet_;
  std::unordered_map<std::string, std::size_t> clusters_;  // indices by name
  std::unordered_map<std::uint32_t, std::size_t> ids_;
};

}  // namespace

Result<Fleet> parse_fleet(const YamlDocument& document) {
  return FleetReader(document.place).read(document.root());
}

}  // namespace tombolo
