// The parts of the controller, in the order of the flow.
#include "app/daemon/controller.h"

#include <algorithm>
#include <iterator>

#include "app/daemon/block_assigner.h"
#include "app/daemon/claim_sweep.h"
#include "app/daemon/load_balancer_pools.h"
#include "core/records/records.h"
#include "core/store/etcd_client.h"
#include "core/store/mirror.h"
#include "core/worker.h"
#include "ipamd/announce/announce.h"
#include "ipamd/claims/claims.h"
#include "ipamd/pools/pools.h"
#include "policy/languages/languages.h"
#include "servicesync/cilium/cilium.h"
#include "servicesync/controller/controller_sync.h"

namespace tombolo {
namespace {

using controller::ControllerSettings;
using controller::ControllerSync;

MirrorOptions mirror_of(std::string name, std::string prefix) {
  MirrorOptions options;
  options.follow.name = std::move(name);
  options.follow.prefix = std::move(prefix);
  return options;
}

Result<Node> decode_own_node(const cilium::Origin& origin, const std::string& prefix,
                             const KeyValue& kv) {
  TRY(name, cilium::name_in_key(kv.key, prefix));
  TRY(record, cilium::decode_node(kv.key, name, kv.value, origin));
  return cilium::node_row_of(record);
}

class RealController final : public Controller {
 public:
  RealController(const config::v1::DaemonConfig& config, RoleContext context)
      : config_(config),
        context_(context),
        status_(tables_.status.take_writer("reconcilers")),
        plan_(context.kv, tables_.plan_blocks.take_writer("plan"), context.tasks, context.clock,
              context.rng, context.log),
        block_mirror_(mirror_of("all-node-blocks", std::string(records::kBlocksPrefix)), context.kv,
                      tables_.node_blocks.take_writer("store"), records::decode_node_block,
                      context.tasks, context.clock, context.rng, context.log),
        node_mirror_(
            mirror_of("own-nodes", node_prefix()), context.kv, tables_.nodes.take_writer("store"),
            [origin = origin(), prefix = node_prefix()](const KeyValue& kv) {
              return decode_own_node(origin, prefix, kv);
            },
            context.tasks, context.clock, context.rng, context.log),
        lease_mirror_(mirror_of("all-leases", std::string(records::kLeasesPrefix)), context.kv,
                      tables_.attachments.take_writer("store"), records::decode_attachment,
                      context.tasks, context.clock, context.rng, context.log),
        reach_mirror_(mirror_of("node reach", std::string(records::kReachPrefix)), context.kv,
                      tables_.node_reach.take_writer("store"), records::decode_reach, context.tasks,
                      context.clock, context.rng, context.log),
        announcements_("announcements", tables_.revisions),
        announcement_mirror_(
            mirror_of("announcements", std::string(announce::kAnnouncementsPrefix)), context.kv,
            announcements_.take_writer("store"), announce::decode_announcement, context.tasks,
            context.clock, context.rng, context.log),
        claim_mirror_(mirror_of("claims", std::string(records::kClaimsPrefix)), context.kv,
                      tables_.claims.take_writer("store"), records::decode_claim, context.tasks,
                      context.clock, context.rng, context.log),
        pool_block_mirror_(mirror_of("pool-blocks", std::string(records::kPoolBlocksPrefix)),
                           context.kv, tables_.pool_blocks.take_writer("store"),
                           records::decode_pool_block, context.tasks, context.clock, context.rng,
                           context.log),
        assigner_(config.cluster().name(), tables_, status_, context),
        janitor_({}, context.kv, context.tasks, context.clock, context.rng, context.log),
        sweep_(janitor_, tables_, context),
        forgetter_({}, config.cluster().name(), tables_, janitor_, context),
        pools_(
            {}, tables_, [this] { return pool_uses(); }, status_, context),
        service_pools_(pools_, context),
        grants_(
            {}, config.cluster().name(), tables_.claims, [this] { return pools_of_clusters(); },
            status_, context),
        members_(
            fleet_settings(), context, [this](const FleetMember& member) { add_remote(member); },
            [this](const std::string& cluster) { remove_remote(cluster); },
            [this](std::set<std::string> names) {
              context_.tasks.spawn("forget clusters", forget_others(std::move(names)));
            }) {
    if (config.subsystems().mesh())
      sync_ =
          std::make_unique<ControllerSync>(sync_settings(), tables_, status_, context.kv, worker_,
                                           context.tasks, context.clock, context.rng, context.log);
  }

