// Gives every node of the cluster its blocks of pod addresses: nodes and plan in,
// `tombolo/v1/blocks/` out. A block is created in the store only where there is none, so that two
// controllers cannot give one to two nodes, and it is seen by the tables (and so by the node) only
// when it is durable. Controller; control thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/daemon/published.h"
#include "core/tables.h"

namespace tombolo {

class BlockAssigner {
 public:
  // Reads the tables of `tables`; the mirror of the store writes `node_blocks`.
  BlockAssigner(std::string cluster, ControllerTables& tables,
                Table<ReconcileStatus>::Writer status, RoleContext context);
  // Until the task group is cancelled.
  asio::awaitable<void> run();
  bool idle() const { return !working_ && !failed_ && !pending(); }

 private:
  bool pending() const;
  asio::awaitable<Result<void>> assign();
  asio::awaitable<Result<void>> create(NodeBlock block);

  std::string cluster_;
  ControllerTables& tables_;
  Table<ReconcileStatus>::Writer status_;
  RoleContext context_;
  Signal changed_;
  std::unique_ptr<Table<Node>::Tracker> nodes_;
  std::unique_ptr<Table<PlanBlock>::Tracker> plan_;
  std::unique_ptr<Table<NodeBlock>::Tracker> blocks_;
  std::map<std::string, NodeBlock> created_;  // until the mirror of the store shows them
  bool working_ = false;
  bool failed_ = false;
  bool changed_again_ = false;
};

}  // namespace tombolo
