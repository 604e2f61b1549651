// The defaults that schema/config/v1/config.proto documents, in its order.
#include "app/config/config.h"
#include "core/ip.h"

namespace tombolo::config {
namespace {

// protobuf's setters, for fields whose zero value means "left out".
#define DEFAULT(message, field, value)                                    \
  if ((message)->field() == std::decay_t<decltype((message)->field())>{}) \
  (message)->set_##field(value)
#define DEFAULT_LIST(message, field, value) \
  if ((message)->field##_size() == 0) (message)->add_##field(value)

void subsystem_defaults(v1::Subsystems* subsystems) {
  if (!subsystems->has_ipam()) subsystems->set_ipam(true);
  if (!subsystems->has_mesh()) subsystems->set_mesh(true);
  if (!subsystems->has_dns()) subsystems->set_dns(true);
  if (!subsystems->has_lb()) subsystems->set_lb(true);
  if (!subsystems->has_policy()) subsystems->set_policy(true);
}

void store_defaults(DaemonConfig& config) {
  auto* store = config.mutable_store();
  bool serves = has_role(config, v1::ROLE_CONTROLLER) && store->endpoints_size() == 0;
  if (!serves) return;
  auto* embedded = store->mutable_embedded();
  DEFAULT_LIST(embedded, listen, "127.0.0.1:2379");
  if (embedded->advertise_size() == 0) *embedded->mutable_advertise() = embedded->listen();
}

void dns_defaults(v1::DnsConfig* dns) {
  DEFAULT_LIST(dns, listen, "169.254.20.10:53");
  DEFAULT(dns, cluster_zone, "cluster.local");
  DEFAULT(dns, clusterset_zone, "clusterset.local");
  DEFAULT(dns, ttl_s, 5);
  for (auto& upstream : *dns->mutable_upstreams())
    if (auto ip = Ip::parse(upstream)) upstream = Endpoint{*ip, 53}.str();
}

void agent_defaults(DaemonConfig& config) {
  auto* agent = config.mutable_agent();
  DEFAULT(agent, cni_socket, config.run_dir() + "/cni.sock");
  DEFAULT(agent, hook, v1::HOOK_AUTO);
  dns_defaults(agent->mutable_dns());
  DEFAULT(agent->mutable_lb(), algorithm, v1::ALGORITHM_RANDOM);
  DEFAULT(agent->mutable_lb(), maglev_size, 1021);
}

}  // namespace

bool has_role(const DaemonConfig& config, v1::Role role) {
  for (int given : config.roles())
    if (given == role) return true;
  return false;
}

void apply_defaults(DaemonConfig& config, const std::string& host_name) {
  DEFAULT_LIST(&config, roles, v1::ROLE_AGENT);
  DEFAULT(config.mutable_cluster(), fleet, "fleet");
  DEFAULT(config.mutable_cluster(), identity_cluster_bits, 8);
  DEFAULT(config.mutable_node(), name, host_name);
  DEFAULT(&config, state_dir, "/var/lib/tombolo");
  DEFAULT(&config, run_dir, "/run/tombolo");
  DEFAULT(&config, cgroup_root, "/sys/fs/cgroup");
  DEFAULT(&config, bpffs_root, "/sys/fs/bpf/tombolo");
  subsystem_defaults(config.mutable_subsystems());
  store_defaults(config);
  config.mutable_controller();
  agent_defaults(config);
  auto* admin = config.mutable_admin();
  DEFAULT(admin, socket, config.run_dir() + "/admin.sock");
  if (admin->listen_size() > 0 && !admin->has_tls() && config.store().has_tls())
    *admin->mutable_tls() = config.store().tls();
  DEFAULT(config.mutable_metrics(), listen, "127.0.0.1:9470");
  DEFAULT(config.mutable_log(), level, v1::LOG_LEVEL_INFO);
  DEFAULT(config.mutable_log(), format, v1::LOG_FORMAT_TEXT);
}

}  // namespace tombolo::config
