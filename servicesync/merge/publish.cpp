// What this cluster tells the others of a service that it exports.
#include "servicesync/merge/internal.h"

namespace tombolo::merge {
namespace {

bool travels(std::string_view key) {
  return key.starts_with("service.cilium.io/") || key.starts_with("io.cilium/") ||
         key.starts_with("tombolo.io/");
}

}  // namespace

std::optional<cilium::ClusterService> publish(const State& state) {
  if (!state.output.explanation.exported) return std::nullopt;
  const Service& service = *state.input.service;
  cilium::ClusterService record;
  record.cluster = state.input.cluster;
  record.cluster_id = state.input.cluster_id;
  record.name_space = service.name_space;
  record.name = service.name;
  for (const Ip& ip : service.cluster_ips)
    for (const ServicePort& port : service.ports)
      record.frontends[ip][port.name] = {port.protocol, port.port};
  record.labels = service.labels;
  record.selector = service.selector;
  record.include_external = true;
  record.shared = true;
  cilium::ServiceExtras& extras = record.extras.emplace();
  extras.created_unix_s = service.created_unix_s;
  extras.headless = service.headless;
  extras.clusterset_ips = state.input.clusterset_ips;
  for (const auto& [key, value] : service.annotations)
    if (travels(key)) extras.annotations.emplace(key, value);
  std::vector<Backend> own;
  // Affinity is each cluster's own business: what it keeps out here may be used elsewhere.
  for (const Candidate& candidate : state.output.explanation.candidates)
    if (candidate.used && candidate.backend.cluster == state.input.cluster)
      own.push_back(candidate.backend);
  cilium::set_backends(record, own);
  return record;
}

std::optional<cilium::ServiceExport> publish_export(const State& state) {
  if (!state.output.explanation.exported) return std::nullopt;
  const Service& service = *state.input.service;
  cilium::ServiceExport record;
  record.cluster = state.input.cluster;
  record.name_space = service.name_space;
  record.name = service.name;
  record.created_unix_s = service.created_unix_s;
  record.headless = service.headless;
  for (const ServicePort& port : service.ports)
    record.ports.push_back({port.name, port.protocol, port.port});
  return record;
}

}  // namespace tombolo::merge
