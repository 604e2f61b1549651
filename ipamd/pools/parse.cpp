// IPPool and IPReservation documents, and Spiderpool's. Every complaint names file, line and field.
#include <algorithm>

#include "core/names.h"
#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostEntries = 10'000;  // of any list
constexpr int kLongestBlock = 16;             // bits between a pool's subnet and a node's block
constexpr int kLongestPart = 12;              // and a part of a pool of several clusters
constexpr int kUsualPart = 4;
constexpr std::size_t kMostClusters = 255;

std::string place_of(const Cursor& cursor) {
  // An error at the cursor begins with its place.
  std::string text = cursor.error("").error().what;
  return text.substr(0, text.rfind(": "));
}

template <class Parse>
auto read_text(const Cursor& cursor, Parse parse) -> decltype(parse(std::string())) {
  TRY(text, cursor.string());
  auto value = parse(text);
  if (!value) return cursor.error(value.error().what);
  return value;
}

// Each entry by `read`, which gets its cursor; absent: none.
template <class Value, class Read>
Result<std::vector<Value>> read_list(const Cursor& list, Read read) {
  std::vector<Value> values;
  if (list.is_null()) return values;
  TRY_OK(list.expect_array());
  if (list.size() > kMostEntries)
    return list.error(fmt::format("{} entries; the limit is {}", list.size(), kMostEntries));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(value, read(entry));
    values.push_back(std::move(value));
  }
  return values;
}

Result<std::vector<IpRange>> read_ranges(const Cursor& list, Family family) {
  return read_list<IpRange>(list, [family](const Cursor& entry) -> Result<IpRange> {
    TRY(range, read_text(entry, parse_ip_range));
    if (range.first.family() != family)
      return entry.error(fmt::format("not a range of {}", to_string(family)));
    return range;
  });
}

Result<std::vector<std::string>> read_names(const Cursor& list) {
  return read_list<std::string>(list, [](const Cursor& entry) -> Result<std::string> {
    TRY(name, entry.string());
    if (name.empty() || name.size() > 253) return entry.error("must have 1 to 253 characters");
    return name;
  });
}

// metav1.LabelSelector.
Result<LabelSelector> read_selector(const Cursor& selector) {
  LabelSelector result;
  if (selector.is_null()) return result;
  TRY_OK(selector.expect_object());
  TRY_OK(selector.only({"matchLabels", "matchExpressions"}));
  TRY(labels, selector["matchLabels"].string_map());
  for (auto& [key, value] : labels)
    result.requirements.push_back({key, LabelOperator::kIn, {value}});
  auto read = [](const Cursor& entry) -> Result<LabelRequirement> {
    TRY_OK(entry.expect_object());
    TRY_OK(entry.only({"key", "operator", "values"}));
    LabelRequirement requirement;
    TRY(key, entry["key"].string());
    if (!is_label_key(key)) return entry["key"].error("is not a label key");
    requirement.key = std::move(key);
    TRY(op, entry["operator"].string());
    TRY(values, entry["values"].string_list());
    bool takes_values = op == "In" || op == "NotIn";
    if (!takes_values && op != "Exists" && op != "DoesNotExist")
      return entry["operator"].error("is not In, NotIn, Exists or DoesNotExist");
    if (takes_values == values.empty())
      return entry["values"].error(takes_values ? "needs at least one value"
                                                : "must not be there with this operator");
    requirement.op = op == "In"       ? LabelOperator::kIn
                     : op == "NotIn"  ? LabelOperator::kNotIn
                     : op == "Exists" ? LabelOperator::kExists
                                      : LabelOperator::kDoesNotExist;
    std::ranges::sort(values);
    requirement.values = std::move(values);
    return requirement;
  };
  TRY(expressions, read_list<LabelRequirement>(selector["matchExpressions"], read));
  std::ranges::move(expressions, std::back_inserter(result.requirements));
  std::ranges::sort(result.requirements);
  return result;
}

Result<void> read_affinity(const Cursor& spec, PoolAffinity& affinity) {
  TRY(pods, read_selector(spec["podAffinity"]));
  TRY(namespaces, read_selector(spec["namespaceAffinity"]));
  TRY(nodes, read_selector(spec["nodeAffinity"]));
  affinity.pods = std::move(pods);
  affinity.namespaces = std::move(namespaces);
  affinity.nodes = std::move(nodes);
  struct Field {
    const char* key;
    std::vector<std::string>* names;
  };
  for (const Field& field :
       {Field{"namespaceName", &affinity.namespace_names}, Field{"nodeName", &affinity.node_names},
        Field{"multusName", &affinity.networks}, Field{"ownerName", &affinity.owners},
        Field{"interfaceName", &affinity.interfaces}}) {
    TRY(names, read_names(spec[field.key]));
    *field.names = std::move(names);
  }
  return {};
}

