// Identities: a number of 24 bits, the cluster in its upper bits, for a set of labels (Cilium
// pkg/identity, pkg/clustermesh/types). Pure.
#include <algorithm>
#include <array>
#include <charconv>

#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

constexpr int kIdentityBits = 24;
constexpr std::string_view kSource = "k8s:";

// Labels that a rollout changes without the pods meaning anything else: they would make a new
// identity of every new ReplicaSet.
constexpr std::array<std::string_view, 3> kRolloutLabels{
    "pod-template-hash", "controller-revision-hash", "pod-template-generation"};

// "k8s:app" -> "app"; other sources stay in the key.
std::string_view bare_key(std::string_view key) {
  std::size_t colon = key.find(':');
  return colon == std::string_view::npos ? key : key.substr(colon + 1);
}

}  // namespace

std::uint32_t first_identity(std::uint32_t cluster_id, int cluster_bits) {
  return cluster_id << (kIdentityBits - cluster_bits);
}

std::uint32_t last_identity(std::uint32_t cluster_id, int cluster_bits) {
  return ((cluster_id + 1) << (kIdentityBits - cluster_bits)) - 1;
}

std::string encode_labels(const StringMap& labels) {
  std::vector<std::pair<std::string_view, std::string_view>> sorted(labels.begin(), labels.end());
  std::ranges::sort(
      sorted, [](const auto& a, const auto& b) { return bare_key(a.first) < bare_key(b.first); });
  std::string text;
  for (const auto& [key, value] : sorted) {
    if (key.find(':') == std::string_view::npos) text += kSource;
    text += fmt::format("{}={};", key, value);
  }
  return text;
}

Result<StringMap> decode_labels(std::string_view key, std::string_view value) {
  StringMap labels;
  std::string_view rest = value;
  while (!rest.empty()) {
    std::size_t end = rest.find(';');
    if (end == std::string_view::npos)
      return fail(Code::kInvalidArgument, "{}: '{}' is not ended by ';'", key, rest.substr(0, 80));
    std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    std::size_t equals = pair.find('=');
    std::size_t colon = pair.find(':');
    if (equals == std::string_view::npos || colon == std::string_view::npos || colon > equals ||
        colon == 0 || colon + 1 == equals)
      return fail(Code::kInvalidArgument, "{}: '{}' is not SOURCE:KEY=VALUE", key,
                  pair.substr(0, 80));
    std::string_view name = pair.substr(0, equals);
    if (name.starts_with(kSource)) {
      name.remove_prefix(kSource.size());
      // It would pass for a label of another source; Kubernetes has none such.
      if (name.find(':') != std::string_view::npos)
        return fail(Code::kInvalidArgument, "{}: '{}' is no key of a Kubernetes label", key,
                    name.substr(0, 80));
    }
    if (!labels.emplace(name, pair.substr(equals + 1)).second)
      return fail(Code::kInvalidArgument, "{}: '{}' stands twice", key, name.substr(0, 80));
  }
  if (labels.empty()) return fail(Code::kInvalidArgument, "{}: no labels", key);
  return labels;
}

Result<StringMap> decode_identity(std::string_view key, std::string_view name,
                                  std::string_view value, const Origin& origin) {
  std::uint32_t number = 0;
  auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || stop != name.data() + name.size() || fmt::to_string(number) != name)
    return fail(Code::kInvalidArgument, "{}: '{}' is not a number", key, name.substr(0, 80));
  auto low = first_identity(origin.id, origin.cluster_bits);
  auto high = last_identity(origin.id, origin.cluster_bits);
  bool foreign = origin.id == 0 ? number <= last_identity(0, origin.cluster_bits)
                                : number < low || number > high;
  if (foreign && origin.id == 0)
    return fail(Code::kInvalidArgument, "{}: {} is no cluster's identity", key, number);
  if (foreign)
    return fail(Code::kInvalidArgument,
                "{}: {} is not an identity of cluster {}, which has {} to {}", key, number,
                origin.cluster, low, high);
  TRY(labels, decode_labels(key, value));
  auto cluster = labels.find(std::string(kClusterLabel));
  if (cluster == labels.end() || cluster->second != origin.cluster)
    return fail(Code::kInvalidArgument, "{}: the label {} must be '{}'", key, kClusterLabel,
                origin.cluster);
  return labels;
}

StringMap identity_labels(const Workload& workload, const StringMap& namespace_labels,
                          std::string_view cluster) {
  StringMap labels;
  for (const auto& [key, value] : workload.labels) {
    bool reserved = key.starts_with("io.cilium.k8s.") || key == kNamespaceLabel;
    if (!reserved && std::ranges::find(kRolloutLabels, key) == kRolloutLabels.end())
      labels.emplace(key, value);
  }
  for (const auto& [key, value] : namespace_labels)
    labels.emplace(fmt::format("{}{}", kNamespaceLabelsPrefix, key), value);
  labels.emplace(kClusterLabel, cluster);
  labels.emplace(kAccountLabel, workload.service_account);
  labels.emplace(kNamespaceLabel, workload.name_space);
  return labels;
}

}  // namespace tombolo::cilium
