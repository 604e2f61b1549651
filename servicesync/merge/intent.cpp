// Annotations -> intent (Cilium pkg/annotation: two spellings, the new one first), and the affinity
// rule (Cilium pkg/loadbalancer selectbackends).
#include <algorithm>
#include <charconv>

#include "servicesync/merge/internal.h"

namespace tombolo::merge {
namespace {

constexpr std::string_view kNamespaceGlobal = "clustermesh.cilium.io/global";
constexpr std::string_view kImport = "tombolo.io/import";
constexpr std::string_view kOnLoss = "tombolo.io/on-loss";
constexpr std::string_view kWeight = "service.cilium.io/weight";

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return text;
}

std::string_view trim(std::string_view text) {
  auto first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

}  // namespace

std::string_view to_string(Affinity affinity) {
  switch (affinity) {
    case Affinity::kNone:
      return "none";
    case Affinity::kLocal:
      return "local";
    case Affinity::kRemote:
      return "remote";
  }
  return "?";
}

const std::string* find_annotation(const StringMap& annotations, std::string_view key,
                                   std::string_view older) {
  if (auto at = annotations.find(std::string(key)); at != annotations.end()) return &at->second;
  if (older.empty()) return nullptr;
  auto at = annotations.find(std::string(older));
  return at == annotations.end() ? nullptr : &at->second;
}

bool is_true(std::string_view text) {
  return lower(std::string(text)) == "true";
}

Intent read_intent(const StringMap& annotations) {
  Intent intent;
  const std::string* global =
      find_annotation(annotations, "service.cilium.io/global", "io.cilium/global-service");
  const std::string* selection = find_annotation(annotations, "service.cilium.io/lb-algorithm", "");
  if (selection != nullptr && *selection == "maglev")
    intent.selection = Selection::kMaglev;
  else if (selection != nullptr && *selection != "random")
    intent.warnings.push_back(
        fmt::format("service.cilium.io/lb-algorithm: '{}' is neither random nor maglev; random is "
                    "used",
                    selection->substr(0, 80)));
  intent.global = global != nullptr && is_true(*global);
  // Everything below means nothing for a service that is not global.
  if (!intent.global) return intent;
  const std::string* shared =
      find_annotation(annotations, "service.cilium.io/shared", "io.cilium/shared-service");
  intent.shared = shared == nullptr || is_true(*shared);
  const std::string* affinity =
      find_annotation(annotations, "service.cilium.io/affinity", "io.cilium/service-affinity");
  if (affinity == nullptr || affinity->empty() || *affinity == "none") return intent;
  if (*affinity == "local")
    intent.affinity = Affinity::kLocal;
  else if (*affinity == "remote")
    intent.affinity = Affinity::kRemote;
  else
    intent.warnings.push_back(
        fmt::format("service affinity '{}' is none of local, remote, none; none is used",
                    affinity->substr(0, 80)));
  return intent;
}

bool namespace_is_global(const StringMap& annotations, bool otherwise) {
  const std::string* global = find_annotation(annotations, kNamespaceGlobal, "");
  return global == nullptr ? otherwise : is_true(*global);
}

std::set<std::string> imports_of(const StringMap& namespace_annotations) {
  std::set<std::string> names;
  const std::string* list = find_annotation(namespace_annotations, kImport, "");
  if (list == nullptr) return names;
  std::string_view rest = *list;
  while (true) {
    std::size_t comma = rest.find(',');
    std::string_view name = trim(rest.substr(0, comma));
    if (!name.empty()) names.emplace(name);
    if (comma == std::string_view::npos) return names;
    rest.remove_prefix(comma + 1);
  }
}

std::optional<bool> keeps_lost(const StringMap& annotations) {
  const std::string* text = find_annotation(annotations, kOnLoss, "");
  if (text == nullptr) return std::nullopt;
  return lower(*text) == "keep";
}

std::uint16_t read_weight(const EndpointSlice& slice, std::vector<std::string>& warnings) {
  const std::string* text = find_annotation(slice.annotations, kWeight, "");
  if (text == nullptr) return Backend{}.weight;
  std::uint16_t weight = 0;
  auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), weight);
  if (error == std::errc{} && stop == text->data() + text->size()) return weight;
  warnings.push_back(
      fmt::format("EndpointSlice {}: {}: '{}' is not a number from 0 to 65535; {} is "
                  "used",
                  slice.key(), kWeight, text->substr(0, 80), Backend{}.weight));
  return Backend{}.weight;
}

Use select_by_affinity(Affinity affinity, HealthCounts counts) {
  switch (affinity) {
    case Affinity::kLocal:
      return {true, counts.local_active == 0 && counts.remote_healthy > 0};
    case Affinity::kRemote:
      return {counts.remote_healthy == 0 && counts.local_healthy > 0, true};
    case Affinity::kNone:
      break;
  }
  return {true, true};
}

std::optional<Prefix> clusterset_slice(const Prefix& range, std::uint32_t cluster_id,
                                       int cluster_bits) {
  // Two bits at least: a slice's first and last address are not used.
  if (range.host_bits() < cluster_bits + 2 || cluster_id >> cluster_bits != 0) return std::nullopt;
  int length = range.length() + cluster_bits;
  uint128 offset = uint128{cluster_id} << (bits_of(range.family()) - length);
  return Prefix(range.at(offset), length);
}

}  // namespace tombolo::merge