Result<PoolRoute> read_route(const Cursor& entry, const IpPool& pool) {
  TRY_OK(entry.expect_object());
  TRY_OK(entry.only({"dst", "gw"}));
  TRY(destination, read_text(entry["dst"], Prefix::parse));
  TRY(gateway, read_text(entry["gw"], Ip::parse));
  if (destination.family() != pool.family)
    return entry["dst"].error(fmt::format("is not {}", to_string(pool.family)));
  if (!pool.subnet.contains(gateway))
    return entry["gw"].error(fmt::format("is not in the subnet {}", pool.subnet.str()));
  return PoolRoute{destination, gateway};
}

Result<void> read_addresses(const Cursor& spec, IpPool& pool) {
  TRY(subnet, read_text(spec["subnet"], Prefix::parse));
  pool.subnet = subnet;
  pool.family = subnet.family();
  if (!spec["ipVersion"].is_null()) {
    TRY(version, spec["ipVersion"].integer(4, 6));
    if (version != (pool.family == Family::kV4 ? 4 : 6))
      return spec["ipVersion"].error(
          fmt::format("is not that of the subnet {}", pool.subnet.str()));
  }
  TRY(ranges, read_ranges(spec["ips"], pool.family));
  TRY(excluded, read_ranges(spec["excludeIPs"], pool.family));
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (!subnet.contains(ranges[i].first) || !subnet.contains(ranges[i].last))
      return spec["ips"].error(fmt::format("{}-{} is not in the subnet {}", ranges[i].first.str(),
                                           ranges[i].last.str(), subnet.str()));
  pool.ranges = std::move(ranges);
  pool.excluded = std::move(excluded);
  if (Cursor gateway = spec["gateway"]; !gateway.is_null()) {
    TRY(ip, read_text(gateway, Ip::parse));
    if (!subnet.contains(ip))
      return gateway.error(fmt::format("is not in the subnet {}", subnet.str()));
    pool.gateway = ip;
  }
  TRY(routes, read_list<PoolRoute>(spec["routes"],
                                   [&](const Cursor& entry) { return read_route(entry, pool); }));
  pool.routes = std::move(routes);
  return {};
}

Result<void> read_kind(const Cursor& spec, IpPool& pool) {
  TRY(kind, spec["kind"].string_or("underlay"));
  if (kind != "underlay" && kind != "overlay")
    return spec["kind"].error("is not overlay or underlay");
  pool.kind = kind == "overlay" ? PoolKind::kOverlay : PoolKind::kUnderlay;
  Cursor block = spec["blockLength"];
  int most = std::min(pool.subnet.length() + kLongestBlock, bits_of(pool.family));
  if (pool.kind == PoolKind::kOverlay) {
    int usual = std::clamp(pool.family == Family::kV4 ? 26 : 122, pool.subnet.length(), most);
    TRY(length, block.integer_or(usual, pool.subnet.length(), most));
    pool.block_length = static_cast<int>(length);
  } else if (!block.is_null()) {
    return block.error("belongs to overlay pools");
  }
  return {};
}

// As Calico spells it, but one use: pods' addresses and services' are written down in two places,
// so a pool of both would give one twice.
Result<void> read_uses(const Cursor& uses, IpPool& pool) {
  TRY(list, uses.string_list());
  if (uses.is_null()) return {};
  if (list.size() != 1) return uses.error("has to be one of Workload, LoadBalancer");
  if (list.front() != "Workload" && list.front() != "LoadBalancer")
    return uses.at(0).error("is not Workload or LoadBalancer");
  pool.load_balancer = list.front() == "LoadBalancer";
  if (pool.load_balancer && pool.kind == PoolKind::kOverlay)
    return uses.error("an overlay pool is for Workload");
  return {};
}

Result<void> read_sharing(const Cursor& sharing, IpPool& pool) {
  if (sharing.is_null()) return {};
  TRY_OK(sharing.expect_object());
  TRY_OK(sharing.only({"home", "clusters", "partLength"}));
  if (pool.kind == PoolKind::kOverlay || pool.load_balancer)
    return sharing.error("belongs to underlay pools for Workload");
  PoolSharing read;
  Cursor home_field = sharing["home"];
  TRY(home, home_field.string());
  if (!is_dns_label(home)) return home_field.error("is not the name of a cluster");
  read.home = std::move(home);
  Cursor clusters = sharing["clusters"];
  TRY(names, clusters.string_list());
  if (names.size() > kMostClusters)
    return clusters.error(fmt::format("{} entries; the limit is {}", names.size(), kMostClusters));
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!is_dns_label(names[i])) return clusters.at(i).error("is not the name of a cluster");
  names.push_back(read.home);
  std::ranges::sort(names);
  auto twice = std::ranges::unique(names);
  names.erase(twice.begin(), twice.end());
  read.clusters = std::move(names);
  int subnet = pool.subnet.length();
  int bits = bits_of(pool.family);
  TRY(length, sharing["partLength"].integer_or(std::min(subnet + kUsualPart, bits), subnet,
                                               std::min(subnet + kLongestPart, bits)));
  read.part_length = static_cast<int>(length);
  pool.sharing = std::move(read);
  return {};
}

