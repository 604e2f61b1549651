// The parts of the agent, in the order of the flow.
#include "app/daemon/agent.h"

#include <cstdlib>

#include "app/cri/cri.h"
#include "app/daemon/agent_announce.h"
#include "app/daemon/agent_dns.h"
#include "app/daemon/agent_policy.h"
#include "app/daemon/ip_records.h"
#include "app/daemon/node_presence.h"
#include "app/daemon/node_probes.h"
#include "app/daemon/node_records.h"
#include "app/daemon/policy_inputs.h"
#include "app/daemon/pool_routes.h"
#include "app/netlink/link_watch.h"
#include "app/netlink/netlink.h"
#include "bpf/bpf.h"
#include "core/records/records.h"
#include "core/store/mirror.h"
#include "core/worker.h"
#include "ipamd/allocator/block_routes.h"
#include "ipamd/claims/claims.h"
#include "ipamd/cni/service.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

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

KvMirror<LocalPod>::Decode pod_decoder(std::string prefix) {
  return [prefix = std::move(prefix)](const KeyValue& kv) -> Result<LocalPod> {
    TRY(name, cilium::name_in_key(kv.key, prefix));
    return cilium::decode_local_pod(kv.key, name, kv.value);
  };
}

bpf::Hook hook_of(const config::v1::DaemonConfig& config) {
  switch (config.agent().hook()) {
    case config::v1::HOOK_TCX:
      return bpf::Hook::kTcx;
    case config::v1::HOOK_CLSACT:
      return bpf::Hook::kClsact;
    default:
      return bpf::Hook::kAuto;
  }
}

// Where the node's sysfs is mounted: in a container it may be elsewhere.
std::string sysfs() {
  const char* path = std::getenv("TOMBOLO_SYSFS");
  return path != nullptr && *path != '\0' ? path : "/sys";
}

class RealAgent final : public Agent {
 public:
  RealAgent(const config::v1::DaemonConfig& config, RoleContext context,
            std::unique_ptr<LastKnownFile> known)
      : config_(config),
        context_(context),
        status_(tables_.status.take_writer("reconcilers")),
        known_(std::move(known)),
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
        pool_mirror_(mirror_of("pools", std::string(records::kPoolsPrefix)), context.kv,
                     tables_.pools.take_writer("store"), records::decode_pool_object, context.tasks,
                     context.clock, context.rng, context.log),
        reservation_mirror_(mirror_of("reservations", std::string(records::kReservationsPrefix)),
                            context.kv, tables_.reservations.take_writer("store"),
                            records::decode_pool_object, context.tasks, context.clock, context.rng,
                            context.log),
        routed_mirror_(mirror_of("routed", std::string(records::kRoutedPrefix)), context.kv,
                       tables_.routed.take_writer("store"), records::decode_routed, context.tasks,
                       context.clock, context.rng, context.log),
        pod_mirror_(mirror_of("workloads", pod_prefix()), context.kv,
                    tables_.local_pods.take_writer("store"), pod_decoder(pod_prefix()),
                    context.tasks, context.clock, context.rng, context.log),
        presence_(config.node().name(), context),
        records_(config, tables_, status_, context),
        ip_records_(config, tables_, [this] { return pod_mirror_.filled(); }, status_, context) {}

  Result<void> open() {
    if (config_.subsystems().mesh()) open_probes();
    block_mirror_.restore();
    node_mirror_.restore();
    frontend_mirror_.restore();
    pool_mirror_.restore();
    reservation_mirror_.restore();
    routed_mirror_.restore();
    pod_mirror_.restore();
    if (config_.subsystems().dns()) TRY_OK(open_dns());
    if (config_.agent().announce().interfaces_size() > 0)
      announce_ =
          std::make_unique<AgentAnnounce>(config_, tables_, status_, *net_, worker_, context_);
    return {};
  }

