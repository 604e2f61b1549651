// Grants are signed with the authority that the configuration names; joining is FleetMembers' work.
#include "app/daemon/handlers/clusters.h"

#include "app/daemon/handlers/messages.h"
#include "core/yaml.h"

namespace tombolo {
namespace {

namespace api = admin::api;

class Clusters final : public admin::ClusterHandlers {
 public:
  Clusters(DaemonView view, FleetMembers& members) : view_(std::move(view)), members_(members) {}

  admin::Answer<api::ListClustersResponse> list(api::ListClustersRequest, admin::Caller) override {
    api::ListClustersResponse response;
    const auto& config = *view_.config;
    auto* self = response.add_clusters();
    self->set_name(config.cluster().name());
    self->set_id(config.cluster().id());
    self->set_state(api::CLUSTER_STATE_SELF);
    self->set_standing("self");
    self->set_nodes(view_.controller->nodes.size());
    self->set_services(view_.controller->services.size());
    if (!advertised().empty()) self->set_address(advertised().front());
    fill_clusters(view_, response.mutable_clusters());
    for (auto& cluster : *response.mutable_clusters()) {
      auto member = members_.members().find(cluster.name());
      if (member != members_.members().end() && !member->second.addresses.empty())
        cluster.set_address(member->second.addresses.front());
      if (cluster.state() != api::CLUSTER_STATE_SELF) count_backends(cluster);
    }
    co_return response;
  }

  admin::Answer<api::GrantClusterResponse> grant(api::GrantClusterRequest request,
                                                 admin::Caller) override {
    const auto& signing = view_.config->controller().signing();
    if (signing.certificate().empty())
      co_return fail(Code::kFailedPrecondition,
                     "this controller has no authority to sign with (controller.signing in its "
                     "configuration)");
    CO_TRY(certificate, read_file(signing.certificate()));
    CO_TRY(key, read_file(signing.key()));
    pki::Grant wanted;
    wanted.fleet = view_.config->cluster().fleet();
    wanted.cluster = view_.config->cluster().name();
    wanted.cluster_id = view_.config->cluster().id();
    wanted.granted_to = request.cluster();
    wanted.addresses.assign(request.addresses().begin(), request.addresses().end());
    if (wanted.addresses.empty()) wanted.addresses = advertised();
    pki::KeyPair authority{std::move(certificate), std::move(key)};
    pki::Lifetime lifetime{view_.clock->wall_now(), request.valid_days() == 0
                                                        ? 365
                                                        : static_cast<int>(request.valid_days())};
    CO_TRY(made, pki::make_grant(std::move(wanted), authority, lifetime));
    CO_TRY(read, pki::read_certificate(made.client.certificate));
    api::GrantClusterResponse response;
    response.set_bundle(pki::to_text(made));
    *response.mutable_not_after() = timestamp_of(read.not_after);
    co_return response;
  }

  admin::Answer<api::JoinClusterResponse> join(api::JoinClusterRequest request,
                                               admin::Caller) override {
    CO_TRY(member, co_await members_.join(request.bundle(), request.replace()));
    api::JoinClusterResponse response;
    auto* cluster = response.mutable_cluster();
    cluster->set_name(member.name);
    cluster->set_id(member.id);
    cluster->set_state(api::CLUSTER_STATE_CONNECTING);
    if (!member.addresses.empty()) cluster->set_address(member.addresses.front());
    co_return response;
  }

  admin::Answer<api::LeaveClusterResponse> leave(api::LeaveClusterRequest request,
                                                 admin::Caller) override {
    CO_TRY_OK(co_await members_.leave(request.cluster()));
    co_return api::LeaveClusterResponse();
  }

 private:
  std::vector<std::string> advertised() const {
    const auto& store = view_.config->store();
    const auto& wanted = store.embedded().advertise().empty() ? store.embedded().listen()
                                                              : store.embedded().advertise();
    if (!store.endpoints().empty()) return {store.endpoints().begin(), store.endpoints().end()};
    return {wanted.begin(), wanted.end()};
  }
  void count_backends(api::Cluster& cluster) const {
    std::uint64_t services = 0;
    std::uint64_t endpoints = 0;
    for (const auto& [key, versioned] : view_.controller->frontends.rows()) {
      std::uint64_t here = 0;
      for (const Backend& backend : versioned.row.backends)
        here += backend.cluster == cluster.name() ? 1U : 0U;
      services += here > 0 ? 1U : 0U;
      endpoints += here;
    }
    cluster.set_services(services);
    cluster.set_endpoints(endpoints);
  }

  DaemonView view_;
  FleetMembers& members_;
};

}  // namespace

std::unique_ptr<admin::ClusterHandlers> make_cluster_handlers(const DaemonView& view,
                                                              FleetMembers& members) {
  return std::make_unique<Clusters>(view, members);
}

}  // namespace tombolo
