// Configuration, canaries, then one copy per kind of record.
#include "servicesync/mesh/mesh.h"

namespace tombolo::mesh {

using cilium::RecordKind;

// A prefix follower that hands everything to functions.
class RemoteLink::Follower final : private FollowHandler {
 public:
  Follower(FollowOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng, Logger log,
           std::function<void(const KeyValue&)> put, std::function<void(const std::string&)> gone,
           std::function<void(const std::set<std::string>&)> listed)
      : put_(std::move(put)),
        gone_(std::move(gone)),
        listed_(std::move(listed)),
        follower_(std::move(options), kv, *this, tasks, clock, rng, std::move(log)) {}
  const PrefixFollower& state() const { return follower_; }
  asio::awaitable<void> run() { return follower_.run(); }

 private:
  void on_put(const KeyValue& kv) override { put_(kv); }
  void on_delete(const std::string& key) override { gone_(key); }
  void on_listed(const std::set<std::string>& keys) override { listed_(keys); }

  std::function<void(const KeyValue&)> put_;
  std::function<void(const std::string&)> gone_;
  std::function<void(const std::set<std::string>&)> listed_;
  PrefixFollower follower_;
};

// One kind of record: remote prefix -> table -> own prefix. The table is synced, and so the own
// prefix pruned, only once the remote store has been listed.
struct RemoteLink::Copy {
  Table<StoreRecord> table;
  KvMirror<StoreRecord> mirror;
  KvPublisher<StoreRecord> publisher;
  Reconciler<StoreRecord> reconciler;

