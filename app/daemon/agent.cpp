// The parts of the agent, in the order of the flow.
#include "app/daemon/agent.h"

#include "app/daemon/agent_dns.h"
#include "app/daemon/ip_records.h"
#include "app/daemon/node_records.h"
#include "app/netlink/netlink.h"
#include "bpf/bpf.h"
#include "core/records/records.h"
#include "core/store/mirror.h"
#include "core/worker.h"
#include "ipamd/allocator/block_routes.h"
#include "ipamd/cni/service.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

MirrorOptions mirror_of(std::string name, std::string prefix) {
  MirrorOptions options;
  options.follow.name = std::move(name);
  options.follow.prefix = std::move(prefix);
  return options;
}

KvMirror<Node>::Decode node_decoder(const config::v1::ClusterConfig& cluster) {
  cilium::Origin origin{cluster.name(), cluster.id(),
                        static_cast<int>(cluster.identity_cluster_bits())};
  std::string prefix = cilium::keys::state_prefix(cluster.name(), cilium::RecordKind::kNodes);
  return [origin, prefix](const KeyValue& kv) -> Result<Node> {
    TRY(name, cilium::name_in_key(kv.key, prefix));
    TRY(record, cilium::decode_node(kv.key, name, kv.value, origin));
    return cilium::node_row_of(record);
  };
}

class RealAgent final : public Agent {
 public:
  RealAgent(const config::v1::DaemonConfig& config, RoleContext context)
      : config_(config),
        context_(context),
        status_(tables_.status.take_writer("reconcilers")),
        block_mirror_(mirror_of("node-blocks",
                                fmt::format("{}{}/", records::kBlocksPrefix, config.node().name())),
                      context.kv, tables_.node_blocks.take_writer("store"),
                      records::decode_node_block, context.tasks, context.clock, context.rng,
                      context.log),
        node_mirror_(mirror_of("nodes", cilium::keys::state_prefix(config.cluster().name(),
                                                                   cilium::RecordKind::kNodes)),
                     context.kv, tables_.nodes.take_writer("store"), node_decoder(config.cluster()),
                     context.tasks, context.clock, context.rng, context.log),
        frontend_mirror_(mirror_of("frontends", std::string(records::kFrontendsPrefix)), context.kv,
                         tables_.frontends.take_writer("store"), records::decode_frontend,
                         context.tasks, context.clock, context.rng, context.log),
        records_(config, tables_, status_, context),
        ip_records_(config, tables_, status_, context) {}

  Result<void> open() {
    if (config_.subsystems().ipam()) {
      TRY_OK(open_ipam());
    } else {
      // Another plugin makes the interfaces: there are none of ours, and that is the whole list.
      tables_.attachments.take_writer("none").mark_synced();
    }
    if (config_.subsystems().lb()) TRY_OK(open_load_balancer());
    if (config_.subsystems().dns()) TRY_OK(open_dns());
    return {};
  }

  asio::awaitable<Result<void>> start() override {
    context_.tasks.spawn("mirror node-blocks", block_mirror_.run());
    context_.tasks.spawn("mirror nodes", node_mirror_.run());
    context_.tasks.spawn("mirror frontends", frontend_mirror_.run());
    for (const PrefixFollower* follower :
         {&block_mirror_.follower(), &node_mirror_.follower(), &frontend_mirror_.follower()})
      settling_.add(*follower);
    records_.start(settling_);
    if (config_.subsystems().mesh()) ip_records_.start(settling_);
    if (cni_) {
      CO_TRY_OK(co_await start_ipam());
    }
    if (load_balancer_) start_load_balancer();
    if (dns_) {
      CO_TRY_OK(co_await dns_->start(settling_));
    }
    co_return Result<void>{};
  }

  void stop() override {
    if (dns_) dns_->stop();
  }

  AgentTables& tables() override { return tables_; }
  Settling& settling() override { return settling_; }

