// A plan as JSON for the store, in the oldest format version that can hold it, so that an older
// Tombolo reads it as long as there is nothing in it that it would get wrong. Fields may be added,
// a reader ignores those that it does not know.
#include <algorithm>
#include <set>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

// 1: every cluster has an id, an underlay, a pod and a service range; 2: some have no id; 3: ranges
// for load balancers and tunnels, subnets, pods in the underlay.
constexpr std::int64_t kFormatVersion = 3;
constexpr std::size_t kMostEntries = 100'000;  // of any list; a plan that is larger is no plan

json::object range_to_json(const PlannedRange& range) {
  json::object object{{"use", to_string(range.use)}, {"cidr", range.prefix.str()}};
  if (range.use == BlockUse::kPod) object["node_prefix_length"] = range.node_prefix_length;
  object["origin"] = to_string(range.origin);
  return object;
}

Result<void> expect_list(const Cursor& list) {
  TRY_OK(list.expect_array());
  if (list.size() > kMostEntries)
    return list.error(fmt::format("{} entries; the limit is {}", list.size(), kMostEntries));
  return {};
}

Result<Prefix> read_prefix(const Cursor& cursor) {
  TRY(text, cursor.string());
  auto prefix = Prefix::parse(text);
  if (!prefix) return cursor.error(prefix.error().what);
  return *prefix;
}

// The value whose name (by to_string) stands in the document.
template <class Enum>
Result<Enum> read_enum(const Cursor& cursor, std::span<const Enum> all) {
  TRY(text, cursor.string());
  for (Enum each : all)
    if (text == to_string(each)) return each;
  return cursor.error(fmt::format("'{}' is not known", text.substr(0, 64)));
}

template <class Enum>
Result<Enum> read_enum(const Cursor& cursor, std::initializer_list<Enum> all) {
  return read_enum(cursor, std::span<const Enum>(all));
}

Result<PlannedRange> read_range(const Cursor& entry) {
  PlannedRange range;
  TRY(use, read_enum(entry["use"], std::span<const BlockUse>(kBlockUses)));
  range.use = use;
  TRY(prefix, read_prefix(entry["cidr"]));
  range.prefix = prefix;
  if (use == BlockUse::kPod) {
    TRY(length, entry["node_prefix_length"].integer(prefix.length(), bits_of(prefix.family())));
    range.node_prefix_length = static_cast<int>(length);
  }
  TRY(origin, read_enum(entry["origin"], {RangeOrigin::kAssigned, RangeOrigin::kKept,
                                          RangeOrigin::kGrown, RangeOrigin::kGiven}));
  range.origin = origin;
  return range;
}

// One range per use and family, and only the uses that belong here.
Result<std::vector<PlannedRange>> read_ranges(const Cursor& list, bool of_cluster) {
  TRY_OK(expect_list(list));
  std::vector<PlannedRange> ranges;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(range, read_range(entry));
    if (of_cluster == (range.use == BlockUse::kClusterset))
      return entry["use"].error("does not belong here");
    for (const PlannedRange& other : ranges)
      if (other.use == range.use && other.prefix.family() == range.prefix.family())
        return entry.error("a second range of this use and family");
    ranges.push_back(range);
  }
  return ranges;
}

json::array subnets_to_json(const std::vector<Subnet>& subnets) {
  json::array list;
  for (const Subnet& subnet : subnets)
    list.push_back(json::object{
        {"zone", subnet.zone}, {"public", subnet.is_public}, {"cidr", subnet.prefix.str()}});
  return list;
}

Result<std::vector<Subnet>> read_subnets(const Cursor& list) {
  std::vector<Subnet> subnets;
  if (list.is_null()) return subnets;
  TRY_OK(expect_list(list));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    Subnet subnet;
    TRY(zone, entry["zone"].string_or(""));
    subnet.zone = std::move(zone);
    TRY(is_public, entry["public"].boolean_or(false));
    subnet.is_public = is_public;
    TRY(prefix, read_prefix(entry["cidr"]));
    subnet.prefix = prefix;
    subnets.push_back(std::move(subnet));
  }
  return subnets;
}

Result<PlannedCluster> read_cluster(const Cursor& entry) {
  PlannedCluster cluster;
  TRY(name, entry["name"].string());
  cluster.name = std::move(name);
  TRY(id, entry["id"].integer_or(0, 0, 65'535));
  cluster.id = static_cast<std::uint32_t>(id);
  TRY(region, entry["region"].string());
  cluster.region = std::move(region);
  TRY(cloud, read_enum(entry["cloud"], {Cloud::kAws, Cloud::kAzure, Cloud::kGcp, Cloud::kOnPrem}));
  cluster.cloud = cloud;
  TRY(nodes, entry["nodes"].integer(1, kMostNodes));
  cluster.nodes = static_cast<std::uint32_t>(nodes);
  TRY(pods, entry["pods_per_node"].integer(1, 1 << 20));
  cluster.pods_per_node = static_cast<std::uint32_t>(pods);
  if (Cursor source = entry["pod_addresses"]; !source.is_null()) {
    TRY(from, read_enum(source, {PodAddresses::kPodRange, PodAddresses::kUnderlay,
                                 PodAddresses::kUnderlayPrefixes}));
    cluster.pod_addresses = from;
  }
  TRY(ranges, read_ranges(entry["ranges"], true));
  cluster.ranges = std::move(ranges);
  TRY(subnets, read_subnets(entry["subnets"]));
  cluster.subnets = std::move(subnets);
  Cursor list = entry["entry"];
  TRY_OK(expect_list(list));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor item = list.at(i);
    TRY(text, item.string());
    auto ip = Ip::parse(text);
    if (!ip) return item.error(ip.error().what);
    cluster.entry.push_back(*ip);
  }
  return cluster;
}

std::int64_t version_of(const PlannedCluster& cluster) {
  if (!cluster.subnets.empty() || cluster.pod_addresses != PodAddresses::kPodRange) return 3;
  for (const PlannedRange& range : cluster.ranges)
    if (range.use == BlockUse::kLoadBalancer || range.use == BlockUse::kTunnel) return 3;
  return cluster.id == 0 ? 2 : 1;
}

std::int64_t version_of(const Plan& plan) {
  std::int64_t version = 1;
  for (const PlannedCluster& cluster : plan.clusters)
    version = std::max(version, version_of(cluster));
  return version;
}

}  // namespace

