// Settings from the configuration, addresses through the Net port.
#include "app/daemon/agent_dns.h"

namespace tombolo {
namespace {

Result<std::vector<Endpoint>> parse_upstreams(const config::v1::DnsConfig& config) {
  std::vector<Endpoint> upstreams;
  for (const std::string& text : config.upstreams()) {
    if (auto ip = Ip::parse(text)) {
      upstreams.push_back({*ip, 53});
      continue;
    }
    TRY(endpoint, Endpoint::parse(text));
    upstreams.push_back(endpoint);
  }
  return upstreams;
}

}  // namespace

Result<std::vector<Endpoint>> dns_addresses(const config::v1::DaemonConfig& config) {
  std::vector<Endpoint> addresses;
  for (const std::string& text : config.agent().dns().listen()) {
    TRY(endpoint, Endpoint::parse(text));
    addresses.push_back(endpoint);
  }
  return addresses;
}

Result<std::unique_ptr<AgentDns>> AgentDns::open(const config::v1::DaemonConfig& config,
                                                 Table<Frontend>& frontends,
                                                 Table<ReconcileStatus>::Writer status, Net& net,
                                                 Worker& worker, RoleContext context) {
  const auto& wanted = config.agent().dns();
  TRY(listen, dns_addresses(config));
  TRY(upstreams, parse_upstreams(wanted));
  dns::DnsSettings settings;
  settings.listen = listen;
  settings.upstreams = std::move(upstreams);
  settings.zones.cluster_zone = wanted.cluster_zone();
  settings.zones.clusterset_zone = wanted.clusterset_zone();
  settings.zones.cluster = config.cluster().name();
  settings.zones.ttl_s = wanted.ttl_s();
  for (const Endpoint& endpoint : listen) settings.zones.server_ips.push_back(endpoint.ip);
  TRY(server, dns::DnsServer::make(settings, context.log));
  std::unique_ptr<AgentDns> dns(
      new AgentDns(std::move(listen), frontends, std::move(server), net, worker, context));
  auto publish = [target = dns->server_.get()](std::shared_ptr<const dns::ZoneSet> zones) {
    target->publish(std::move(zones));
  };
  TRY(publisher, dns::ZonePublisher::make(settings.zones, context.clock, publish, context.log));
  dns->publisher_ = std::move(publisher);
  dns->reconciler_ = std::make_unique<Reconciler<Frontend>>(
      ReconcilerOptions{"dns"}, frontends, *dns->publisher_, status, context.tasks, context.clock,
      context.rng, context.log);
  return dns;
}

void AgentDns::serve_known() {
  std::vector<Frontend> rows;
  for (const auto& [key, versioned] : frontends_.rows()) rows.push_back(versioned.row);
  publisher_->serve_known(rows);
}

asio::awaitable<Result<void>> AgentDns::start(Settling& settling) {
  InterfaceSetup loopback;
  loopback.name = "lo";
  for (const Endpoint& endpoint : listen_)
    loopback.addresses.push_back({endpoint.ip, bits_of(endpoint.ip.family())});
  auto job = [net = &net_, loopback] { return net->set_up_interface("", loopback); };
  CO_TRY_OK(co_await worker_.run(job));
  CO_TRY_OK(server_->start());
  context_.tasks.spawn("reconcile dns", reconciler_->run());
  settling.add(*reconciler_);
  co_return Result<void>{};
}

}  // namespace tombolo