 private:
  Result<void> open_ipam() {
    TRY(store, open_sqlite_lease_store(config_.state_dir() + "/leases.db"));
    lease_store_ = std::move(store);
    CniSettings settings;
    settings.node = config_.node().name();
    settings.cluster = config_.cluster().name();
    settings.socket_path = config_.agent().cni_socket();
    settings.mtu = config_.agent().mtu();
    settings.cluster_zone = config_.agent().dns().cluster_zone();
    settings.clusterset_zone = config_.agent().dns().clusterset_zone();
    if (config_.subsystems().dns()) {
      TRY(listen, dns_addresses(config_));
      for (const Endpoint& endpoint : listen) settings.dns_addresses.push_back(endpoint.ip);
    }
    cni_ = std::make_unique<CniService>(std::move(settings), *net_, *lease_store_,
                                        tables_.node_blocks, tables_.attachments.take_writer("cni"),
                                        hooks_, context_.tasks, context_.clock, context_.log);
    return {};
  }

  Result<void> open_load_balancer() {
    TRY_OK(bpf::check_kernel());
    bpf::Settings settings{config_.cgroup_root(), config_.bpffs_root()};
    TRY(opened, bpf::LoadBalancer::open(std::move(settings), context_.clock, context_.log));
    load_balancer_ = std::move(opened);
    return {};
  }

  Result<void> open_dns() {
    TRY(opened, AgentDns::open(config_, tables_.frontends, status_, *net_, worker_, context_));
    dns_ = std::move(opened);
    return {};
  }

  asio::awaitable<Result<void>> start_ipam() {
    CO_TRY_OK(co_await cni_->start());
    route_operations_ = std::make_unique<BlockRouteOperations>(
        config_.cluster().name(), config_.node().name(), *net_, worker_);
    routes_ = std::make_unique<Reconciler<Node>>(ReconcilerOptions{"routes"}, tables_.nodes,
                                                 *route_operations_, status_, context_.tasks,
                                                 context_.clock, context_.rng, context_.log);
    context_.tasks.spawn("reconcile routes", routes_->run());
    settling_.add(*routes_);
    co_return Result<void>{};
  }

  void start_load_balancer() {
    load_balancer_->close_stuck_udp_in([this] {
      std::vector<std::string> paths;
      for (const auto& [key, versioned] : tables_.attachments.rows())
        paths.push_back(versioned.row.netns_path);
      return paths;
    });
    balancing_ = std::make_unique<Reconciler<Frontend>>(
        ReconcilerOptions{"load-balancer"}, tables_.frontends, load_balancer_->operations(),
        status_, context_.tasks, context_.clock, context_.rng, context_.log);
    context_.tasks.spawn("reconcile load-balancer", balancing_->run());
    settling_.add(*balancing_);
  }

  const config::v1::DaemonConfig& config_;
  RoleContext context_;
  AgentTables tables_;
  Settling settling_;
  Table<ReconcileStatus>::Writer status_;
  Worker worker_;
  std::unique_ptr<Net> net_ = make_netlink_net();
  InterfaceHooks hooks_;
  KvMirror<NodeBlock> block_mirror_;
  KvMirror<Node> node_mirror_;
  KvMirror<Frontend> frontend_mirror_;
  NodeRecords records_;
  IpRecords ip_records_;
  std::unique_ptr<LeaseStore> lease_store_;
  std::unique_ptr<CniService> cni_;
  std::unique_ptr<BlockRouteOperations> route_operations_;
  std::unique_ptr<Reconciler<Node>> routes_;
  std::unique_ptr<bpf::LoadBalancer> load_balancer_;
  std::unique_ptr<Reconciler<Frontend>> balancing_;
  std::unique_ptr<AgentDns> dns_;
};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::open(const config::v1::DaemonConfig& config,
                                           RoleContext context) {
  auto agent = std::make_unique<RealAgent>(config, context);
  TRY_OK(agent->open());
  return agent;
}

}  // namespace tombolo