json::value plan_to_json(const Plan& plan) {
  json::array roots;
  for (const Prefix& root : plan.roots) roots.emplace_back(root.str());
  json::array reserved;
  for (const PlannedReserve& range : plan.reserved)
    reserved.push_back(json::object{{"cidr", range.prefix.str()}, {"note", range.note}});
  json::array clusterset;
  for (const PlannedRange& range : plan.clusterset) clusterset.push_back(range_to_json(range));
  json::array clusters;
  for (const PlannedCluster& cluster : plan.clusters) {
    json::array ranges;
    for (const PlannedRange& range : cluster.ranges) ranges.push_back(range_to_json(range));
    json::array entry;
    for (Ip ip : cluster.entry) entry.emplace_back(ip.str());
    json::object object{{"name", cluster.name},
                        {"region", cluster.region},
                        {"cloud", to_string(cluster.cloud)},
                        {"nodes", std::int64_t{cluster.nodes}},
                        {"pods_per_node", std::int64_t{cluster.pods_per_node}},
                        {"ranges", std::move(ranges)},
                        {"entry", std::move(entry)}};
    if (cluster.id != 0) object["id"] = std::int64_t{cluster.id};
    if (cluster.pod_addresses != PodAddresses::kPodRange)
      object["pod_addresses"] = to_string(cluster.pod_addresses);
    if (!cluster.subnets.empty()) object["subnets"] = subnets_to_json(cluster.subnets);
    clusters.push_back(std::move(object));
  }
  return json::object{{"version", version_of(plan)},
                      {"fleet", plan.fleet},
                      {"address_space", std::move(roots)},
                      {"reserved", std::move(reserved)},
                      {"clusterset", std::move(clusterset)},
                      {"clusters", std::move(clusters)},
                      {"certificate", certificate_to_json(plan)}};
}

namespace {

// Written by a Tombolo before certificates: none.
Result<std::vector<Certificate>> read_certificates(const Cursor& list) {
  std::vector<Certificate> certificates;
  if (list.is_null()) return certificates;
  TRY_OK(expect_list(list));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    Certificate certificate;
    TRY(family, read_enum(entry["family"], {Family::kV4, Family::kV6}));
    certificate.family = family;
    TRY(routes, entry["routes"].integer(0, 1U << 31U));
    certificate.routes = static_cast<std::uint32_t>(routes);
    TRY(bound, entry["bound"].integer(0, 1U << 31U));
    certificate.bound = static_cast<std::uint32_t>(bound);
    TRY(reason, entry["reason"].string());
    certificate.reason = std::move(reason);
    TRY(addresses, entry["addresses"].string());
    certificate.addresses = std::move(addresses);
    TRY(least, entry["least_addresses"].string());
    certificate.least_addresses = std::move(least);
    certificates.push_back(std::move(certificate));
  }
  return certificates;
}

}  // namespace

Result<Plan> plan_from_json(const Cursor& document) {
  TRY_OK(document.expect_object());
  Cursor format = document["version"];
  TRY(version, format.integer(1, 1'000'000));
  if (version > kFormatVersion)
    return format.error(fmt::format("written by a newer Tombolo (format {}; this one knows {})",
                                    version, kFormatVersion),
                        Code::kFailedPrecondition);
  Plan plan;
  TRY(fleet, document["fleet"].string());
  plan.fleet = std::move(fleet);
  Cursor roots = document["address_space"];
  TRY_OK(expect_list(roots));
  for (std::size_t i = 0; i < roots.size(); ++i) {
    TRY(root, read_prefix(roots.at(i)));
    plan.roots.push_back(root);
  }
  Cursor reserved = document["reserved"];
  TRY_OK(expect_list(reserved));
  for (std::size_t i = 0; i < reserved.size(); ++i) {
    Cursor entry = reserved.at(i);
    TRY(prefix, read_prefix(entry["cidr"]));
    TRY(note, entry["note"].string_or(""));
    plan.reserved.push_back({prefix, std::move(note)});
  }
  TRY(clusterset, read_ranges(document["clusterset"], false));
  plan.clusterset = std::move(clusterset);
  std::set<std::string> names;
  Cursor clusters = document["clusters"];
  TRY_OK(expect_list(clusters));
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    Cursor entry = clusters.at(i);
    TRY(cluster, read_cluster(entry));
    if (!names.insert(cluster.name).second)
      return entry["name"].error(fmt::format("the cluster '{}' stands twice", cluster.name));
    plan.clusters.push_back(std::move(cluster));
  }
  std::ranges::sort(plan.clusters, {}, &PlannedCluster::name);
  Cursor certificate = document["certificate"];
  if (!certificate.is_null()) {
    TRY(certificates, read_certificates(certificate["families"]));
    plan.certificate = std::move(certificates);
  }
  return plan;
}

}  // namespace tombolo
