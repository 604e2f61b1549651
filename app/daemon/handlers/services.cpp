// The merge's explanation as messages.
#include "app/daemon/handlers/services.h"

#include <set>

#include "ipamd/announce/announce.h"
#include "servicesync/controller/controller_sync.h"

namespace tombolo {
namespace {

namespace api = admin::api;
using controller::ControllerSync;

std::string_view text_of(BackendState state) {
  switch (state) {
    case BackendState::kActive:
      return "active";
    case BackendState::kTerminating:
      return "terminating";
    case BackendState::kQuarantined:
      return "quarantined";
  }
  return "?";
}

std::string_view text_of(ServiceType type) {
  switch (type) {
    case ServiceType::kClusterIp:
      return "ClusterIP";
    case ServiceType::kNodePort:
      return "NodePort";
    case ServiceType::kLoadBalancer:
      return "LoadBalancer";
    case ServiceType::kExternalName:
      return "ExternalName";
  }
  return "?";
}

// kubectl's EXTERNAL-IP.
void add_external(api::Service& message, const Frontend& frontend, const Service* own) {
  for (const Ip& ip : frontend.load_balancer_ips) message.add_external_ips(ip.str());
  if (own == nullptr) return;
  if (own->type == ServiceType::kExternalName) message.add_external_ips(own->external_name);
  if (own->type == ServiceType::kLoadBalancer && frontend.load_balancer_ips.empty())
    message.add_external_ips("<pending>");
}

// Where traffic from outside may enter, and by whom the addresses are announced.
void add_entries(api::Service& message, const DaemonView& view, const Frontend& frontend) {
  if (frontend.load_balancer_ips.empty()) return;
  message.set_external_local(frontend.external_traffic_local);
  std::set<std::string> nodes;
  for (const Backend& backend : frontend.backends)
    if (frontend.external_traffic_local && backend.state == BackendState::kActive &&
        backend.weight > 0 && backend.cluster == view.config->cluster().name())
      nodes.insert(backend.node);
  for (const std::string& node : nodes) message.add_external_nodes(node);
  for (const Ip& ip : frontend.load_balancer_ips) {
    const announce::Announcement* record =
        view.announcements == nullptr ? nullptr : view.announcements->find(ip.str());
    if (record != nullptr)
      message.add_announced_by(
          fmt::format("{} by {} since {}", ip.str(), record->node,
                      format_rfc3339(WallTime(std::chrono::seconds(record->since_unix_s)))));
  }
}

api::Service service_message(const DaemonView& view, const Frontend& frontend,
                             const merge::Explanation& explanation) {
  api::Service message;
  message.set_name_space(frontend.name_space);
  message.set_name(frontend.name);
  const Service* own = view.controller->services.find(frontend.key());
  message.set_type(std::string(
      frontend.headless ? "Headless"
                        : text_of(own != nullptr ? own->type : ServiceType::kClusterIp)));
  for (const Ip& ip : frontend.cluster_ips) message.add_cluster_ips(ip.str());
  for (const Ip& ip : frontend.clusterset_ips) message.add_clusterset_ips(ip.str());
  add_external(message, frontend, own);
  add_entries(message, view, frontend);
  for (const FrontendPort& port : frontend.ports)
    message.add_ports(fmt::format("{}{}{}/{}", port.name, port.name.empty() ? "" : " ", port.port,
                                  to_string(port.protocol)));
  message.set_local(explanation.local);
  message.set_imported(explanation.imported);
  message.set_global(explanation.intent.global);
  message.set_shared(explanation.intent.shared);
  message.set_affinity(std::string(merge::to_string(explanation.intent.affinity)));
  std::set<std::string> clusters;
  for (const Backend& backend : frontend.backends) clusters.insert(backend.cluster);
  for (const std::string& cluster : clusters) message.add_clusters(cluster);
  message.set_backends_used(static_cast<std::uint32_t>(frontend.backends.size()));
  message.set_backends_known(static_cast<std::uint32_t>(explanation.candidates.size()));
  return message;
}

void fill(api::ExplainServiceResponse& response, const merge::Explanation& explanation) {
  for (const merge::Candidate& candidate : explanation.candidates) {
    auto* row = response.add_backends();
    row->set_address(Endpoint{candidate.backend.ip, candidate.backend.port}.str());
    row->set_protocol(std::string(to_string(candidate.backend.protocol)));
    row->set_port_name(candidate.backend.port_name);
    row->set_cluster(candidate.backend.cluster);
    row->set_node(candidate.backend.node);
    row->set_pod(candidate.backend.pod_name);
    row->set_state(std::string(text_of(candidate.backend.state)));
    row->set_weight(candidate.backend.weight);
    row->set_used(candidate.used);
    row->set_reason(candidate.reason);
  }
  for (const merge::Decision& decision : explanation.decisions) {
    auto* row = response.add_settings();
    row->set_name(decision.property);
    row->set_value(decision.value);
    row->set_cluster(decision.winner);
    std::string said;
    for (const auto& [cluster, value] : decision.said)
      said += fmt::format("{}{} says {}", said.empty() ? "" : ", ", cluster, value);
    row->set_reason(said.empty() ? decision.rule : fmt::format("{}: {}", decision.rule, said));
  }
  for (const merge::AddressOrigin& address : explanation.addresses)
    response.add_notes(
        fmt::format("{} address {}: {}", address.kind, address.ip.str(), address.origin));
  for (const std::string& warning : explanation.warnings) response.add_notes(warning);
}

class Services final : public admin::ServiceHandlers {
 public:
  Services(DaemonView view, ControllerSync& sync) : view_(std::move(view)), sync_(sync) {}

