// Kubernetes objects, as `kubectl get -o json` prints them: nodes, services, ServiceCIDRs and
// Calico's pools. Field names as in the APIs core/v1, networking.k8s.io/v1 and
// crd.projectcalico.org/v1.
#include <algorithm>
#include <charconv>

#include "ipamd/import/internal.h"

namespace tombolo {
namespace imports {

Result<Prefix> prefix_at(const Cursor& cursor) {
  TRY(text, cursor.string());
  auto prefix = Prefix::parse(text);
  if (!prefix) return cursor.error(prefix.error().what);
  return *prefix;
}

Result<std::vector<Prefix>> prefixes_at(const Cursor& cursor) {
  TRY(text, cursor.string());
  std::vector<Prefix> prefixes;
  std::string_view rest = text;
  while (true) {
    std::size_t comma = rest.find_first_of(", ");
    std::string_view part = rest.substr(0, comma);
    if (!part.empty()) {
      auto prefix = Prefix::parse(part);
      if (!prefix) return cursor.error(prefix.error().what);
      prefixes.push_back(*prefix);
    }
    if (comma == std::string_view::npos) return prefixes;
    rest.remove_prefix(comma + 1);
  }
}

std::vector<Prefix> split_out(std::vector<Prefix> prefixes, Family family) {
  std::erase_if(prefixes, [&](const Prefix& prefix) { return prefix.family() != family; });
  return prefixes;
}

namespace {

constexpr std::size_t kMostObjects = 100'000;

// "110"; quantities with a suffix are no numbers of pods.
std::uint32_t number_or_zero(const std::string& text) {
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

Result<void> read_node(const Cursor& object, ClusterFacts& facts) {
  NodeFact node;
  TRY(name, object["metadata"]["name"].string());
  node.name = std::move(name);
  TRY(zone, object["metadata"]["labels"]["topology.kubernetes.io/zone"].string_or(""));
  node.zone = std::move(zone);
  Cursor spec = object["spec"];
  Cursor ranges = spec["podCIDRs"];
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    TRY(prefix, prefix_at(ranges.at(i)));
    node.pod_ranges.push_back(prefix);
  }
  if (node.pod_ranges.empty() && !spec["podCIDR"].is_null()) {
    TRY(prefix, prefix_at(spec["podCIDR"]));
    node.pod_ranges.push_back(prefix);
  }
  Cursor status = object["status"];
  Cursor addresses = status["addresses"];
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    Cursor entry = addresses.at(i);
    TRY(type, entry["type"].string());
    if (type != "InternalIP") continue;
    TRY(text, entry["address"].string());
    auto ip = Ip::parse(text);
    if (!ip) return entry["address"].error(ip.error().what);
    node.addresses.push_back(*ip);
  }
  TRY(pods, status["capacity"]["pods"].string_or(""));
  node.pods = number_or_zero(pods);
  facts.nodes.push_back(std::move(node));
  return {};
}

Result<void> read_service(const Cursor& object, ClusterFacts& facts) {
  TRY(address, object["spec"]["clusterIP"].string_or("None"));
  if (!address.empty() && address != "None") ++facts.services;
  return {};
}

Result<void> read_service_cidr(const Cursor& object, ClusterFacts& facts) {
  TRY(name, object["metadata"]["name"].string());
  Cursor spec = object["spec"];
  Cursor list = spec["cidrs"];
  TRY_OK(list.expect_array());
  for (std::size_t i = 0; i < list.size(); ++i) {
    TRY(prefix, prefix_at(list.at(i)));
    facts.ranges.push_back({BlockUse::kService, prefix, 0, "ServiceCIDR " + name});
  }
  return {};
}

// Calico's blocks are no node's for good, so that their size says nothing of nodes. Disabled pools
// are other people's addresses.
Result<void> read_calico_pool(const Cursor& object, ClusterFacts& facts) {
  TRY(name, object["metadata"]["name"].string());
  TRY(disabled, object["spec"]["disabled"].boolean_or(false));
  if (disabled) return {};
  TRY(prefix, prefix_at(object["spec"]["cidr"]));
  facts.ranges.push_back({BlockUse::kPod, prefix, 0, "IPPool " + name});
  return {};
}

Result<void> read_config_map(const Cursor& object, std::string_view name, ClusterFacts& facts) {
  TRY(map, object["metadata"]["name"].string());
  if (map == "kubeadm-config") return read_kubeadm_config(object["data"], name, facts);
  if (map == "cilium-config") return read_cilium_config(object["data"], facts);
  return {};
}

Result<void> read_object(const Cursor& object, std::string_view name, ClusterFacts& facts) {
  TRY_OK(object.expect_object());
  TRY(kind, object["kind"].string());
  if (kind == "Node") return read_node(object, facts);
  if (kind == "Service") return read_service(object, facts);
  if (kind == "ServiceCIDR") return read_service_cidr(object, facts);
  if (kind == "ConfigMap") return read_config_map(object, name, facts);
  TRY(api, object["apiVersion"].string_or(""));
  if (kind == "IPPool" && api.find("projectcalico.org/") != std::string::npos)
    return read_calico_pool(object, facts);
  return {};
}

}  // namespace
}  // namespace imports

Result<void> read_cluster_facts(const json::value& document, std::string_view name,
                                ClusterFacts& facts) {
  DocumentPlace place{std::string(name), {}};
  Cursor root(document, place);
  TRY_OK(root.expect_object());
  Cursor items = root["items"];
  if (!items.present()) return imports::read_object(root, name, facts);
  TRY_OK(items.expect_array());
  if (items.size() > imports::kMostObjects)
    return items.error(
        fmt::format("{} objects; the limit is {}", items.size(), imports::kMostObjects));
  for (std::size_t i = 0; i < items.size(); ++i) {
    Cursor item = items.at(i);
    TRY_OK(imports::read_object(item, name, facts));
  }
  return {};
}

}  // namespace tombolo