  asio::awaitable<Result<void>> start_names() override {
    if (dns_) {
      CO_TRY_OK(co_await dns_->start(settling_));
    }
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> open_datapath() override {
    if (config_.subsystems().ipam()) {
      if (config_.subsystems().policy()) {
        CO_TRY_OK(co_await open_policy());
      }
      CO_TRY_OK(open_ipam());
    } else {
      // Another plugin makes the interfaces: there are none of ours, and that is the whole list.
      tables_.attachments.take_writer("none").mark_synced();
    }
    if (config_.subsystems().lb()) {
      CO_TRY_OK(co_await open_load_balancer());
    }
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> start() override {
    context_.tasks.spawn("mirror node-blocks", block_mirror_.run());
    context_.tasks.spawn("mirror nodes", node_mirror_.run());
    context_.tasks.spawn("mirror frontends", frontend_mirror_.run());
    context_.tasks.spawn("mirror pools", pool_mirror_.run());
    context_.tasks.spawn("mirror reservations", reservation_mirror_.run());
    context_.tasks.spawn("mirror routed", routed_mirror_.run());
    context_.tasks.spawn("mirror workloads", pod_mirror_.run());
    context_.tasks.spawn("last known", known_->run());
    for (const PrefixFollower* follower :
         {&block_mirror_.follower(), &node_mirror_.follower(), &frontend_mirror_.follower(),
          &pool_mirror_.follower(), &reservation_mirror_.follower(), &routed_mirror_.follower(),
          &pod_mirror_.follower()})
      settling_.add(*follower);
    if (inputs_) inputs_->start(settling_);
    presence_.start();
    records_.start(settling_);
    if (config_.subsystems().mesh()) ip_records_.start(settling_);
    if (probes_) probes_->start(settling_);
    if (cni_) {
      CO_TRY_OK(co_await start_ipam());
    }
    if (policy_) policy_->start(settling_);
    if (load_balancer_) start_load_balancer();
    if (announce_) announce_->start(settling_);
    co_return Result<void>{};
  }

  void stop() override {
    if (dns_) dns_->stop();
    if (auto written = known_->finish(); !written)
      context_.log.warning("what was last known is not kept: {}", written.error().text());
  }

  AgentTables& tables() override { return tables_; }
  Settling& settling() override { return settling_; }
  bpf::Guard* guard() override { return guard_.get(); }

 private:
  MirrorOptions mirror_of(std::string name, std::string prefix) {
    MirrorOptions options;
    options.follow.name = std::move(name);
    options.follow.prefix = std::move(prefix);
    options.known = known_.get();
    return options;
  }
  std::string pod_prefix() const {
    return fmt::format("{}{}/", keys::kWorkloads, config_.node().name());
  }

  void open_probes() {
    NodeProbeSettings settings;
    settings.node = config_.node().name();
    prober_ = make_prober(context_.tasks.executor(), context_.rng);
    probes_ = std::make_unique<NodeProbes>(std::move(settings), *prober_, tables_.revisions,
                                           status_, context_);
  }

  Result<void> open_ipam() {
    TRY(store, open_sqlite_lease_store(config_.state_dir() + "/leases.db"));
    lease_store_ = std::move(store);
    TRY(adoption_store, open_sqlite_lease_store(config_.state_dir() + "/adopted.db"));
    adoption_store_ = std::move(adoption_store);
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
                                        policy_ ? *policy_ : hooks_, context_.tasks, context_.clock,
                                        context_.log);
    cni_->keep_adoptions_in(*adoption_store_);
    cni_->lend_devices(*device_net_, config_.state_dir() + "/devices");
    if (policy_)
      policy_->find_devices([this](const std::string& key) -> std::optional<bpf::InterfaceInPod> {
        auto device = cni_->device_in_pod(key);
        if (!device) return std::nullopt;
        return bpf::InterfaceInPod{device->netns, device->index};
      });
    address_prober_ = make_packet_prober(context_.tasks.executor());
    cni_->probe_with(*address_prober_);
    ask_runtime();
    open_pools();
    return {};
  }

  void ask_runtime() {
    const std::string& socket = config_.agent().runtime_socket();
    if (socket == "off") return;
    runtime_ = make_cri_runtime(socket.empty() ? usual_runtime_sockets()
                                               : std::vector<std::string>{socket});
    cni_->ask_runtime(*runtime_);
  }

  void open_pools() {
    auto known = [this] { return pool_mirror_.filled() && reservation_mirror_.filled(); };
    directory_ = std::make_unique<PoolDirectory>(tables_.pools, tables_.reservations, known,
                                                 context_.kv, context_.log);
    ClaimsOptions options;
    options.node = config_.node().name();
    options.known = known_.get();
    blocks_ = std::make_unique<OverlayBlocks>(options, context_.kv, context_.tasks, context_.clock,
                                              context_.rng, context_.log);
    claims_ = std::make_unique<Claims>(std::move(options), context_.kv, context_.tasks,
                                       context_.clock, context_.rng, context_.log);
    PublishOptions publish;
    publish.name = "routed-own";
    publish.prefix = fmt::format("{}{}/", records::kRoutedPrefix, config_.node().name());
    own_routed_ = std::make_unique<PublishedTable<NodeBlock>>(
        std::move(publish), tables_.revisions, "cni", status_, encode_routed, context_);
    pool_routes_ = std::make_unique<PoolRoutes>(config_.node().name(), tables_, context_);
    CniPools pools;
    pools.directory = directory_.get();
    pools.claims = claims_.get();
    pools.blocks = blocks_.get();
    pools.node_labels = {config_.node().labels().begin(), config_.node().labels().end()};
    pools.routed = &own_routed_->writer();
    cni_->use_pools(std::move(pools));
  }

  // Policy governs interfaces that the agent makes itself: without ipam there are none.
  asio::awaitable<Result<void>> open_policy() {
    bpf::GuardSettings settings;
    settings.bpffs_root = config_.bpffs_root();
    settings.hook = hook_of(config_);
    auto load = [settings = std::move(settings), &clock = context_.clock,
                 log = context_.log]() -> Result<std::unique_ptr<bpf::Guard>> {
      TRY_OK(bpf::check_kernel());
      return bpf::Guard::open(settings, clock, log);
    };
    CO_TRY(guard, co_await worker_.run(std::move(load)));
    guard_ = std::move(guard);
    inputs_ = std::make_unique<PolicyInputs>(config_, tables_, known_.get(), context_);
    inputs_->restore();
    auto filled = [this] { return inputs_->filled() && pod_mirror_.filled(); };
    policy_ = std::make_unique<AgentPolicy>(tables_, status_, *guard_, filled, context_);
    co_return Result<void>{};
  }

  asio::awaitable<Result<void>> open_load_balancer() {
    bpf::Settings settings{config_.cgroup_root(), config_.bpffs_root()};
    auto load = [settings = std::move(settings), &clock = context_.clock,
                 log = context_.log]() -> Result<std::unique_ptr<bpf::LoadBalancer>> {
      TRY_OK(bpf::check_kernel());
      return bpf::LoadBalancer::open(settings, clock, log);
    };
    CO_TRY(opened, co_await worker_.run(std::move(load)));
    load_balancer_ = std::move(opened);
    co_return Result<void>{};
  }

  Result<void> open_dns() {
    TRY(opened, AgentDns::open(config_, tables_.frontends, status_, *net_, worker_, context_));
    dns_ = std::move(opened);
    if (frontend_mirror_.filled()) dns_->serve_known();
    return {};
  }

  asio::awaitable<Result<void>> start_ipam() {
    context_.tasks.spawn("claims", claims_->run());
    context_.tasks.spawn("pool blocks", blocks_->run());
    CO_TRY_OK(co_await cni_->start());
    own_routed_->writer().mark_synced();
    own_routed_->start();
    settling_.add(own_routed_->view());
    pool_routes_->start(settling_);
    CO_TRY(watch, LinkWatch::open(context_.tasks.executor(), [this] { cni_->links_changed(); }));
    link_watch_ = std::move(watch);
    context_.tasks.spawn("link watch", link_watch_->run());
    route_operations_ = std::make_unique<BlockRouteOperations>(
        config_.cluster().name(), config_.node().name(), *net_, worker_);
    routes_ = std::make_unique<Reconciler<Node>>(ReconcilerOptions{"routes"}, pool_routes_->nodes(),
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
  std::unique_ptr<DeviceNet> device_net_ = make_netlink_device_net(sysfs());
  InterfaceHooks hooks_;
  std::unique_ptr<LastKnownFile> known_;
  KvMirror<NodeBlock> block_mirror_;
  KvMirror<Node> node_mirror_;
  KvMirror<Frontend> frontend_mirror_;
  KvMirror<PoolObject> pool_mirror_;
  KvMirror<PoolObject> reservation_mirror_;
  KvMirror<NodeBlock> routed_mirror_;
  KvMirror<LocalPod> pod_mirror_;
  NodePresence presence_;
  NodeRecords records_;
  IpRecords ip_records_;
  std::unique_ptr<Prober> prober_;
  std::unique_ptr<NodeProbes> probes_;
  std::unique_ptr<bpf::Guard> guard_;
  std::unique_ptr<PolicyInputs> inputs_;
  std::unique_ptr<AgentPolicy> policy_;
  std::unique_ptr<LeaseStore> lease_store_;
  std::unique_ptr<LeaseStore> adoption_store_;
  std::unique_ptr<AddressProber> address_prober_;
  std::unique_ptr<ContainerRuntime> runtime_;
  std::unique_ptr<PoolDirectory> directory_;
  std::unique_ptr<Claims> claims_;
  std::unique_ptr<OverlayBlocks> blocks_;
  std::unique_ptr<PublishedTable<NodeBlock>> own_routed_;
  std::unique_ptr<PoolRoutes> pool_routes_;
  std::unique_ptr<CniService> cni_;
  std::unique_ptr<LinkWatch> link_watch_;
  std::unique_ptr<BlockRouteOperations> route_operations_;
  std::unique_ptr<Reconciler<Node>> routes_;
  std::unique_ptr<bpf::LoadBalancer> load_balancer_;
  std::unique_ptr<Reconciler<Frontend>> balancing_;
  std::unique_ptr<AgentDns> dns_;
  std::unique_ptr<AgentAnnounce> announce_;
};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::open(const config::v1::DaemonConfig& config,
                                           RoleContext context) {
  LastKnownOptions options;
  options.file = config.state_dir() + "/known.db";
  TRY(known, LastKnownFile::open(std::move(options), context.tasks, context.clock, context.rng,
                                 context.log));
  auto agent = std::make_unique<RealAgent>(config, context, std::move(known));
  TRY_OK(agent->open());
  return agent;
}

}  // namespace tombolo
