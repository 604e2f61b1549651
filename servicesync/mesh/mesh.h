// The link to one other cluster: its store is read, each record is validated as its own, and the
// good ones are copied under cilium/cache/ of the own store, as Cilium's KVStoreMesh does. Source
// in the flow: remote store -> own store. Nothing is removed because the other cluster is away:
// only what its store says is gone. Control thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/store/mirror.h"
#include "core/store/publisher.h"
#include "servicesync/cilium/cilium.h"
#include "servicesync/mesh/judge.h"
#include "servicesync/mesh/link_metrics.h"

namespace tombolo::mesh {

// A key of the store as a row: what publishers make true.
struct StoreRecord {
  std::string store_key;
  std::string value;
  std::string key() const { return store_key; }
  bool operator==(const StoreRecord&) const = default;
};

struct RemoteOptions {
  std::string own_cluster;
  std::uint32_t own_id = 0;
  cilium::Origin origin;                              // who the other one must be
  Duration check_interval = std::chrono::seconds(1);  // of the row in remote_clusters
  Duration silence = std::chrono::seconds(3);         // unheard for so long is away or lost
  Duration steady = std::chrono::seconds(1);          // a lost one must answer for so long
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
  Duration progress_interval = std::chrono::seconds(1);
};

// What links share; it outlives them.
struct MeshContext {
  Kv& own;
  RevisionCounter& revisions;
  Table<RemoteCluster>::Writer rows;
  Table<ReconcileStatus>::Writer status;
  // Rows that say, to whoever reads our store as a KVStoreMesh, who is cached and complete:
  // cilium/cluster-config/REMOTE and cilium/synced/REMOTE/cilium/cache/….
  Table<StoreRecord>::Writer configs;
  Table<StoreRecord>::Writer canaries;
  Clock& clock;
  Rng& rng;
  Logger log;
  TaskGroup& tasks;  // the links' parent
  // What the agents hear of a cluster's nodes; empty: nobody asks.
  std::function<NodeAnswers(const std::string&)> nodes;
  // How the cluster stood when this controller last knew; nothing while that has not been read.
  std::function<std::optional<RemoteState>(const std::string&)> remembered;
  // What the plan gives to others than this cluster's pods and nodes: addresses there are refused.
  // Nothing: the plan is not known yet, and no addresses are read. No function: they may be any.
  std::function<std::optional<std::vector<Prefix>>(const std::string&)> planned_for_others;
};

// How a cluster stood, for the next life of this controller: tombolo/v1/remotes/CLUSTER.
inline constexpr std::string_view kRemotesPrefix = "tombolo/v1/remotes/";

class RemoteLink {
 public:
  RemoteLink(RemoteOptions options, std::unique_ptr<Kv> remote, MeshContext& context);
  ~RemoteLink();
  RemoteLink(const RemoteLink&) = delete;
  RemoteLink& operator=(const RemoteLink&) = delete;

  void start();
  // Ends every task of the link; the copies stay. Call it before the destructor.
  asio::awaitable<void> stop();
  // The plan has changed: addresses that it refused may be good now.
  void reconsider_addresses();
  // Removes the copies from the own store and the row: the cluster has left for good. After stop().
  asio::awaitable<Result<void>> forget();

  const std::string& name() const { return options_.origin.cluster; }
  std::uint32_t id() const { return options_.origin.id; }
  RemoteCluster row() const;

 private:
  class Follower;
  struct Copy;
  void take_config(const KeyValue& kv);
  void start_copies();
  Result<void> check_planned(const std::string& key, std::string_view address) const;
  asio::awaitable<void> watch_state();
  FollowOptions follow(std::string what, std::string prefix) const;
  bool wanted(cilium::RecordKind kind) const;
  void listen();
  void decide();
  asio::awaitable<void> remember();

  RemoteOptions options_;
  std::unique_ptr<Kv> remote_;
  MeshContext& context_;
  Logger log_;
  TaskGroup tasks_;
  std::optional<cilium::ClusterConfig> config_;
  std::string config_error_ = "not connected yet";
  std::set<std::string> canaries_;
  std::unique_ptr<Follower> config_follower_;
  std::unique_ptr<Follower> canary_follower_;
  std::map<cilium::RecordKind, std::unique_ptr<Copy>> copies_;
  MonotonicTime started_{};
  MonotonicTime heard_{};
  MonotonicTime steady_since_{};  // it answers since then without a silence
  WallTime heard_wall_{};
  NodeAnswers nodes_;            // what the agents said at the last tick
  MonotonicTime nodes_since_{};  // they have said so, or better, since then
  LinkMetrics measured_;
  RemoteState state_ = RemoteState::kConnecting;
  RemoteState kept_ = RemoteState::kConnecting;  // what the store has
};

}  // namespace tombolo::mesh
