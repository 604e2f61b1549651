// Nodes as this node routes to them: with what of the pools they tell others to reach by them,
// beside their own blocks. Derivation; control thread.
//
//   nodes, routed (mirror), attachments -> Node rows --BlockRouteOperations--> kernel
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/tables.h"

namespace tombolo {

// tombolo/v1/routed/NODE/PREFIX: what this node has of the pools.
Result<std::optional<Put>> encode_routed(const NodeBlock& block);

class PoolRoutes {
 public:
  // `self`: the name of this node.
  PoolRoutes(std::string self, AgentTables& tables, RoleContext context);
  void start(Settling& settling);
  Table<Node>& nodes() { return nodes_; }

 private:
  asio::awaitable<void> run();
  void derive();
  std::set<Ip> own_addresses() const;

  std::string self_;
  AgentTables& tables_;
  RoleContext context_;
  Signal changed_;
  Table<Node> nodes_;
  Table<Node>::Writer writer_;
  std::unique_ptr<Table<Node>::Tracker> node_tracker_;
  std::unique_ptr<Table<NodeBlock>::Tracker> routed_tracker_;
  std::unique_ptr<Table<Attachment>::Tracker> attachment_tracker_;
};

}  // namespace tombolo
