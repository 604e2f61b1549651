// The fleet file: a YAML document becomes a Fleet, or an error that names file, line and field.
// What concerns one entry or names is checked here; what concerns ranges of several entries belongs
// to make_plan.
#include <algorithm>

#include "ipamd/plan/fleet_reader.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostRegions = 1'000;
constexpr std::size_t kMostRanges = 2'000;  // roots, and reserved ranges
constexpr std::size_t kMostClusters = 20'000;
constexpr std::size_t kMostZones = 16;

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
    fleet_.place = fleet_place(place_, root);
    TRY(name, read_fleet_name(root["fleet"], 63));
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
    TRY_OK(entry.only({"name", "cloud", "zones"}));
    FleetRegion region;
    region.place = fleet_place(place_, entry);
    TRY(name, read_fleet_name(entry["name"], 63));
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
    TRY(zones, read_zones(entry["zones"]));
    region.zones = std::move(zones);
    fleet_.regions.push_back(std::move(region));
    return {};
  }

  Result<void> read_root(const Cursor& entry) {
    TRY_OK(entry.only({"cidr", "uses", "regions"}));
    FleetRoot root;
    root.place = fleet_place(place_, entry);
    Cursor cidr = entry["cidr"];
    TRY(prefix, read_fleet_prefix(cidr));
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
    reserved.place = fleet_place(place_, entry);
    TRY(prefix, read_fleet_prefix(entry["cidr"]));
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
      Cursor cidr = entry[family_field(family)];
      if (cidr.is_null()) continue;
      TRY(given, read_given_range(place_, cidr, BlockUse::kClusterset, family));
      if (given.prefix.length() > clusterset_size(fleet_.clusterset_services, family).length)
        return cidr.error(fmt::format("{} has no room for {} services", given.prefix,
                                      fleet_.clusterset_services));
      fleet_.clusterset_given.push_back(std::move(given));
    }
    return {};
  }

  Result<void> read_cluster(const Cursor& entry) { return clusters_.read(entry); }

  const DocumentPlace& place_;
  Fleet fleet_;
  ClusterReader clusters_{place_, fleet_};
};

}  // namespace

std::string fleet_place(const DocumentPlace& place, const Cursor& cursor) {
  auto line = place.lines.find(cursor.path());
  if (line == place.lines.end()) return place.name;
  return fmt::format("{}:{}", place.name, line->second);
}

Result<std::string> read_fleet_name(const Cursor& cursor, std::size_t most) {
  TRY(name, cursor.string());
  if (!is_name(name, most))
    return cursor.error(
        fmt::format("'{}' is not a name: a to z, 0 to 9 and '-' (not first, not last), at most "
                    "{} characters",
                    name.substr(0, 64), most));
  return name;
}

Result<std::vector<Family>> read_families(const Cursor& cursor, std::vector<Family> fallback) {
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

Result<std::vector<std::string>> read_zones(const Cursor& cursor) {
  std::vector<std::string> zones;
  if (cursor.is_null()) return zones;
  TRY_OK(cursor.expect_array());
  if (cursor.size() == 0 || cursor.size() > kMostZones)
    return cursor.error(fmt::format("needs 1 to {} entries", kMostZones));
  for (std::size_t i = 0; i < cursor.size(); ++i) {
    TRY(name, read_fleet_name(cursor.at(i), 63));
    if (std::ranges::find(zones, name) != zones.end()) return cursor.at(i).error("stands twice");
    zones.push_back(std::move(name));
  }
  return zones;
}

Result<Prefix> read_fleet_prefix(const Cursor& cursor) {
  TRY(text, cursor.string());
  auto prefix = Prefix::parse(text);
  if (!prefix) return cursor.error(prefix.error().what);
  if (prefix->length() == 0) return cursor.error("a whole address family is no range of a fleet");
  return *prefix;
}

Result<GivenRange> read_given_range(const DocumentPlace& place, const Cursor& cidr, BlockUse use,
                                    Family family) {
  TRY(prefix, read_fleet_prefix(cidr));
  if (prefix.family() != family)
    return cidr.error(fmt::format("{} is not {}", prefix, to_string(family)));
  return GivenRange{use, prefix, 0, fleet_place(place, cidr)};
}

Result<Fleet> parse_fleet(const YamlDocument& document) {
  return FleetReader(document.place).read(document.root());
}

}  // namespace tombolo