  void start() override {
    plan_.check_with([this](const Plan& plan) { return check_beside_pools(plan); });
    context_.tasks.spawn("plan", plan_.run());
    context_.tasks.spawn("mirror node-blocks", block_mirror_.run());
    context_.tasks.spawn("mirror nodes", node_mirror_.run());
    context_.tasks.spawn("mirror leases", lease_mirror_.run());
    context_.tasks.spawn("mirror node reach", reach_mirror_.run());
    context_.tasks.spawn("mirror announcements", announcement_mirror_.run());
    context_.tasks.spawn("mirror claims", claim_mirror_.run());
    context_.tasks.spawn("mirror pool blocks", pool_block_mirror_.run());
    context_.tasks.spawn("node blocks", assigner_.run());
    for (const PrefixFollower* follower :
         {&plan_.follower(), &block_mirror_.follower(), &node_mirror_.follower(),
          &lease_mirror_.follower(), &reach_mirror_.follower(), &claim_mirror_.follower(),
          &pool_block_mirror_.follower(), &announcement_mirror_.follower()})
      settling_.add(*follower);
    settling_.add_derivation("node blocks", [this] { return assigner_.idle(); });
    pools_.start(settling_);
    context_.tasks.spawn("claims janitor", janitor_.run());
    context_.tasks.spawn("sweep claims", sweep_.run());
    grants_.on_granted([this] { pools_.reconsider(); });
    grants_.start();
    if (!sync_) return;
    sync_->start();
    context_.tasks.spawn("load balancer pools", service_pools_.run(*sync_));
    context_.tasks.spawn("fleet", members_.run());
    settling_.add(members_.follower());
    for (const ReconcilerView* reconciler : sync_->reconcilers()) settling_.add(*reconciler);
    settling_.add_derivation("services", [this] { return sync_->idle(); });
  }

  ControllerTables& tables() override { return tables_; }
  Settling& settling() override { return settling_; }
  const Table<announce::Announcement>& announcements() override { return announcements_; }
  PlanKeeper& plan() override { return plan_; }
  FleetMembers& members() override { return members_; }
  const PoolKeeper& pools() const override { return pools_; }
  PoolGrants& grants() override { return grants_; }
  NodeForgetter& forgetter() override { return forgetter_; }
  ClaimJanitor& janitor() override { return janitor_; }
  ControllerSync* sync() override { return sync_.get(); }

 private:
  cilium::Origin origin() const {
    return {config_.cluster().name(), config_.cluster().id(),
            static_cast<int>(config_.cluster().identity_cluster_bits())};
  }
  std::string node_prefix() const {
    return cilium::keys::state_prefix(config_.cluster().name(), cilium::RecordKind::kNodes);
  }
  FleetSettings fleet_settings() const {
    return {config_.cluster().fleet(), config_.cluster().name(), config_.cluster().id(),
            config_.state_dir()};
  }
  ControllerSettings sync_settings() {
    ControllerSettings settings;
    settings.cluster = config_.cluster().name();
    settings.cluster_id = config_.cluster().id();
    settings.manifests = config_.controller().manifests();
    settings.foreign.network_policy = policy::parse_network_policy;
    settings.foreign.pool_object = parse_pool_object;
    settings.load_balancer_spans = [this] { return service_pools_.spans(); };
    settings.cluster_bits = static_cast<int>(config_.cluster().identity_cluster_bits());
    return settings;
  }

  Result<void> check_beside_pools(const Plan& plan) const {
    return check_plan_beside_pools(pools_.in_force(), blocks_of(plan));
  }

  std::optional<std::vector<PoolUse>> pool_uses() const {
    if (!tables_.claims.synced() || !tables_.pool_blocks.synced()) return std::nullopt;
    std::vector<PoolUse> uses;
    if (sync_) {
      auto of_services = service_pools_.uses(*sync_);
      if (!of_services) return std::nullopt;
      uses = std::move(*of_services);
    }
    auto granted = grants_.granted_to_others();
    if (!granted) return std::nullopt;
    std::ranges::move(*granted, std::back_inserter(uses));
    std::ranges::move(claimed_uses(tables_), std::back_inserter(uses));
    return uses;
  }

  std::vector<SharedPool> pools_of_clusters() {
    std::pair now(pools_.pools().revision(), pools_.reservations().revision());
    if (now != shared_at_) shared_pools_ = shared_pools(pools_.in_force());
    shared_at_ = now;
    return shared_pools_;
  }

  void add_remote(const FleetMember& member) {
    wanted_.insert_or_assign(member.name, member);
    if (settling_clusters_.insert(member.name).second)
      context_.tasks.spawn("cluster " + member.name, settle(member.name));
  }
  void remove_remote(const std::string& cluster) {
    wanted_.erase(cluster);
    if (settling_clusters_.insert(cluster).second)
      context_.tasks.spawn("cluster " + cluster, settle(cluster));
  }

