// Publishers, the lease they share, the heartbeat and the canaries.
#include "servicesync/controller/announcer.h"

#include "core/records/records.h"

namespace tombolo::controller {

using cilium::RecordKind;

template <class Row>
struct Announcer::Channel {
  KvPublisher<Row> publisher;
  Reconciler<Row> reconciler;
  bool leased;
  Channel(PublishOptions options, Kv& kv, Table<Row>& table,
          typename KvPublisher<Row>::Encode encode, Table<ReconcileStatus>::Writer status,
          TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
      : publisher(options, kv, std::move(encode), tasks, clock, rng, log),
        reconciler({options.name, options.retry_base, options.retry_cap}, table, publisher, status,
                   tasks, clock, rng, log),
        leased(options.leased) {}
  void start(TaskGroup& tasks, LeaseKeeper& lease) {
    if (leased) lease.on_grant([this](std::int64_t id) { publisher.use_lease(id); });
    tasks.spawn(reconciler.name() + " keys", publisher.run());
    tasks.spawn(reconciler.name(), reconciler.run());
  }
};

Announcer::Announcer(AnnouncerOptions options, Kv& kv, ControllerTables& tables, InnerTables& inner,
                     Table<StoreRecord>::Writer configs, Table<StoreRecord>::Writer canaries,
                     Table<ReconcileStatus>::Writer status, TaskGroup& tasks, Clock& clock,
                     Rng& rng, Logger log)
    : options_(std::move(options)),
      kv_(kv),
      inner_(inner),
      configs_(configs),
      canaries_(canaries),
      status_(status),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      log_(log.with("part", "announcer")),
      lease_({"published", options_.lease_ttl, options_.retry_base, options_.retry_cap}, kv, tasks,
             clock, rng, log) {
  PublishOptions publish;
  publish.name = "frontends";
  publish.prefix = records::kFrontendsPrefix;
  publish.retry_base = options_.retry_base;
  publish.retry_cap = options_.retry_cap;
  auto encode = [](const Frontend& frontend) -> Result<std::optional<Put>> {
    return std::optional<Put>(Put{records::frontend_key(frontend), records::encode(frontend)});
  };
  frontends_ = std::make_unique<Channel<Frontend>>(publish, kv_, tables.frontends, encode, status_,
                                                   tasks_, clock_, rng_, log_);
  publish.name = "policies";
  publish.prefix = records::kPoliciesPrefix;
  auto encode_policy = [](const Policy& policy) -> Result<std::optional<Put>> {
    return std::optional<Put>(Put{records::policy_key(policy), records::encode(policy)});
  };
  policies_ = std::make_unique<Channel<Policy>>(publish, kv_, tables.policies, encode_policy,
                                                status_, tasks_, clock_, rng_, log_);
  const std::string& cluster = options_.origin.cluster;
  workloads_ = channel("workloads", std::string(keys::kWorkloads), false, inner_.workload_records);
  services_ = channel("services", cilium::keys::state_prefix(cluster, RecordKind::kServices), true,
                      inner_.published);
  exports_ =
      channel("service exports", cilium::keys::state_prefix(cluster, RecordKind::kServiceExports),
              true, inner_.exports);
  config_keys_ = channel("cluster configs", "cilium/cluster-config/", true, inner_.configs);
  canary_keys_ = channel("canaries", "cilium/synced/", true, inner_.canaries);
}

Announcer::~Announcer() = default;

std::unique_ptr<Announcer::Channel<StoreRecord>> Announcer::channel(const std::string& name,
                                                                    std::string prefix, bool leased,
                                                                    Table<StoreRecord>& table) {
  PublishOptions publish;
  publish.name = name;
  publish.prefix = std::move(prefix);
  publish.leased = leased;
  publish.retry_base = options_.retry_base;
  publish.retry_cap = options_.retry_cap;
  auto encode = [](const StoreRecord& row) -> Result<std::optional<Put>> {
    return std::optional<Put>(Put{row.store_key, row.value});
  };
  return std::make_unique<Channel<StoreRecord>>(publish, kv_, table, encode, status_, tasks_,
                                                clock_, rng_, log_);
}

void Announcer::start() {
  cilium::ClusterConfig config;
  config.id = options_.origin.id;
  config.synced_canaries = true;
  config.max_clusters = (1U << options_.origin.cluster_bits) - 1;
  config.service_exports = true;
  configs_.upsert({cilium::keys::cluster_config(options_.origin.cluster), cilium::encode(config)});
  frontends_->start(tasks_, lease_);
  policies_->start(tasks_, lease_);
  for (auto* part : {&workloads_, &services_, &exports_, &config_keys_, &canary_keys_})
    (*part)->start(tasks_, lease_);
  tasks_.spawn("published lease", lease_.run());
  tasks_.spawn("heartbeat", beat());
  tasks_.spawn("canaries", raise_canaries());
}

std::vector<const ReconcilerView*> Announcer::reconcilers() const {
  return {&frontends_->reconciler, &policies_->reconciler, &workloads_->reconciler,
          &services_->reconciler, &exports_->reconciler};
}

asio::awaitable<void> Announcer::beat() {
  std::uint32_t attempts = 0;
  while (!tasks_.cancelled()) {
    Duration pause = options_.retry_base;
    if (lease_.lease() != 0) {
      Put put{std::string(cilium::keys::kHeartbeat), format_rfc3339(clock_.wall_now()),
              lease_.lease()};
      auto written = co_await kv_.put(std::move(put));
      if (tasks_.cancelled()) co_return;
      if (!written && attempts == 0) log_.warning("heartbeat: {}", written.error().text());
      pause = written ? options_.heartbeat
                      : backoff(attempts, options_.retry_base, options_.retry_cap, rng_);
      attempts = written ? 0 : attempts + 1;
    }
    if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
  }
}

// A canary says that a prefix is complete. Nodes and addresses are the agents' own records: they
// outlive the controller, so they are complete when the identities that they name are.
asio::awaitable<void> Announcer::raise_canaries() {
  std::set<RecordKind> raised;
  while (raised.size() < cilium::kRecordKinds.size()) {
    auto complete = [&](RecordKind kind) {
      if (kind == RecordKind::kServices) return services_->reconciler.settled();
      if (kind == RecordKind::kServiceExports) return exports_->reconciler.settled();
      if (!inner_.identity_wants.synced() || !inner_.identities.synced()) return false;
      for (const auto& [labels, row] : inner_.identity_wants.rows())
        if (inner_.identities.find(labels) == nullptr) return false;
      return true;
    };
    for (RecordKind kind : cilium::kRecordKinds) {
      if (raised.contains(kind) || !complete(kind)) continue;
      canaries_.upsert(
          {cilium::keys::synced(options_.origin.cluster, kind), format_rfc3339(clock_.wall_now())});
      raised.insert(kind);
    }
    if (auto slept = co_await clock_.sleep_for(options_.canary_check); !slept) co_return;
  }
}

}  // namespace tombolo::controller
