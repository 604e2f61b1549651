// The order of the steps.
#include "servicesync/merge/merge.h"

#include <algorithm>

#include "servicesync/merge/internal.h"

namespace tombolo::merge {
namespace {

// Ports of an import: the union over the exporting clusters, the oldest first; a name, or a
// protocol and number, that an older cluster has is not taken again (KEP-1645, port merge).
std::vector<FrontendPort> united_ports(const std::vector<View>& views) {
  std::vector<FrontendPort> ports;
  for (const View& view : views) {
    if (!view.exports) continue;
    for (const FrontendPort& port : view.ports) {
      bool taken = std::ranges::any_of(ports, [&](const FrontendPort& other) {
        return other.name == port.name ||
               (other.protocol == port.protocol && other.port == port.port);
      });
      if (!taken) ports.push_back(port);
    }
  }
  return ports;
}

void find_import(State& state) {
  const Input& input = state.input;
  Explanation& explanation = state.output.explanation;
  if (input.imported_by.empty()) return;
  if (input.service != nullptr) {
    if (!explanation.intent.global)
      explanation.warnings.push_back(
          fmt::format("imported by {}, but {} has a service of this name: mark it global instead",
                      input.imported_by, input.cluster));
    return;
  }
  if (!explanation.namespace_global) {
    explanation.warnings.push_back(fmt::format(
        "imported by {}, but the namespace is not global in {}", input.imported_by, input.cluster));
    return;
  }
  bool offered = std::ranges::any_of(input.remotes, [](const Remote& remote) {
    return remote.service->include_external && remote.service->shared;
  });
  if (!offered) {
    explanation.warnings.push_back(
        fmt::format("imported by {}, but no cluster exports it", input.imported_by));
    return;
  }
  explanation.imported = true;
}

}  // namespace

Output merge(const Input& input) {
  State state{input, {}, false, false, {}, {}};
  Explanation& explanation = state.output.explanation;
  explanation.key = object_key(input.name_space, input.name);
  static const StringMap kNone;
  explanation.namespace_global = namespace_is_global(
      input.name_space_row == nullptr ? kNone : input.name_space_row->annotations,
      input.namespaces_global);
  const Service* service = input.service;
  explanation.local = service != nullptr;
  if (service != nullptr) explanation.intent = read_intent(service->annotations);
  explanation.warnings = explanation.intent.warnings;
  bool nameable = service != nullptr && service->type != ServiceType::kExternalName;
  bool global = nameable && explanation.intent.global && explanation.namespace_global;
  explanation.exported = global && explanation.intent.shared;
  if (service != nullptr && !nameable && explanation.intent.global)
    explanation.warnings.push_back("an ExternalName service cannot be global");
  find_import(state);
  state.sees_remotes = global || explanation.imported;
  state.views = collect_views(input, explanation.intent, explanation.exported);
  if (service != nullptr) {
    for (const ServicePort& port : service->ports)
      state.ports.push_back({port.name, port.protocol, port.port});
  } else {
    state.ports = united_ports(state.views);
  }
  collect_candidates(state);
  state.output.published = publish(state);
  state.output.service_export = publish_export(state);
  apply_affinity(state);
  decide(state);
  return std::move(state.output);
}

}  // namespace tombolo::merge
