// What an agent publishes about its node: the node record with its blocks and the leases of its
// interfaces. The records do not hang on a lease of the store: a controller that is away for long
// must not make a living node's pods unreachable. Control thread.
#pragma once

#include <memory>
#include <set>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo {

class NodeRecords {
 public:
  NodeRecords(const config::v1::DaemonConfig& config, AgentTables& tables,
              Table<ReconcileStatus>::Writer status, RoleContext context);
  ~NodeRecords();
  void start(Settling& settling);

 private:
  asio::awaitable<void> follow_blocks();
  void derive_node();
  bool in_use(const Prefix& prefix) const;

  const config::v1::DaemonConfig& config_;
  AgentTables& tables_;
  RoleContext context_;
  Signal changed_;
  std::unique_ptr<Table<NodeBlock>::Tracker> blocks_;
  std::set<Prefix> held_;
  PublishedTable<Node> node_;
  Publication<Attachment> leases_;
};

}  // namespace tombolo
