// Services of the fleet, from sources to store, in one object: what the controller role composes.
//
//   manifests -> namespaces, policies, pool_objects, pod_infos
//   manifests, attachments, plan -> workloads, services, slices ┐
//   other clusters' stores -> own store's cache -> remote services ┴-> merge -> frontends, records
//
// It writes the tables namespaces, policies, pool_objects, pod_infos, workloads, services,
// endpoint_slices, frontends and remote_clusters. It needs `attachments` and `plan_blocks` to be
// fed and marked synced by others: before that nothing is derived, so that a restart takes nothing
// away. Control thread.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/reconciler.h"
#include "core/tables.h"
#include "core/task_group.h"
#include "core/worker.h"
#include "servicesync/manifests/manifests.h"
#include "servicesync/merge/merge.h"

namespace tombolo::mesh {
class RemoteLink;
}

namespace tombolo::controller {

struct ControllerSettings {
  std::string cluster;
  std::uint32_t cluster_id = 0;
  std::string manifests;               // a folder; empty: none is watched, see set_objects()
  manifests::ForeignDecoders foreign;  // of manifests that siblings understand
  int cluster_bits = 8;                // of an identity's 24; 8 or 9 with Cilium
  bool namespaces_global = true;       // what a namespace without clustermesh.cilium.io/global is
  // Addresses for services of type LoadBalancer beside the plan's; see
  // load_balancer_spans_changed().
  std::function<std::vector<std::pair<Ip, Ip>>()> load_balancer_spans;  // first and last
  std::chrono::seconds lease_ttl{900};  // of what other clusters read
  Duration heartbeat = std::chrono::seconds(60);
  Duration identity_grace = std::chrono::minutes(10);
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
  Duration progress_interval = std::chrono::seconds(1);  // how often stores are asked for life
  Duration rescan = std::chrono::seconds(5);             // of the manifest folder
};

class ControllerSync {
 public:
  // Everything referred to outlives the tasks of the group.
  ControllerSync(ControllerSettings settings, ControllerTables& tables,
                 Table<ReconcileStatus>::Writer status, Kv& own, Worker& worker, TaskGroup& tasks,
                 Clock& clock, Rng& rng, Logger log);
  ~ControllerSync();
  ControllerSync(const ControllerSync&) = delete;
  ControllerSync& operator=(const ControllerSync&) = delete;

  void start();

  // Links another cluster; its store's connection becomes the link's. kAlreadyExists, and
  // kInvalidArgument for our own name or id.
  Result<void> add_remote(const std::string& name, std::uint32_t id, std::unique_ptr<Kv> store);
  // The other cluster has left for good: its records are removed. kNotFound.
  asio::awaitable<Result<void>> remove_remote(std::string name);
  // Links a cluster anew, through another connection, or for the first time. Its records stay until
  // the new link has listed what the cluster has; under another id they go first, for they name the
  // old one. The errors of add_remote.
  asio::awaitable<Result<void>> replace_remote(std::string name, std::uint32_t id,
                                               std::unique_ptr<Kv> store);
  // Removes the records of clusters that are not linked: call it once after the configured ones
  // were added. Returns their names.
  // Those in `members` are spared though they could not be linked.
  asio::awaitable<Result<std::vector<std::string>>> forget_unknown_remotes(
      std::set<std::string> members = {});

  // Imports by command. The names are checked; taking back what is not there succeeds.
  asio::awaitable<Result<void>> import_service(std::string name_space, std::string name);
  asio::awaitable<Result<void>> remove_import(std::string name_space, std::string name);
  // Why each backend is in or out, who won where clusters differ, where addresses come from.
  Result<merge::Explanation> explain(std::string_view name_space, std::string_view name) const;

  // What settings.load_balancer_spans answers has changed: who has no address may get one.
  void load_balancer_spans_changed();
  // Every address that the store holds for a service of type LoadBalancer; nullopt before it has
  // been listed.
  std::optional<std::vector<Ip>> load_balancer_ips() const;

  // Objects without a folder, as if they stood in a file of this name (for simulations and tests).
  void set_objects(const std::string& file, Result<manifests::Objects> objects);

  // For `tombolo wait`.
  std::vector<const ReconcilerView*> reconcilers() const;
  // Every change so far is derived; with reconcilers() settled it is also in the store.
  bool idle() const;

 private:
  struct Parts;
  asio::awaitable<void> derive();
  asio::awaitable<Result<std::unique_ptr<mesh::RemoteLink>>> take_out(std::string name);
  std::unique_ptr<Parts> parts_;
};

}  // namespace tombolo::controller
