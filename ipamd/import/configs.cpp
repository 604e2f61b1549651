// What kubeadm and Cilium keep of a cluster's configuration in ConfigMaps: kubeadm-config holds a
// ClusterConfiguration as YAML text (v1beta3: extraArgs is an object, v1beta4: a list),
// cilium-config one text per option.
#include <charconv>

#include "core/yaml.h"
#include "ipamd/import/internal.h"

namespace tombolo::imports {
namespace {

constexpr std::string_view kMaskSize = "node-cidr-mask-size";

// The flags of the controller manager by name.
Result<std::map<std::string, std::string>> extra_arguments(const Cursor& arguments) {
  if (!arguments.is_array()) return arguments.string_map();
  std::map<std::string, std::string> flags;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    Cursor entry = arguments.at(i);
    TRY(name, entry["name"].string());
    TRY(value, entry["value"].string());
    flags[name] = std::move(value);
  }
  return flags;
}

int length_or_zero(const std::map<std::string, std::string>& flags, const std::string& name,
                   const Prefix& range) {
  auto flag = flags.find(name);
  if (flag == flags.end()) return 0;
  int length = 0;
  const std::string& text = flag->second;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  bool fits = error == std::errc() && end == text.data() + text.size() &&
              length >= range.length() && length < bits_of(range.family());
  return fits ? length : 0;
}

void add_pod_ranges(const std::vector<Prefix>& prefixes,
                    const std::map<std::string, std::string>& flags, ClusterFacts& facts) {
  for (const Prefix& prefix : prefixes) {
    const char* suffix = prefix.family() == Family::kV4 ? "-ipv4" : "-ipv6";
    int length = length_or_zero(flags, std::string(kMaskSize) + suffix, prefix);
    if (length == 0) length = length_or_zero(flags, std::string(kMaskSize), prefix);
    facts.ranges.push_back({BlockUse::kPod, prefix, length, "kubeadm-config"});
  }
}

}  // namespace

Result<void> read_kubeadm_config(const Cursor& data, std::string_view name, ClusterFacts& facts) {
  TRY(text, data["ClusterConfiguration"].string());
  TRY(documents, parse_yaml(text, fmt::format("{}: kubeadm-config", name)));
  if (documents.empty()) return data["ClusterConfiguration"].error("is empty");
  Cursor root = documents.front().root();
  TRY_OK(root.expect_object());
  TRY(cluster, root["clusterName"].string_or(""));
  // "kubernetes" is what kubeadm calls every cluster that nobody named.
  if (facts.name.empty() && cluster != "kubernetes") facts.name = cluster;
  Cursor manager = root["controllerManager"];
  TRY(flags, extra_arguments(manager["extraArgs"]));
  Cursor networking = root["networking"];
  if (!networking["podSubnet"].is_null()) {
    TRY(pods, prefixes_at(networking["podSubnet"]));
    add_pod_ranges(pods, flags, facts);
  }
  if (networking["serviceSubnet"].is_null()) return {};
  TRY(services, prefixes_at(networking["serviceSubnet"]));
  for (const Prefix& prefix : services)
    facts.ranges.push_back({BlockUse::kService, prefix, 0, "kubeadm-config"});
  return {};
}

Result<void> read_cilium_config(const Cursor& data, ClusterFacts& facts) {
  TRY(cluster, data["cluster-name"].string_or(""));
  // "default" is a cluster that is in no mesh.
  if (cluster != "default" && !cluster.empty()) facts.name = cluster;
  TRY(id, data["cluster-id"].string_or("0"));
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (error != std::errc() || end != id.data() + id.size() || number > 511)
    return data["cluster-id"].error(fmt::format("'{}' is no cluster id", id.substr(0, 64)));
  if (number != 0) facts.id = number;
  TRY(mode, data["ipam"].string_or(""));
  if (mode != "cluster-pool") return {};
  TRY(options, data.string_map());
  for (const char* family : {"ipv4", "ipv6"}) {
    std::string key = fmt::format("cluster-pool-{}-cidr", family);
    if (data[key].is_null()) continue;
    TRY(prefixes, prefixes_at(data[key]));
    for (const Prefix& prefix : prefixes)
      facts.ranges.push_back(
          {BlockUse::kPod, prefix,
           length_or_zero(options, fmt::format("cluster-pool-{}-mask-size", family), prefix),
           "cilium-config"});
  }
  return {};
}

}  // namespace tombolo::imports
