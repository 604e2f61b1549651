// A tick judges, reports and asks; answers come in between.
#include "app/daemon/node_probes.h"

#include <set>

#include "core/metrics.h"
#include "core/records/records.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

constexpr std::string_view kCachedNodes = "cilium/cache/nodes/v1/";

MirrorOptions mirror_options() {
  MirrorOptions options;
  options.follow.name = "remote nodes";
  options.follow.prefix = kCachedNodes;
  return options;
}

// "cilium/cache/nodes/v1/CLUSTER/NODE". The id was checked when the record was copied.
Result<Node> decode_cached_node(const KeyValue& kv) {
  TRY(rest, cilium::name_in_key(kv.key, kCachedNodes));
  std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash == 0)
    return fail(Code::kInvalidArgument, "{}: no cluster in the key", kv.key);
  cilium::Origin origin{std::string(rest.substr(0, slash)), 0, 8};
  TRY(record, cilium::decode_node(kv.key, rest.substr(slash + 1), kv.value, origin));
  return cilium::node_row_of(record);
}

PublishOptions publish_options(const std::string& node) {
  PublishOptions options;
  options.name = "node-reach";
  options.prefix = fmt::format("{}{}/", records::kReachPrefix, node);
  options.leased = true;
  options.retry_cap = std::chrono::seconds(1);  // a loss must not wait for us
  return options;
}

LeaseKeeperOptions lease_options(std::chrono::seconds ttl) {
  LeaseKeeperOptions options;
  options.name = "node-reach";
  options.ttl = ttl;
  options.retry_cap = std::chrono::seconds(1);
  return options;
}

Result<std::optional<Put>> encode_reach(const NodeReach& reach) {
  std::optional<Put> put(Put{records::reach_key(reach), records::encode(reach), 0});
  return put;
}

void measure(const NodeReach& reach) {
  metrics::Labels labels{{"remote_cluster", reach.cluster}};
  metrics::gauge("tombolo_probe_asked_nodes", "Nodes of another cluster that this node asks",
                 labels)
      .set(reach.asked);
  metrics::gauge("tombolo_probe_answering_nodes", "Those of them that answer", labels)
      .set(reach.answered);
}

}  // namespace

NodeProbes::NodeProbes(NodeProbeSettings settings, Prober& prober, RevisionCounter& revisions,
                       Table<ReconcileStatus>::Writer status, RoleContext context)
    : settings_(std::move(settings)),
      prober_(prober),
      context_(context),
      nodes_("remote_nodes", revisions),
      mirror_(mirror_options(), context.kv, nodes_.take_writer("store"), decode_cached_node,
              context.tasks, context.clock, context.rng, context.log),
      changed_(nodes_.track({})),
      reports_("node_reach", revisions),
      writer_(reports_.take_writer("agent")),
      publication_(publish_options(settings_.node), reports_, status, encode_reach, context),
      lease_(lease_options(settings_.lease_ttl), context.kv, context.tasks, context.clock,
             context.rng, context.log) {
  lease_.on_grant([this](std::int64_t lease) { publication_.use_lease(lease); });
}

void NodeProbes::start(Settling& settling) {
  context_.tasks.spawn("mirror remote nodes", mirror_.run());
  context_.tasks.spawn("node reach lease", lease_.run());
  context_.tasks.spawn("node probes", run());
  publication_.start();
  settling.add(mirror_.follower());
}

asio::awaitable<void> NodeProbes::run() {
  MonotonicTime last = context_.clock.now();
  while (!context_.tasks.cancelled()) {
    MonotonicTime now = context_.clock.now();
    if (now - last > settings_.late)
      for (auto& [cluster, targets] : clusters_) targets.forgive(now);
    last = now;
    follow_nodes(now);
    probe(now);
    report();
    if (auto slept = co_await context_.clock.sleep_for(settings_.tick); !slept) co_return;
  }
}

void NodeProbes::follow_nodes(MonotonicTime now) {
  std::set<std::string> touched;
  for (const std::string& key : changed_->take()) touched.insert(key.substr(0, key.find('/')));
  for (const std::string& cluster : touched) {
    std::vector<Node> nodes;
    std::string prefix = cluster + "/";
    for (auto at = nodes_.rows().lower_bound(prefix);
         at != nodes_.rows().end() && at->first.starts_with(prefix); ++at)
      nodes.push_back(at->second.row);
    auto [targets, is_new] =
        clusters_.try_emplace(cluster, settings_.node, cluster, settings_.limits);
    targets->second.set_nodes(nodes, now);
    if (targets->second.empty()) clusters_.erase(targets);
  }
  if (nodes_.synced() && read_at_ == MonotonicTime{}) read_at_ = now;
}

void NodeProbes::probe(MonotonicTime now) {
  for (auto& [cluster, targets] : clusters_) {
    targets.judge(now);
    for (ProbeTargets::Question& question : targets.due(now))
      context_.tasks.spawn("probe " + question.node, ask(cluster, std::move(question)));
  }
}

asio::awaitable<void> NodeProbes::ask(std::string cluster, ProbeTargets::Question question) {
  Result<bool> answered = co_await prober_.answers(question.ip, settings_.limits.answer);
  if (context_.tasks.cancelled()) co_return;
  auto at = clusters_.find(cluster);
  if (at != clusters_.end()) at->second.note(question.node, answered, context_.clock.now());
}

void NodeProbes::report() {
  std::vector<NodeReach> rows;
  for (const auto& [cluster, targets] : clusters_)
    if (auto reach = targets.report()) rows.push_back(*reach);
  for (const NodeReach& reach : rows)
    if (const NodeReach* before = reports_.find(reach.key()); before == nullptr || *before != reach)
      measure(reach);
  writer_.replace_all(std::move(rows));
  // What an earlier life reported stands until each cluster can have been judged anew.
  bool judged = read_at_ != MonotonicTime{} &&
                context_.clock.now() - read_at_ > settings_.limits.silence + settings_.tick;
  if (judged) writer_.mark_synced();
}

}  // namespace tombolo
