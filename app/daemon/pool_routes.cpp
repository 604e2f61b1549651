// Everything anew at each change: nodes and addresses of pools are few against pods.
#include "app/daemon/pool_routes.h"

#include <algorithm>

#include "core/records/records.h"

namespace tombolo {

Result<std::optional<Put>> encode_routed(const NodeBlock& block) {
  std::optional<Put> put(Put{records::routed_key(block), records::encode(block), 0});
  return put;
}

PoolRoutes::PoolRoutes(std::string self, AgentTables& tables, RoleContext context)
    : self_(std::move(self)),
      tables_(tables),
      context_(context),
      changed_(context.tasks.executor()),
      nodes_("routed_nodes", tables.revisions),
      writer_(nodes_.take_writer("pool routes")),
      node_tracker_(tables.nodes.track([this] { changed_.notify_all(); })),
      routed_tracker_(tables.routed.track([this] { changed_.notify_all(); })),
      attachment_tracker_(tables.attachments.track([this] { changed_.notify_all(); })) {}

void PoolRoutes::start(Settling& settling) {
  context_.tasks.spawn("pool routes", run());
  settling.add_derivation("pool routes", [this] {
    return !node_tracker_->pending() && !routed_tracker_->pending() &&
           !attachment_tracker_->pending();
  });
}

asio::awaitable<void> PoolRoutes::run() {
  while (!context_.tasks.cancelled()) {
    bool nodes_changed = node_tracker_->pending() || routed_tracker_->pending();
    node_tracker_->take();
    routed_tracker_->take();
    attachment_tracker_->take();
    // An interface that comes or goes here matters only where pools' addresses move.
    if (nodes_changed || !tables_.routed.rows().empty()) derive();
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

std::set<Ip> PoolRoutes::own_addresses() const {
  std::set<Ip> ips;
  for (const auto& [key, versioned] : tables_.attachments.rows())
    ips.insert(versioned.row.ips.begin(), versioned.row.ips.end());
  return ips;
}

void PoolRoutes::derive() {
  std::map<std::string, std::vector<Prefix>> by_node;
  std::set<Ip> own;
  if (!tables_.routed.rows().empty()) own = own_addresses();
  for (const auto& [key, versioned] : tables_.routed.rows()) {
    const NodeBlock& block = versioned.row;
    bool single = block.prefix.length() == bits_of(block.prefix.family());
    // An address that has come here is here, whatever its last node still says. This node's own
    // ones have the route to their interface.
    if (single && (block.node == self_ || own.contains(block.prefix.base()))) continue;
    by_node[block.node].push_back(block.prefix);
  }
  std::vector<Node> rows;
  for (const auto& [key, versioned] : tables_.nodes.rows()) {
    rows.push_back(versioned.row);
    auto at = by_node.find(versioned.row.name);
    if (at == by_node.end()) continue;
    std::vector<Prefix>& blocks = rows.back().pod_blocks;
    for (const Prefix& prefix : at->second)
      if (std::ranges::find(blocks, prefix) == blocks.end()) blocks.push_back(prefix);
  }
  writer_.replace_all(std::move(rows));
  // Before everything is known, routes may only look superfluous.
  if (tables_.nodes.synced() && tables_.routed.synced()) writer_.mark_synced();
}

}  // namespace tombolo
