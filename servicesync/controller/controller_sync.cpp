// The loop over the stages, and the calls from outside.
#include "servicesync/controller/controller_sync.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "servicesync/controller/parts.h"

namespace tombolo::controller {
namespace {

constexpr std::size_t kKeysPerTurn = 128;

}  // namespace

ControllerSync::ControllerSync(ControllerSettings settings, ControllerTables& tables,
                               Table<ReconcileStatus>::Writer status, Kv& own, Worker& worker,
                               TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
    : parts_(std::make_unique<Parts>(std::move(settings), tables, status, own, worker, tasks, clock,
                                     rng, std::move(log))) {}

ControllerSync::~ControllerSync() = default;

void ControllerSync::start() {
  Parts& p = *parts_;
  if (p.folder)
    p.tasks.spawn("manifest folder", p.folder->run());
  else
    p.catalog.mark_listed();
  p.tasks.spawn("identity mirror", p.identity_mirror.run());
  p.tasks.spawn("clusterip mirror", p.cluster_ip_mirror.run());
  p.tasks.spawn("clusterset mirror", p.clusterset_mirror.run());
  p.tasks.spawn("load balancer mirror", p.load_balancer_mirror.run());
  p.tasks.spawn("remote service mirror", p.remote_mirror.run());
  p.tasks.spawn("import mirror", p.import_mirror.run());
  p.tasks.spawn("remembered remotes mirror", p.remembered_mirror.run());
  p.tasks.spawn("identities", p.identities.run());
  p.tasks.spawn("clusterips", p.cluster_ips.run());
  p.tasks.spawn("clustersetips", p.clusterset_ips.run());
  p.tasks.spawn("load balancers", p.load_balancer_ips.run());
  p.tasks.spawn("derive", derive());
  p.announcer.start();
}

// Stages run in the order of the flow; one that is not ready holds back those behind it, so that
// nothing is derived from half of the truth.
asio::awaitable<void> ControllerSync::derive() {
  Parts& p = *parts_;
  while (!p.tasks.cancelled()) {
    p.deriving = true;
    if (p.plan->pending()) {
      p.plan->take();
      for (const auto& [name, link] : p.links) link->reconsider_addresses();
      p.cluster_ips.reconsider_all();
      p.clusterset_ips.reconsider_all();
      p.load_balancer_ips.reconsider_all();
    }
    bool more = false;
    bool all_ready = true;
    for (Stage* stage : p.stages) {
      if (!stage->ready()) {
        all_ready = false;
        break;
      }
      if (stage->step(kKeysPerTurn) == kKeysPerTurn) {
        more = true;
        break;
      }
    }
    if (more) {
      co_await asio::post(p.tasks.executor(), asio::use_awaitable);
      continue;
    }
    if (all_ready) {
      for (Stage* stage : p.stages) stage->settle();
      // That a table is synced now is news, too.
      if (std::ranges::any_of(p.stages, [](const Stage* stage) { return stage->pending(); }))
        continue;
    }
    p.deriving = false;
    if (auto woken = co_await p.changed.wait(); !woken) co_return;
  }
}

bool ControllerSync::idle() const {
  const Parts& p = *parts_;
  if (p.deriving) return false;
  for (const Stage* stage : p.stages)
    if (!stage->ready() || stage->pending()) return false;
  return !p.plan->pending();
}

Result<void> ControllerSync::add_remote(const std::string& name, std::uint32_t id,
                                        std::unique_ptr<Kv> store) {
  Parts& p = *parts_;
  if (name == p.settings.cluster || id == p.settings.cluster_id)
    return fail(Code::kInvalidArgument, "{} ({}) is this cluster's own name or id", name, id);
  if (p.links.contains(name)) return fail(Code::kAlreadyExists, "{} is linked already", name);
  if (p.tasks.cancelled()) return fail(Code::kCancelled, "the controller is stopping");
  mesh::RemoteOptions options;
  options.own_cluster = p.settings.cluster;
  options.own_id = p.settings.cluster_id;
  options.origin = {name, id, p.settings.cluster_bits};
  options.check_interval = p.settings.progress_interval / 4;
  options.silence = 3 * p.settings.progress_interval;
  options.retry_base = p.settings.retry_base;
  // Its return must not wait for us.
  options.retry_cap = std::min(p.settings.retry_cap, p.settings.progress_interval);
  options.steady = p.settings.progress_interval;
  options.progress_interval = p.settings.progress_interval;
  auto link = std::make_unique<mesh::RemoteLink>(options, std::move(store), p.mesh);
  link->start();
  p.links.emplace(name, std::move(link));
  return {};
}

// The stopped link. A shutdown ends the wait for its tasks: then it stays with the other parts,
// which outlive every task.
asio::awaitable<Result<std::unique_ptr<mesh::RemoteLink>>> ControllerSync::take_out(
    std::string name) {
  auto found = parts_->links.extract(name);
  if (found.empty()) co_return fail(Code::kNotFound, "{} is not linked", name);
  auto place = parts_->leaving.insert(parts_->leaving.end(), std::move(found.mapped()));
  co_await (*place)->stop();
  if (parts_->tasks.cancelled()) co_return fail(Code::kCancelled, "the controller is stopping");
  std::unique_ptr<mesh::RemoteLink> link = std::move(*place);
  parts_->leaving.erase(place);
  co_return link;
}

asio::awaitable<Result<void>> ControllerSync::remove_remote(std::string name) {
  CO_TRY(link, co_await take_out(name));
  Result<void> forgotten = co_await link->forget();
  // Stopped, but there for whoever tries again when the store takes writes.
  if (!forgotten) parts_->links.emplace(std::move(name), std::move(link));
  co_return forgotten;
}

asio::awaitable<Result<void>> ControllerSync::replace_remote(std::string name, std::uint32_t id,
                                                             std::unique_ptr<Kv> store) {
  auto known = parts_->links.find(name);
  if (known != parts_->links.end() && known->second->id() != id) {
    CO_TRY_OK(co_await remove_remote(name));
  }
  if (parts_->links.contains(name)) {
    CO_TRY_OK(co_await take_out(name));
  }
  co_return add_remote(name, id, std::move(store));
}

asio::awaitable<Result<std::vector<std::string>>> ControllerSync::forget_unknown_remotes(
    std::set<std::string> members) {
  Parts& p = *parts_;
  std::set<std::string> unknown;
  for (cilium::RecordKind kind : cilium::kRecordKinds) {
    std::string prefix = fmt::format("cilium/cache/{}/v1/", cilium::to_string(kind));
    RangeRequest request;
    request.key = prefix;
    request.range_end = prefix_end(prefix);
    request.limit = 1;
    request.keys_only = true;
    // One key tells the cluster; the next question begins behind all of its keys.
    while (true) {
      CO_TRY(page, co_await p.own.range(request));
      if (page.kvs.empty()) break;
      std::string_view rest = std::string_view(page.kvs.front().key).substr(prefix.size());
      std::string cluster(rest.substr(0, rest.find('/')));
      std::string below = fmt::format("{}{}/", prefix, cluster);
      if (!p.links.contains(cluster) && !members.contains(cluster)) {
        unknown.insert(cluster);
        Delete all{below, prefix_end(below)};
        CO_TRY_OK(co_await p.own.erase(std::move(all)));
      }
      request.key = std::max(prefix_end(below), page.kvs.front().key + '\0');
    }
  }
  for (const auto& [cluster, known] : p.inner.remembered_remotes.rows())
    if (!p.links.contains(cluster) && !members.contains(cluster)) unknown.insert(cluster);
  for (const std::string& cluster : unknown) {
    Delete state{fmt::format("{}{}", mesh::kRemotesPrefix, cluster), ""};
    CO_TRY_OK(co_await p.own.erase(std::move(state)));
  }
  // Every member is linked and its rows are there: what no row stands for may go.
  p.mesh.rows.mark_synced();
  p.configs.mark_synced();
  p.canaries.mark_synced();
  std::vector<std::string> names(unknown.begin(), unknown.end());
  co_return names;
}

asio::awaitable<Result<void>> ControllerSync::import_service(std::string name_space,
                                                             std::string name) {
  if (!is_dns_label(name_space) || !is_dns_label(name))
    co_return fail(Code::kInvalidArgument, "{}/{} is not NAMESPACE/NAME", name_space, name);
  Put put{std::string(keys::kImports) + object_key(name_space, name), "{}"};
  CO_TRY_OK(co_await parts_->own.put(std::move(put)));
  co_return Result<void>{};
}

asio::awaitable<Result<void>> ControllerSync::remove_import(std::string name_space,
                                                            std::string name) {
  Delete gone{std::string(keys::kImports) + object_key(name_space, name), ""};
  CO_TRY_OK(co_await parts_->own.erase(std::move(gone)));
  co_return Result<void>{};
}

Result<merge::Explanation> ControllerSync::explain(std::string_view name_space,
                                                   std::string_view name) const {
  return parts_->merge_stage.explain(object_key(name_space, name));
}

void ControllerSync::load_balancer_spans_changed() {
  parts_->load_balancer_ips.reconsider_all();
}

std::optional<std::vector<Ip>> ControllerSync::load_balancer_ips() const {
  const Table<AddressRecord>& records = parts_->inner.load_balancer_ips;
  if (!records.synced()) return std::nullopt;
  std::vector<Ip> ips;
  for (const auto& [key, row] : records.rows())
    ips.insert(ips.end(), row.row.ips.begin(), row.row.ips.end());
  return ips;
}

void ControllerSync::set_objects(const std::string& file, Result<manifests::Objects> objects) {
  parts_->catalog.set_file(file, std::move(objects));
}

std::vector<const ReconcilerView*> ControllerSync::reconcilers() const {
  return parts_->announcer.reconcilers();
}

}  // namespace tombolo::controller