// A pool for services is for those of every namespace; what would say otherwise must not be
// overlooked.
Result<void> check_for_services(const Cursor& spec) {
  for (const char* field : {"podAffinity", "namespaceAffinity", "nodeAffinity", "namespaceName",
                            "nodeName", "multusName", "ownerName", "interfaceName"})
    if (Cursor selector = spec[field]; !selector.is_null())
      return selector.error("is for pools of pods: one for LoadBalancer serves every namespace");
  return {};
}

Result<std::string> read_name(const Cursor& document) {
  Cursor metadata = document["metadata"];
  TRY_OK(metadata.expect_object());
  Cursor cursor = metadata["name"];
  TRY(name, cursor.string());
  if (!is_dns_subdomain(name)) return cursor.error("is not a name of an object (RFC 1123)");
  return name;
}

}  // namespace

Result<IpPool> parse_ip_pool(const Cursor& document) {
  TRY_OK(document.expect_object());
  IpPool pool;
  pool.place = place_of(document);
  TRY(name, read_name(document));
  if (name == kNodePool)
    return document["metadata"]["name"].error("is the name of the node's own blocks");
  pool.name = std::move(name);
  Cursor spec = document["spec"];
  TRY_OK(spec.expect_object());
  TRY_OK(spec.only({"kind",          "ipVersion",         "subnet",       "ips",
                    "excludeIPs",    "gateway",           "routes",       "vlan",
                    "blockLength",   "default",           "disable",      "rest",
                    "podAffinity",   "namespaceAffinity", "nodeAffinity", "namespaceName",
                    "nodeName",      "multusName",        "ownerName",    "interfaceName",
                    "conflictProbe", "gatewayProbe",      "allowedUses",  "sharing"}));
  TRY_OK(read_addresses(spec, pool));
  TRY_OK(read_kind(spec, pool));
  TRY_OK(read_uses(spec["allowedUses"], pool));
  TRY_OK(read_sharing(spec["sharing"], pool));
  TRY(vlan, spec["vlan"].integer_or(0, 0, 4094));
  pool.vlan = static_cast<int>(vlan);
  TRY(is_default, spec["default"].boolean_or(false));
  TRY(disabled, spec["disable"].boolean_or(false));
  pool.is_default = is_default;
  pool.disabled = disabled;
  bool shared = pool.kind == PoolKind::kUnderlay;
  TRY(conflicts, spec["conflictProbe"].boolean_or(shared));
  TRY(gateways, spec["gatewayProbe"].boolean_or(shared && pool.gateway.has_value()));
  if (gateways && !pool.gateway) return spec["gatewayProbe"].error("needs a gateway");
  pool.conflict_probe = conflicts;
  pool.gateway_probe = gateways;
  if (Cursor rest = spec["rest"]; !rest.is_null()) {
    constexpr std::int64_t kLongestRest = 86'400;
    TRY_OK(rest.expect_object());
    TRY_OK(rest.only({"wantedSeconds", "leastSeconds"}));
    TRY(wanted, rest["wantedSeconds"].integer_or(pool.rest.wanted_ms / 1000, 0, kLongestRest));
    TRY(least, rest["leastSeconds"].integer_or(0, 0, wanted));
    pool.rest = {wanted * 1000, least * 1000};
  }
  TRY_OK(read_affinity(spec, pool.affinity));
  if (pool.load_balancer) {
    TRY_OK(check_for_services(spec));
  }
  return pool;
}

Result<IpReservation> parse_ip_reservation(const Cursor& document) {
  TRY_OK(document.expect_object());
  IpReservation reservation;
  reservation.place = place_of(document);
  TRY(name, read_name(document));
  reservation.name = std::move(name);
  Cursor spec = document["spec"];
  TRY_OK(spec.expect_object());
  TRY_OK(spec.only({"ipVersion", "ips"}));
  TRY(ranges, read_list<IpRange>(spec["ips"], [](const Cursor& entry) {
        return read_text(entry, parse_ip_range);
      }));
  TRY(version, spec["ipVersion"].integer_or(0, 4, 6));
  if (version == 5) return spec["ipVersion"].error("is not 4 or 6");
  for (const IpRange& range : ranges)
    if (version != 0 && (version == 4) != range.first.is_v4())
      return spec["ips"].error(
          fmt::format("{} is not of ipVersion {}", range.first.str(), version));
  reservation.ranges = std::move(ranges);
  return reservation;
}

}  // namespace tombolo