  admin::Answer<api::ListServicesResponse> list(api::ListServicesRequest request,
                                                admin::Caller) override {
    api::ListServicesResponse response;
    for (const auto& [key, versioned] : view_.controller->frontends.rows()) {
      const Frontend& frontend = versioned.row;
      if (!request.name_space().empty() && request.name_space() != frontend.name_space) continue;
      if (auto explanation = sync_.explain(frontend.name_space, frontend.name))
        *response.add_services() = service_message(view_, frontend, *explanation);
    }
    co_return response;
  }

  admin::Answer<api::ExplainServiceResponse> explain(api::ExplainServiceRequest request,
                                                     admin::Caller) override {
    co_return explain_now(request.name_space(), request.name());
  }

  admin::Answer<api::ImportServiceResponse> import_service(api::ImportServiceRequest request,
                                                           admin::Caller) override {
    api::ImportServiceResponse response;
    if (request.remove()) {
      CO_TRY_OK(co_await sync_.remove_import(request.name_space(), request.name()));
      co_return response;
    }
    CO_TRY_OK(co_await sync_.import_service(request.name_space(), request.name()));
    response.mutable_service()->set_name_space(request.name_space());
    response.mutable_service()->set_name(request.name());
    response.mutable_service()->set_imported(true);
    co_return response;
  }

 private:
  Result<api::ExplainServiceResponse> explain_now(const std::string& name_space,
                                                  const std::string& name) const {
    TRY(explanation, sync_.explain(name_space, name));
    api::ExplainServiceResponse response;
    Frontend unused;  // a service that nobody can use yet is explained too
    unused.name_space = name_space;
    unused.name = name;
    const Frontend* frontend = view_.controller->frontends.find(object_key(name_space, name));
    *response.mutable_service() =
        service_message(view_, frontend != nullptr ? *frontend : unused, explanation);
    fill(response, explanation);
    return response;
  }

  DaemonView view_;
  ControllerSync& sync_;
};

class Endpoints final : public admin::EndpointHandlers {
 public:
  explicit Endpoints(DaemonView view) : view_(std::move(view)) {}

  admin::Answer<api::ListEndpointsResponse> list(api::ListEndpointsRequest request,
                                                 admin::Caller) override {
    api::ListEndpointsResponse response;
    const std::string& self = view_.config->cluster().name();
    std::map<Ip, std::set<std::string>> services = services_by_backend();
    if (request.cluster().empty() || request.cluster() == self)
      for (const auto& [key, versioned] : view_.controller->workloads.rows())
        add_workload(versioned.row, self, services, request, response);
    add_remote(self, request, response);
    co_return response;
  }

 private:
  std::map<Ip, std::set<std::string>> services_by_backend() const {
    std::map<Ip, std::set<std::string>> services;
    for (const auto& [key, versioned] : view_.controller->frontends.rows())
      for (const Backend& backend : versioned.row.backends) services[backend.ip].insert(key);
    return services;
  }
  static void add_workload(const Workload& workload, const std::string& cluster,
                           const std::map<Ip, std::set<std::string>>& services,
                           const api::ListEndpointsRequest& request,
                           api::ListEndpointsResponse& response) {
    if (!request.name_space().empty() && request.name_space() != workload.name_space) return;
    api::Endpoint row;
    row.set_name_space(workload.name_space);
    row.set_pod(workload.name);
    row.set_cluster(cluster);
    row.set_node(workload.node);
    row.set_identity(workload.identity);
    row.set_state(workload.terminating ? "terminating" : workload.ready ? "ready" : "not ready");
    std::set<std::string> names;
    for (const Ip& ip : workload.ips) {
      row.add_ips(ip.str());
      if (auto at = services.find(ip); at != services.end())
        names.insert(at->second.begin(), at->second.end());
    }
    if (!request.service().empty() && !names.contains(request.service())) return;
    for (const std::string& name : names) row.add_services(name);
    *response.add_endpoints() = std::move(row);
  }
  // Of other clusters only what services make known.
  void add_remote(const std::string& self, const api::ListEndpointsRequest& request,
                  api::ListEndpointsResponse& response) const {
    for (const auto& [key, versioned] : view_.controller->frontends.rows()) {
      if (!request.service().empty() && request.service() != key) continue;
      if (!request.name_space().empty() && request.name_space() != versioned.row.name_space)
        continue;
      for (const Backend& backend : versioned.row.backends) {
        if (backend.cluster == self) continue;
        if (!request.cluster().empty() && request.cluster() != backend.cluster) continue;
        auto* row = response.add_endpoints();
        row->set_name_space(versioned.row.name_space);
        row->set_pod(backend.pod_name);
        row->set_cluster(backend.cluster);
        row->set_node(backend.node);
        row->add_ips(backend.ip.str());
        row->set_state(
            backend.state == BackendState::kActive ? "ready" : std::string(text_of(backend.state)));
        row->add_services(key);
      }
    }
  }

  DaemonView view_;
};

}  // namespace

std::unique_ptr<admin::ServiceHandlers> make_service_handlers(const DaemonView& view,
                                                              ControllerSync& sync) {
  return std::make_unique<Services>(view, sync);
}
std::unique_ptr<admin::EndpointHandlers> make_endpoint_handlers(const DaemonView& view) {
  return std::make_unique<Endpoints>(view);
}

}  // namespace tombolo
