// Addresses, and who wins where clusters differ.
#include <algorithm>

#include "servicesync/merge/internal.h"

namespace tombolo::merge {
namespace {

constexpr std::string_view kLocalRule = "this cluster's own setting decides here";
constexpr std::string_view kOldestRule = "the oldest export decides, then the lowest cluster id";

std::string text_of(const std::vector<FrontendPort>& ports) {
  std::vector<FrontendPort> sorted = ports;
  std::ranges::sort(sorted);
  std::string text;
  for (const FrontendPort& port : sorted)
    text += fmt::format("{}{}{}{}/{}", text.empty() ? "" : ", ", port.name,
                        port.name.empty() ? "" : ":", tombolo::to_string(port.protocol), port.port);
  return text.empty() ? "none" : text;
}

std::string_view text_of(bool value) {
  return value ? "true" : "false";
}

// Adds a decision when the clusters that say something differ. The local cluster decides when it
// has the service, else the oldest that says something.
template <class Said>
void compare(State& state, std::string_view property, Said said) {
  Decision decision;
  decision.property = property;
  const View* winner = nullptr;
  bool differ = false;
  for (const View& view : state.views) {
    std::optional<std::string> value = said(view);
    if (!value) continue;
    differ = differ || (!decision.said.empty() && decision.said.front().second != *value);
    decision.said.emplace_back(view.cluster, *value);
    if (winner == nullptr || view.local) winner = &view;
  }
  if (!differ) return;
  decision.winner = winner->cluster;
  decision.value = *said(*winner);
  decision.rule = winner->local ? kLocalRule : kOldestRule;
  state.output.explanation.decisions.push_back(std::move(decision));
}

void compare_all(State& state) {
  using Text = std::optional<std::string>;
  compare(state, "type",
          [](const View& view) -> Text { return view.headless ? "Headless" : "ClusterSetIP"; });
  compare(state, "ports", [](const View& view) -> Text { return text_of(view.ports); });
  compare(state, "global", [](const View& view) -> Text {
    if (!view.intent_known) return std::nullopt;
    return std::string(text_of(view.intent.global));
  });
  compare(state, "shared", [](const View& view) -> Text {
    if (!view.intent_known) return std::nullopt;
    return std::string(text_of(view.intent.shared));
  });
  compare(state, "affinity", [](const View& view) -> Text {
    if (!view.intent_known) return std::nullopt;
    return std::string(to_string(view.intent.affinity));
  });
  compare(state, "lb-algorithm", [](const View& view) -> Text {
    if (!view.intent_known) return std::nullopt;
    return view.intent.selection == Selection::kMaglev ? "maglev" : "random";
  });
}

// A cluster's candidate counts only when it lies in that cluster's own slice of the fleet's range:
// so no cluster can claim another's addresses.
bool in_own_slice(const State& state, const View& view, const Ip& ip) {
  return std::ranges::any_of(state.input.clusterset_ranges, [&](const Prefix& range) {
    auto slice = clusterset_slice(range, view.cluster_id, state.input.cluster_bits);
    return slice && slice->contains(ip);
  });
}

// One address per family: the oldest export's that has a valid one.
void choose_clusterset_ips(State& state, Frontend& frontend, const std::vector<Family>& families) {
  Explanation& explanation = state.output.explanation;
  std::map<Family, std::pair<Ip, std::string>> chosen;
  for (const View& view : state.views) {
    if (!view.exports) continue;
    for (const Ip& ip : view.clusterset_ips) {
      if (!in_own_slice(state, view, ip))
        explanation.warnings.push_back(
            fmt::format("clusterset address {} of {} is not from that cluster's slice: ignored",
                        ip.str(), view.cluster));
      else
        chosen.try_emplace(ip.family(), ip, view.cluster);
    }
  }
  for (Family family : families) {
    auto at = chosen.find(family);
    if (at == chosen.end()) continue;
    const auto& [ip, cluster] = at->second;
    frontend.clusterset_ips.push_back(ip);
    explanation.addresses.push_back(
        {ip, "clusterset", fmt::format("allocated by {}, the oldest export with one", cluster)});
  }
}

// Those of this cluster alone.
void choose_cluster_ips(State& state, Frontend& frontend) {
  bool local = state.input.service != nullptr;
  frontend.cluster_ips = local ? state.input.service->cluster_ips : state.input.import_ips;
  for (const Ip& ip : frontend.cluster_ips)
    state.output.explanation.addresses.push_back(
        {ip, "cluster",
         local ? fmt::format("of the service in {}", state.input.cluster)
               : fmt::format("allocated in {} for the import", state.input.cluster)});
  if (!local) return;
  const Service& service = *state.input.service;
  frontend.load_balancer_ips = service.load_balancer_ips;
  frontend.source_ranges = service.source_ranges;
  frontend.external_traffic_local = service.external_traffic_local;
  for (const Ip& ip : frontend.load_balancer_ips)
    state.output.explanation.addresses.push_back(
        {ip, "load balancer", fmt::format("of the service in {}", state.input.cluster)});
}

// The oldest view that exports; the views are sorted.
const View* oldest_export(const State& state) {
  auto at = std::ranges::find_if(state.views, [](const View& view) { return view.exports; });
  return at == state.views.end() ? nullptr : &*at;
}

}  // namespace

void decide(State& state) {
  Output& output = state.output;
  Explanation& explanation = output.explanation;
  for (const View& view : state.views)
    if (view.exports) explanation.exporters.push_back(view.cluster);
  if (state.sees_remotes) compare_all(state);
  const View* oldest = oldest_export(state);
  if (!explanation.local && !explanation.imported) return;
  Frontend frontend;
  frontend.name_space = state.input.name_space;
  frontend.name = state.input.name;
  frontend.local = true;
  frontend.exported = state.sees_remotes && oldest != nullptr;
  frontend.ports = state.ports;
  std::vector<Family> families;
  if (explanation.local) {
    const Service& service = *state.input.service;
    frontend.headless = service.headless;
    frontend.external_name = service.external_name;
    frontend.selection = explanation.intent.selection;
    families = service.families;
    if (explanation.exported && !service.headless) output.wants.clusterset_families = families;
  } else {
    frontend.headless = oldest->headless;
    frontend.selection = oldest->intent.selection;
    families = oldest->families;
    if (!oldest->headless) output.wants.import_families = families;
  }
  choose_cluster_ips(state, frontend);
  if (frontend.exported && !frontend.headless) choose_clusterset_ips(state, frontend, families);
  for (const Candidate& candidate : explanation.candidates)
    if (candidate.used) frontend.backends.push_back(candidate.backend);
  std::ranges::sort(frontend.backends);
  output.frontend = std::move(frontend);
}

}  // namespace tombolo::merge
