// Composition, in the order of the flow: compare with app/daemon/controller.cpp and agent.cpp.
#include "tests/sim/process.h"

#include "core/records/records.h"
#include "ipamd/pools/pools.h"
#include "policy/languages/languages.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo::sim {
namespace {

KvMirror<Node>::Decode node_decoder(const std::string& cluster, std::uint32_t id) {
  cilium::Origin origin{cluster, id, 8};
  std::string prefix = cilium::keys::state_prefix(cluster, cilium::RecordKind::kNodes);
  return [origin, prefix](const KeyValue& kv) -> Result<Node> {
    TRY(name, cilium::name_in_key(kv.key, prefix));
    TRY(record, cilium::decode_node(kv.key, name, kv.value, origin));
    return cilium::node_row_of(record);
  };
}

std::string pod_prefix(const std::string& node) {
  return fmt::format("{}{}/", keys::kWorkloads, node);
}

KvMirror<LocalPod>::Decode pod_decoder(const std::string& node) {
  return [prefix = pod_prefix(node)](const KeyValue& kv) -> Result<LocalPod> {
    TRY(name, cilium::name_in_key(kv.key, prefix));
    return cilium::decode_local_pod(kv.key, name, kv.value);
  };
}

controller::ControllerSettings sync_settings(const ClusterFacts& facts) {
  controller::ControllerSettings settings;
  settings.cluster = facts.name;
  settings.cluster_id = facts.id;
  settings.lease_ttl = 120s;
  settings.heartbeat = 10s;
  settings.identity_grace = 30s;
  return settings;
}

}  // namespace

// ---- the controller

ControllerLife::ControllerLife(World& world, Machine& machine, const ClusterFacts& facts,
                               SimStore& store, Wire& wire, Mistake mistake, Logger log)
    : Life(world, machine),
      mistake_(mistake),
      kv_(store, wire, alive_),
      status_(tables.status.take_writer("reconcilers")),
      context_{kv_, tasks_, machine.clock, *rng_, log.with("controller", facts.name)},
      worker_(worker()),
      plan_(kv_, tables.plan_blocks.take_writer("plan"), tasks_, machine.clock, *rng_,
            context_.log),
      block_mirror_(mirror_of("all-node-blocks", std::string(records::kBlocksPrefix)), kv_,
                    tables.node_blocks.take_writer("store"), records::decode_node_block, tasks_,
                    machine.clock, *rng_, context_.log),
      node_mirror_(mirror_of("own-nodes",
                             cilium::keys::state_prefix(facts.name, cilium::RecordKind::kNodes)),
                   kv_, tables.nodes.take_writer("store"), node_decoder(facts.name, facts.id),
                   tasks_, machine.clock, *rng_, context_.log),
      lease_mirror_(mirror_of("all-leases", std::string(records::kLeasesPrefix)), kv_,
                    tables.attachments.take_writer("store"), records::decode_attachment, tasks_,
                    machine.clock, *rng_, context_.log),
      reach_mirror_(mirror_of("node reach", std::string(records::kReachPrefix)), kv_,
                    tables.node_reach.take_writer("store"), records::decode_reach, tasks_,
                    machine.clock, *rng_, context_.log),
      assigner_(facts.name, tables, status_, context_),
      pools_(tables, status_, context_),
      sync(sync_settings(facts), tables, status_, kv_, *worker_, tasks_, machine.clock, *rng_,
           context_.log) {}

void ControllerLife::link(const ClusterFacts& other, SimStore& store, Wire& wire) {
  auto kv = std::make_unique<SimKv>(store, wire, alive_);
  if (mistake_ == Mistake::kForgetBadRecord) kv->mistake = mistake_;
  auto linked = sync.add_remote(other.name, other.id, std::move(kv));
  ENSURE(linked, "{}", linked.error().what);
}

void ControllerLife::give_file(const std::string& file, const std::string& text) {
  manifests::ForeignDecoders foreign{policy::parse_network_policy, parse_pool_object};
  sync.set_objects(file, manifests::decode_objects(text, file, foreign));
}

