// Asks nodes of other clusters whether they live, and writes down what this node hears: the
// controller needs it to tell a cluster that is lost from one without its control plane.
//
//   cilium/cache/nodes/ -> remote nodes -> up to 3 targets per cluster -> Prober
//                                                  -> tombolo/v1/reach/NODE/CLUSTER
//
// The reports hang on a lease of the store: an agent that is gone says nothing any more. They are
// written when they change. Control thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "app/daemon/probe_targets.h"
#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "app/probe/probe.h"
#include "core/store/lease_keeper.h"
#include "core/store/mirror.h"
#include "core/tables.h"

namespace tombolo {

struct NodeProbeSettings {
  std::string node;  // our own
  ProbeLimits limits;
  Duration tick = std::chrono::milliseconds(250);
  // A tick that comes so late means that this process was stopped, not that others are silent.
  Duration late = std::chrono::seconds(1);
  std::chrono::seconds lease_ttl{15};
};

class NodeProbes {
 public:
  // `prober` outlives the tasks of the context's group.
  NodeProbes(NodeProbeSettings settings, Prober& prober, RevisionCounter& revisions,
             Table<ReconcileStatus>::Writer status, RoleContext context);
  void start(Settling& settling);

  const Table<Node>& remote_nodes() const { return nodes_; }
  const Table<NodeReach>& reports() const { return reports_; }

 private:
  asio::awaitable<void> run();
  void follow_nodes(MonotonicTime now);
  void probe(MonotonicTime now);
  asio::awaitable<void> ask(std::string cluster, ProbeTargets::Question question);
  void report();

  NodeProbeSettings settings_;
  Prober& prober_;
  RoleContext context_;
  Table<Node> nodes_;
  KvMirror<Node> mirror_;
  std::unique_ptr<Table<Node>::Tracker> changed_;
  Table<NodeReach> reports_;
  Table<NodeReach>::Writer writer_;
  Publication<NodeReach> publication_;
  LeaseKeeper lease_;
  std::map<std::string, ProbeTargets> clusters_;
  MonotonicTime read_at_{};  // when the nodes had been read; the epoch before
};

}  // namespace tombolo
