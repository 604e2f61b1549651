// What annotations and the CNI configuration say. Spiderpool's annotations are
// ipam.spidernet.io/…; ipam.tombolo.io/{ippools,ippool} have the same form and come first.
#include <algorithm>

#include "ipamd/pools/internal.h"

namespace tombolo::pools {
namespace {

constexpr std::size_t kLongestAnnotation = 16'384;
constexpr std::size_t kMostPools = 64;  // of one list

Result<std::vector<std::string>> read_pools(const Cursor& list) {
  TRY(names, list.string_list());
  if (names.size() > kMostPools)
    return list.error(fmt::format("{} pools; the limit is {}", names.size(), kMostPools));
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i].empty()) return list.at(i).error("is empty");
  return names;
}

// {"ipv4": […], "ipv6": […]}, with "interface" and "cleangateway" inside of a list.
Result<NamedPools> read_entry(const Cursor& entry, const std::string& source, bool in_list) {
  TRY_OK(entry.expect_object());
  if (in_list)
    TRY_OK(entry.only({"interface", "ipv4", "ipv6", "cleangateway"}));
  else
    TRY_OK(entry.only({"ipv4", "ipv6"}));
  NamedPools named;
  named.source = source;
  TRY(ipv4, read_pools(entry["ipv4"]));
  TRY(ipv6, read_pools(entry["ipv6"]));
  TRY(clean, entry["cleangateway"].boolean_or(false));
  if (ipv4.empty() && ipv6.empty()) return entry.error("names no pool");
  named.ipv4 = std::move(ipv4);
  named.ipv6 = std::move(ipv6);
  named.clean_gateway = clean;
  return named;
}

// The entry of the interface; entries without a name are eth0, net1, net2, … by their place.
Result<std::optional<NamedPools>> read_list(const Cursor& list, const std::string& source,
                                            const std::string& interface) {
  TRY_OK(list.expect_array());
  if (list.size() > kMostPools)
    return list.error(fmt::format("{} entries; the limit is {}", list.size(), kMostPools));
  std::optional<NamedPools> found;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Cursor entry = list.at(i);
    TRY(named, read_entry(entry, source, true));
    std::string usual = i == 0 ? "eth0" : fmt::format("net{}", i);
    TRY(name, entry["interface"].string_or(usual));
    if (name != interface) continue;
    if (found) return entry.error(fmt::format("the interface '{}' stands twice", interface));
    found = std::move(named);
  }
  return found;
}

Result<std::optional<NamedPools>> of_pod(const PoolRequest& request) {
  auto source_of = [&](const std::string& key) {
    return fmt::format("annotation {} of pod {}/{}", key, request.name_space, request.pod_name);
  };
  for (std::string_view domain : {"ipam.tombolo.io", "ipam.spidernet.io"}) {
    for (std::string_view key : {"subnets", "subnet"}) {
      auto at = request.pod_annotations.find(fmt::format("{}/{}", domain, key));
      if (at != request.pod_annotations.end())
        return fail(Code::kFailedPrecondition,
                    "{}: pools are not made from subnets; name a pool by {}/ippool",
                    source_of(at->first), domain);
    }
    for (std::string_view key : {"ippools", "ippool"}) {
      auto at = request.pod_annotations.find(fmt::format("{}/{}", domain, key));
      if (at == request.pod_annotations.end()) continue;
      DocumentPlace place{source_of(at->first), {}};
      TRY(value, parse_annotation(at->second, place));
      Cursor root(value, place);
      if (key == "ippool") {
        TRY(named, read_entry(root, place.name, false));
        return std::optional(std::move(named));
      }
      TRY(named, read_list(root, place.name, request.interface_name));
      if (named) return named;  // another interface's list decides nothing here
    }
  }
  return std::nullopt;
}

Result<std::optional<NamedPools>> of_namespace(const PoolRequest& request) {
  NamedPools named;
  for (auto [key, pools] : {std::pair{"ipam.spidernet.io/default-ipv4-ippool", &named.ipv4},
                            std::pair{"ipam.spidernet.io/default-ipv6-ippool", &named.ipv6}}) {
    auto at = request.namespace_annotations.find(key);
    if (at == request.namespace_annotations.end()) continue;
    DocumentPlace place{fmt::format("annotation {} of namespace {}", key, request.name_space), {}};
    TRY(value, parse_annotation(at->second, place));
    Cursor root(value, place);
    TRY_OK(root.expect_array());
    TRY(names, read_pools(root));
    if (!names.empty()) named.source += (named.source.empty() ? "" : ", ") + place.name;
    *pools = std::move(names);
  }
  if (named.source.empty()) return std::nullopt;
  return named;
}

}  // namespace

Result<json::value> parse_annotation(const std::string& text, const DocumentPlace& place) {
  JsonLimits limits{kLongestAnnotation, 8};
  auto value = parse_json(text, limits);
  if (!value) return fail(Code::kInvalidArgument, "{}: {}", place.name, value.error().what);
  return value;
}

Result<std::vector<std::string>> named_interfaces(const PoolRequest& request) {
  std::vector<std::string> names;
  for (std::string_view domain : {"ipam.tombolo.io", "ipam.spidernet.io"}) {
    auto at = request.pod_annotations.find(fmt::format("{}/ippools", domain));
    if (at == request.pod_annotations.end()) continue;
    DocumentPlace place{
        fmt::format("annotation {} of pod {}/{}", at->first, request.name_space, request.pod_name),
        {}};
    TRY(value, parse_annotation(at->second, place));
    Cursor list(value, place);
    TRY_OK(list.expect_array());
    if (list.size() > kMostPools)
      return list.error(fmt::format("{} entries; the limit is {}", list.size(), kMostPools));
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::string usual = i == 0 ? "eth0" : fmt::format("net{}", i);
      TRY(name, list.at(i)["interface"].string_or(usual));
      if (std::ranges::count(names, name) == 0) names.push_back(std::move(name));
    }
  }
  return names;
}

Result<std::optional<NamedPools>> named_pools(const PoolRequest& request) {
  TRY(pod, of_pod(request));
  if (pod) return pod;
  TRY(name_space, of_namespace(request));
  if (name_space) return name_space;
  if (request.configured_ipv4.empty() && request.configured_ipv6.empty()) return std::nullopt;
  return NamedPools{
      fmt::format("default_ipv4_ippool and default_ipv6_ippool of network {}", request.network),
      request.configured_ipv4, request.configured_ipv6, false};
}

}  // namespace tombolo::pools
