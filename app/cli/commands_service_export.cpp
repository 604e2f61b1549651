// service export: load balancer addresses as host routes for a router of the operator's own.
#include <algorithm>

#include "app/cli/commands.h"
#include "ipamd/export/export.h"

namespace tombolo::cli {
namespace {

struct ServiceExport {
  std::string format;
  std::string node;
};

// With externalTrafficPolicy Local a node without a backend would refuse what it receives.
bool may_receive(const api::Service& service, const std::string& node) {
  if (node.empty() || !service.external_local()) return true;
  return std::ranges::find(service.external_nodes(), node) != service.external_nodes().end();
}

Result<void> run_export(Session& session, const ServiceExport& options) {
  TRY(status, session.call<api::StatusApi>(&api::StatusApi::Stub::Get, api::GetStatusRequest()));
  TRY(response,
      session.call<api::ServiceApi>(&api::ServiceApi::Stub::List, api::ListServicesRequest()));
  HostRoutes routes;
  routes.cluster = status.cluster();
  routes.node = options.node;
  for (const api::Service& service : response.services()) {
    if (service.type() != "LoadBalancer" || !may_receive(service, options.node)) continue;
    for (const std::string& text : service.external_ips())
      if (auto ip = Ip::parse(text)) routes.ips.push_back(*ip);  // else "<pending>"
  }
  TRY(text, export_host_routes(options.format, routes));
  return Session::write(text);
}

}  // namespace

void add_service_export(CLI::App* service, Session& session) {
  auto options = std::make_shared<ServiceExport>();
  CLI::App* command = add_command(
      service, "export", "Write load balancer addresses as host routes, to be announced by BGP",
      "tombolo service export --format bird --node east-1 > /etc/bird/load-balancers.conf");
  command
      ->add_option("--format", options->format,
                   "bird: static routes and a function; frr: static routes and prefix lists")
      ->required()
      ->check(CLI::IsMember({"bird", "frr"}));
  command->add_option("--node", options->node,
                      "Only what this node may receive (externalTrafficPolicy Local: a backend "
                      "runs there)");
  command->callback([&session, options] {
    session.action = [&session, options] { return run_export(session, *options); };
  });
}

}  // namespace tombolo::cli