  Copy(const std::string& name, MirrorOptions mirror_options, PublishOptions publish_options,
       KvMirror<StoreRecord>::Decode decode, Kv& remote, MeshContext& context, TaskGroup& tasks)
      : table("cache " + name, context.revisions),
        mirror(std::move(mirror_options), remote, table.take_writer("mesh"), std::move(decode),
               tasks, context.clock, context.rng, context.log),
        publisher(
            std::move(publish_options), context.own,
            [](const StoreRecord& row) -> Result<std::optional<Put>> {
              return std::optional<Put>(Put{row.store_key, row.value});
            },
            tasks, context.clock, context.rng, context.log),
        reconciler({.name = "cache " + name}, table, publisher, context.status, tasks,
                   context.clock, context.rng, context.log) {}
};

RemoteLink::RemoteLink(RemoteOptions options, std::unique_ptr<Kv> remote, MeshContext& context)
    : options_(std::move(options)),
      remote_(std::move(remote)),
      context_(context),
      log_(context.log.with("remote", options_.origin.cluster)),
      tasks_(context.tasks),
      measured_(options_.origin.cluster) {
  std::string config_key = cilium::keys::cluster_config(name());
  config_follower_ = std::make_unique<Follower>(
      follow("config", config_key), *remote_, tasks_, context.clock, context.rng, context.log,
      [this, config_key](const KeyValue& kv) {
        if (kv.key == config_key) take_config(kv);
      },
      [this, config_key](const std::string& key) {
        if (key == config_key) config_error_ = fmt::format("{} was removed", key);
      },
      [this, config_key](const std::set<std::string>& keys) {
        if (!keys.contains(config_key)) config_error_ = fmt::format("{} is not there", config_key);
      });
  canary_follower_ = std::make_unique<Follower>(
      follow("canaries", fmt::format("cilium/synced/{}/", name())), *remote_, tasks_, context.clock,
      context.rng, context.log,
      [this](const KeyValue& kv) {
        canaries_.insert(kv.key);
        start_copies();
      },
      [this](const std::string& key) { canaries_.erase(key); },
      [this](const std::set<std::string>& keys) {
        std::erase_if(canaries_, [&](const std::string& key) { return !keys.contains(key); });
      });
}

RemoteLink::~RemoteLink() = default;

FollowOptions RemoteLink::follow(std::string what, std::string prefix) const {
  FollowOptions options;
  options.name = fmt::format("{} {}", name(), what);
  options.prefix = std::move(prefix);
  options.retry_base = options_.retry_base;
  options.retry_cap = options_.retry_cap;
  options.progress_interval = options_.progress_interval;
  return options;
}

void RemoteLink::start() {
  started_ = context_.clock.now();
  measured_.set_state(state_);
  context_.rows.upsert(row());
  tasks_.spawn(name() + " config", config_follower_->run());
  tasks_.spawn(name() + " canaries", canary_follower_->run());
  tasks_.spawn(name() + " state", watch_state());
}

asio::awaitable<void> RemoteLink::stop() {
  tasks_.cancel();
  co_await tasks_.join();
}

void RemoteLink::take_config(const KeyValue& kv) {
  auto config = cilium::decode_cluster_config(kv.key, kv.value);
  Result<void> fits;
  if (config)
    fits = cilium::check_compatible(kv.key, *config, options_.origin, options_.own_id);
  else
    fits = std::unexpected(config.error());
  if (!fits) {
    // The last good state stays: what is copied is still validated record by record.
    config_error_ = fits.error().what;
    log_.warning("refused {}", config_error_);
    return;
  }
  config_error_.clear();
  config_ = std::move(*config);
  cilium::ClusterConfig cached = *config_;
  cached.cached = true;
  context_.configs.upsert({cilium::keys::cluster_config(name()), cilium::encode(cached)});
  start_copies();
}

bool RemoteLink::wanted(RecordKind kind) const {
  return kind != RecordKind::kServiceExports || config_->service_exports.value_or(false);
}

void RemoteLink::start_copies() {
  if (!config_ || tasks_.cancelled()) return;
  for (RecordKind kind : cilium::kRecordKinds) {
    std::string canary = config_->cached ? cilium::keys::synced_cache(name(), kind)
                                         : cilium::keys::synced(name(), kind);
    bool complete = !config_->synced_canaries || canaries_.contains(canary);
    if (!wanted(kind) || !complete || copies_.contains(kind)) continue;
    if (kind == RecordKind::kIps && context_.planned_for_others &&
        !context_.planned_for_others(name()))
      continue;
    std::string source = config_->cached ? cilium::keys::cache_prefix(name(), kind)
                                         : cilium::keys::state_prefix(name(), kind);
    std::string target = cilium::keys::cache_prefix(name(), kind);
    std::string what = fmt::format("{}", cilium::to_string(kind));
    MirrorOptions mirror_options;
    mirror_options.follow = follow(what, source);
    mirror_options.on_synced = nullptr;
    PublishOptions publish_options;
    publish_options.name = fmt::format("cache {} {}", name(), what);
    publish_options.prefix = target;
    publish_options.retry_base = options_.retry_base;
    publish_options.retry_cap = options_.retry_cap;
    auto decode = [this, kind, source, target,
                   origin = options_.origin](const KeyValue& kv) -> Result<StoreRecord> {
      TRY(record, cilium::name_in_key(kv.key, source));
      if (kind == RecordKind::kIps) TRY_OK(check_planned(kv.key, record));
      TRY_OK(cilium::check_record(kind, kv.key, record, kv.value, origin));
      return StoreRecord{target + std::string(record), kv.value};
    };
    auto copy = std::make_unique<Copy>(fmt::format("{} {}", name(), what),
                                       std::move(mirror_options), std::move(publish_options),
                                       std::move(decode), *remote_, context_, tasks_);
    tasks_.spawn(name() + " mirror " + what, copy->mirror.run());
    tasks_.spawn(name() + " publish " + what, copy->publisher.run());
    tasks_.spawn(name() + " cache " + what, copy->reconciler.run());
    copies_.emplace(kind, std::move(copy));
  }
}

// `address` is the end of the key, an address or a range; what is neither is refused by its
// decoder.
Result<void> RemoteLink::check_planned(const std::string& key, std::string_view address) const {
  if (!context_.planned_for_others) return {};
  auto ranges = context_.planned_for_others(name());
  if (!ranges) return {};
  Prefix prefix;
  if (auto ip = Ip::parse(address))
    prefix = Prefix::host(*ip);
  else if (auto range = Prefix::parse(address))
    prefix = *range;
  else
    return {};
  if (std::ranges::none_of(*ranges, [&](const Prefix& one) { return one.overlaps(prefix); }))
    return {};
  return fail(Code::kFailedPrecondition, "{}: the plan gives {} to others than {}", key, address,
              name());
}

void RemoteLink::reconsider_addresses() {
  start_copies();
  auto copy = copies_.find(RecordKind::kIps);
  if (copy != copies_.end() && !copy->second->mirror.refused().empty())
    copy->second->mirror.relist();
}

RemoteCluster RemoteLink::row() const {
  RemoteCluster row;
  row.name = name();
  row.id = options_.origin.id;
  row.last_heard = heard_wall_;
  row.state = state_;
  const PrefixFollower& config = config_follower_->state();
  bool heard_lately =
      heard_ != MonotonicTime{} && context_.clock.now() - heard_ <= options_.silence;
  row.connected = config.watching() && heard_lately;
  row.synced = config_.has_value();
  row.error = config_error_;
  if (!config.last_error().empty()) row.error = config.last_error();
  std::size_t refused = 0;
  for (RecordKind kind : cilium::kRecordKinds) {
    if (!row.synced || !wanted(kind)) continue;
    auto copy = copies_.find(kind);
    if (copy == copies_.end()) {
      row.synced = false;
      if (row.error.empty())
        row.error = fmt::format("its {} are not complete yet", cilium::to_string(kind));
      continue;
    }
    const auto& mirror = copy->second->mirror;
    row.synced = row.synced && mirror.synced();
    refused += mirror.refused().size();
    if (row.error.empty() && !mirror.refused().empty())
      row.error = fmt::format("refused {}", mirror.refused().begin()->second);
  }
  if (refused > 1) row.error += fmt::format(" ({} records refused)", refused);
  return row;
}

// When its store last answered, on any of the connections.
void RemoteLink::listen() {
  MonotonicTime now = context_.clock.now();
  MonotonicTime heard =
      std::max(config_follower_->state().last_heard(), canary_follower_->state().last_heard());
  for (const auto& [kind, copy] : copies_) heard = std::max(heard, copy->mirror.last_heard());
  if (heard == heard_) return;
  bool was_silent = heard_ == MonotonicTime{} || heard - heard_ > options_.silence;
  if (was_silent) steady_since_ = now;
  heard_ = heard;
  // For people: whole seconds are enough, and spare the table a row per answer.
  WallTime wall = context_.clock.wall_now() - (now - heard);
  heard_wall_ = std::chrono::floor<std::chrono::seconds>(wall);
}

void RemoteLink::decide() {
  Evidence evidence;
  evidence.before = state_;
  if (evidence.before == RemoteState::kConnecting && context_.remembered)
    evidence.before = context_.remembered(name()).value_or(RemoteState::kConnecting);
  MonotonicTime now = context_.clock.now();
  evidence.heard = heard_ != MonotonicTime{};
  evidence.silent = now - (evidence.heard ? heard_ : started_);
  measured_.set_silence(evidence.silent);
  evidence.steady = evidence.heard ? now - steady_since_ : Duration{};
  RemoteCluster known = row();
  evidence.current = known.connected && known.synced;
  for (const auto& [kind, copy] : copies_)
    evidence.current = evidence.current && copy->mirror.watching();
  if (context_.nodes) evidence.nodes = context_.nodes(name());
  if (nodes_.answered == 0 || evidence.nodes.answered < nodes_.answered) nodes_since_ = now;
  nodes_ = evidence.nodes;
  evidence.nodes_steady = now - nodes_since_;
  RemoteState next = judge(evidence, {options_.silence, options_.steady});
  if (next == state_) return;
  log_.info("{} is {} (it was {})", name(), to_string(next), to_string(state_));
  state_ = next;
  measured_.set_state(state_);
  measured_.count_transition(state_);
}

// For the next life of this controller. Tried again with every tick until the store has it.
asio::awaitable<void> RemoteLink::remember() {
  if (state_ == kept_) co_return;
  RemoteState state = state_;
  Put put{fmt::format("{}{}", kRemotesPrefix, name()), std::string(to_string(state))};
  auto done = co_await context_.own.put(std::move(put));
  if (done)
    kept_ = state;
  else
    log_.warning("how {} stands is not kept: {}", name(), done.error().text());
}

asio::awaitable<void> RemoteLink::watch_state() {
  while (!tasks_.cancelled()) {
    listen();
    decide();
    for (const auto& [kind, copy] : copies_)
      if (copy->mirror.synced() && copy->reconciler.settled())
        context_.canaries.upsert(
            {cilium::keys::synced_cache(name(), kind), format_rfc3339(context_.clock.wall_now())});
    context_.rows.upsert(row());
    co_await remember();
    if (auto slept = co_await context_.clock.sleep_for(options_.check_interval); !slept) co_return;
  }
}

asio::awaitable<Result<void>> RemoteLink::forget() {
  for (RecordKind kind : cilium::kRecordKinds) {
    std::string prefix = cilium::keys::cache_prefix(name(), kind);
    Delete request{prefix, prefix_end(prefix)};
    CO_TRY_OK(co_await context_.own.erase(std::move(request)));
    context_.canaries.erase(cilium::keys::synced_cache(name(), kind));
  }
  measured_.clear();
  context_.configs.erase(cilium::keys::cluster_config(name()));
  Delete state{fmt::format("{}{}", kRemotesPrefix, name()), ""};
  CO_TRY_OK(co_await context_.own.erase(std::move(state)));
  context_.rows.erase(name());
  co_return Result<void>{};
}

}  // namespace tombolo::mesh