void ControllerLife::start(Fleet plan) {
  tasks_.spawn("plan", plan_.run());
  tasks_.spawn("mirror node-blocks", block_mirror_.run());
  tasks_.spawn("mirror nodes", node_mirror_.run());
  tasks_.spawn("mirror leases", lease_mirror_.run());
  tasks_.spawn("mirror node reach", reach_mirror_.run());
  tasks_.spawn("node blocks", assigner_.run());
  pools_.start();
  sync.start();
  tasks_.spawn("apply plan", apply_plan(std::move(plan)));
}

// The operator's `tombolo plan apply`, until it is done.
asio::awaitable<void> ControllerLife::apply_plan(Fleet plan) {
  while (!tasks_.cancelled()) {
    auto applied = co_await plan_.apply(plan, "operator", "simulation", false);
    if (applied) break;
    context_.log.warning("plan: {}", applied.error().text());
    if (auto slept = co_await machine_.clock.sleep_for(1s); !slept) co_return;
  }
  // What other clusters left here while this controller was away; linked ones stay.
  while (!tasks_.cancelled()) {
    auto done = co_await sync.forget_unknown_remotes({});
    if (done) co_return;
    if (auto slept = co_await machine_.clock.sleep_for(1s); !slept) co_return;
  }
}

// ---- the agent

asio::awaitable<Result<bool>> SimProber::answers(Ip ip, Duration limit) {
  bool there = answers_(ip);
  Duration takes = there ? std::min(limit, world_.between(1ms, 80ms)) : limit;
  CO_TRY_OK(co_await clock_.sleep_for(takes));
  co_return there;
}

// What bpf/load_balancer.cpp does on its worker.
class AgentLife::Balancer final : public ReconcileOperations<Frontend> {
 public:
  Balancer(SimMaps& maps, const Logger& log) : state_(maps, log) {}
  Result<void> rebuild() { return state_.rebuild(); }
  asio::awaitable<Result<void>> update(Frontend row) override { co_return state_.update(row).done; }
  asio::awaitable<Result<void>> erase(std::string key) override {
    co_return state_.erase(key).done;
  }
  asio::awaitable<Result<void>> prune(std::vector<Frontend> rows) override {
    co_return state_.prune(rows).done;
  }

 private:
  bpf::LbState state_;
};

namespace {

CniSettings cni_settings(const config::v1::DaemonConfig& config) {
  CniSettings settings;
  settings.node = config.node().name();
  settings.cluster = config.cluster().name();
  settings.mtu = 1400;
  return settings;
}

NodeProbeSettings probe_settings(const config::v1::DaemonConfig& config) {
  NodeProbeSettings settings;
  settings.node = config.node().name();
  return settings;
}

}  // namespace