  // Makes the link to one cluster what was said last; one at a time per cluster, until it is so.
  asio::awaitable<void> settle(std::string cluster) {
    std::uint32_t attempt = 0;
    while (!context_.tasks.cancelled()) {
      auto wanted = wanted_.find(cluster);
      std::optional<FleetMember> member;
      if (wanted != wanted_.end()) member = wanted->second;
      Result<void> done = co_await link(cluster, member);
      report_member(cluster, done ? "" : done.error().text());
      auto now = wanted_.find(cluster);
      bool same = member ? now != wanted_.end() && now->second == *member : now == wanted_.end();
      if (done && same) break;
      if (done) continue;
      Duration pause = backoff(attempt++, std::chrono::milliseconds(200), std::chrono::seconds(30),
                               context_.rng);
      if (auto slept = co_await context_.clock.sleep_for(pause); !slept) break;
    }
    settling_clusters_.erase(cluster);
  }

  // Nothing: the cluster has left. A link that is there already makes way for the new one.
  asio::awaitable<Result<void>> link(std::string cluster, std::optional<FleetMember> member) {
    if (!member) {
      co_await grants_.remove_remote(cluster);
      Result<void> removed = co_await sync_->remove_remote(cluster);
      if (!removed && removed.error().code != Code::kNotFound) co_return removed;
      if (removed) context_.log.info("cluster {} has left", cluster);
      co_return Result<void>{};
    }
    EtcdClientOptions options;
    for (const std::string& address : member->addresses)
      options.endpoints.push_back("https://" + address);
    // A connection that was cut is not waited for: its return is seen by a new one.
    options.keepalive_timeout = std::chrono::seconds(3);
    options.tls = TlsFiles{member->tls.certificate, member->tls.key, member->tls.ca};
    CO_TRY(grants, make_etcd_client(options, context_.tasks.executor()));
    CO_TRY(store, make_etcd_client(std::move(options), context_.tasks.executor()));
    co_await grants_.add_remote(member->name, std::move(grants));
    CO_TRY_OK(co_await sync_->replace_remote(member->name, member->id, std::move(store)));
    context_.log.info("joined with cluster {} ({})", member->name, member->id);
    co_return Result<void>{};
  }

  // Records of clusters that left while this controller was away.
  asio::awaitable<void> forget_others(std::set<std::string> members) {
    std::uint32_t attempt = 0;
    while (!context_.tasks.cancelled()) {
      auto gone = co_await sync_->forget_unknown_remotes(members);
      if (gone) {
        for (const std::string& cluster : *gone) context_.log.info("cluster {} has left", cluster);
        co_return;
      }
      context_.log.warning("records of clusters that left: {}", gone.error().text());
      Duration pause = backoff(attempt++, std::chrono::milliseconds(200), std::chrono::seconds(30),
                               context_.rng);
      if (auto slept = co_await context_.clock.sleep_for(pause); !slept) co_return;
    }
  }
  void report_member(const std::string& cluster, const std::string& error) {
    if (error.empty()) {
      status_.erase("fleet|" + cluster);
      return;
    }
    context_.log.error("cluster {}: {}", cluster, error);
    ReconcileStatus line{"fleet", cluster, ReconcileState::kError, 0, 1, error};
    status_.upsert(std::move(line));
  }

  const config::v1::DaemonConfig& config_;
  RoleContext context_;
  ControllerTables tables_;
  Settling settling_;
  Table<ReconcileStatus>::Writer status_;
  Worker worker_;
  PlanKeeper plan_;
  KvMirror<NodeBlock> block_mirror_;
  KvMirror<Node> node_mirror_;
  KvMirror<Attachment> lease_mirror_;
  KvMirror<NodeReach> reach_mirror_;
  Table<announce::Announcement> announcements_;
  KvMirror<announce::Announcement> announcement_mirror_;
  KvMirror<AddressClaim> claim_mirror_;
  KvMirror<PoolBlock> pool_block_mirror_;
  BlockAssigner assigner_;
  ClaimJanitor janitor_;
  ClaimSweep sweep_;
  NodeForgetter forgetter_;
  PoolKeeper pools_;
  LoadBalancerPools service_pools_;
  PoolGrants grants_;
  std::vector<SharedPool> shared_pools_;
  std::pair<std::uint64_t, std::uint64_t> shared_at_;  // revisions of pools and reservations
  FleetMembers members_;
  std::unique_ptr<ControllerSync> sync_;
  std::map<std::string, FleetMember> wanted_;  // clusters that should be linked
  std::set<std::string> settling_clusters_;
};

}  // namespace

Result<std::unique_ptr<Controller>> Controller::open(const config::v1::DaemonConfig& config,
                                                     RoleContext context) {
  return std::make_unique<RealController>(config, context);
}

}  // namespace tombolo