AgentLife::AgentLife(World& world, Machine& machine, const config::v1::DaemonConfig& config,
                     NodeKernel& kernel, SimStore& store, Wire& wire, Answers answers,
                     Mistake mistake, Logger log)
    : Life(world, machine),
      kernel_((kernel.attach(alive_), kernel)),
      kv_(store, wire, alive_),
      status_(tables.status.take_writer("reconcilers")),
      context_{kv_, tasks_, machine.clock, *rng_, log.with("agent", config.node().name())},
      block_mirror_(mirror_of("node-blocks",
                              fmt::format("{}{}/", records::kBlocksPrefix, config.node().name()),
                              &kernel.known),
                    kv_, tables.node_blocks.take_writer("store"), records::decode_node_block,
                    tasks_, machine.clock, *rng_, context_.log),
      node_mirror_(
          mirror_of("nodes",
                    cilium::keys::state_prefix(config.cluster().name(), cilium::RecordKind::kNodes),
                    &kernel.known),
          kv_, tables.nodes.take_writer("store"),
          node_decoder(config.cluster().name(), config.cluster().id()), tasks_, machine.clock,
          *rng_, context_.log),
      frontend_mirror_(
          mirror_of("frontends", std::string(records::kFrontendsPrefix), &kernel.known), kv_,
          tables.frontends.take_writer("store"), records::decode_frontend, tasks_, machine.clock,
          *rng_, context_.log),
      pod_mirror_(mirror_of("workloads", pod_prefix(config.node().name()), &kernel.known), kv_,
                  tables.local_pods.take_writer("store"), pod_decoder(config.node().name()), tasks_,
                  machine.clock, *rng_, context_.log),
      records_(config, tables, status_, context_),
      ip_records_(
          config, tables, [this] { return pod_mirror_.filled(); }, status_, context_),
      prober_(world, machine.clock, std::move(answers)),
      probes_(probe_settings(config), prober_, tables.revisions, status_, context_),
      inputs_(config, tables, &kernel.known, context_),
      guard_(kernel.policy, worker()),
      policy_(
          tables, status_, guard_, [this] { return inputs_.filled() && pod_mirror_.filled(); },
          context_, worker()),
      pools_(config.node().name(), tables, kernel.known, status_, context_),
      cni_(cni_settings(config), kernel.net, kernel.disk, tables.node_blocks,
           tables.attachments.take_writer("cni"), policy_, tasks_, machine.clock, context_.log,
           [this] { return worker(); }),
      route_worker_(worker()),
      route_operations_(config.cluster().name(), config.node().name(), kernel.net, *route_worker_),
      routes_({.name = "routes"}, pools_.nodes(), route_operations_, status_, tasks_, machine.clock,
              *rng_, context_.log) {
  kv_.mistake = mistake;
  cni_.use_pools(pools_.ports());
  balancer_ = std::make_unique<Balancer>(kernel.maps, context_.log);
  balancing_ = std::make_unique<Reconciler<Frontend>>(ReconcilerOptions{"load-balancer"},
                                                      tables.frontends, *balancer_, status_, tasks_,
                                                      machine.clock, *rng_, context_.log);
  dns::ZoneSettings zones;
  zones.cluster = config.cluster().name();
  Alive alive = alive_;
  auto publish = [&kernel, alive](std::shared_ptr<const dns::ZoneSet> set) {
    if (*alive) kernel.zones = std::move(set);
  };
  auto made = dns::ZonePublisher::make(zones, machine.clock, publish, context_.log);
  ENSURE(made, "{}", made.error().what);
  zones_ = std::move(*made);
  naming_ =
      std::make_unique<Reconciler<Frontend>>(ReconcilerOptions{"dns"}, tables.frontends, *zones_,
                                             status_, tasks_, machine.clock, *rng_, context_.log);
}

AgentLife::~AgentLife() = default;

void AgentLife::start(std::function<void(Result<void>)> ready) {
  block_mirror_.restore();
  node_mirror_.restore();
  frontend_mirror_.restore();
  pod_mirror_.restore();
  pools_.restore();
  inputs_.restore();
  if (frontend_mirror_.filled()) serve_known_names();
  tasks_.spawn("reconcile dns", naming_->run());
  // As the daemon: what cannot be opened ends it.
  if (auto rebuilt = balancer_->rebuild(); !rebuilt) return ready(std::move(rebuilt));
  tasks_.spawn("mirror node-blocks", block_mirror_.run());
  tasks_.spawn("mirror nodes", node_mirror_.run());
  tasks_.spawn("mirror frontends", frontend_mirror_.run());
  tasks_.spawn("mirror workloads", pod_mirror_.run());
  pools_.follow();
  records_.start(settling_);
  ip_records_.start(settling_);
  inputs_.start(settling_);
  probes_.start(settling_);
  tasks_.spawn("start", run(std::move(ready)));
}

asio::awaitable<void> AgentLife::run(std::function<void(Result<void>)> ready) {
  pools_.start();
  auto started = co_await cni_.start();
  if (!*alive_) co_return;
  ready(started);
  if (!started) co_return;
  pools_.tell();
  tasks_.spawn("reconcile routes", routes_.run());
  policy_.start(settling_);
  tasks_.spawn("reconcile load-balancer", balancing_->run());
}

void AgentLife::serve_known_names() {
  std::vector<Frontend> rows;
  for (const auto& [key, versioned] : tables.frontends.rows()) rows.push_back(versioned.row);
  zones_->serve_known(rows);
}

void AgentLife::call(cni::Call call, Reply reply) {
  tasks_.spawn("cni call", serve(std::move(call), std::move(reply)));
}

asio::awaitable<void> AgentLife::serve(cni::Call call, Reply reply) {
  auto answer = co_await cni_.handle(std::move(call));
  if (*alive_) reply(std::move(answer));
}

}  // namespace tombolo::sim
