// A node is listed when it has a record or holds anything.
#include "app/daemon/handlers/nodes.h"

#include <map>

namespace tombolo {
namespace {

namespace api = admin::api;

class Nodes final : public admin::NodeHandlers {
 public:
  Nodes(DaemonView view, NodeForgetter& forgetter)
      : view_(std::move(view)), forgetter_(forgetter) {}

  admin::Answer<api::ListNodesResponse> list(api::ListNodesRequest, admin::Caller) override {
    std::map<std::string, api::NodeSummary> nodes;
    CO_TRY(living, co_await forgetter_.living());
    const ControllerTables& tables = *view_.controller;
    for (const auto& [key, versioned] : tables.nodes.rows()) {
      if (versioned.row.cluster != view_.config->cluster().name()) continue;
      for (const Ip& ip : versioned.row.internal_ips)
        nodes[versioned.row.name].add_addresses(ip.str());
      nodes[versioned.row.name];
    }
    for (const auto& [key, versioned] : tables.node_blocks.rows())
      nodes[versioned.row.node].add_blocks(versioned.row.prefix.str());
    for (const auto& [key, versioned] : tables.attachments.rows()) {
      auto& node = nodes[versioned.row.node];
      node.set_interfaces(node.interfaces() + 1);
    }
    for (const auto& [key, versioned] : tables.claims.rows()) {
      if (!versioned.row.held()) continue;
      auto& node = nodes[versioned.row.node];
      node.set_claims(node.claims() + 1);
    }
    for (const auto& [key, versioned] : tables.pool_blocks.rows()) {
      if (versioned.row.node.empty()) continue;
      auto& node = nodes[versioned.row.node];
      node.set_pool_blocks(node.pool_blocks() + 1);
    }
    api::ListNodesResponse response;
    for (auto& [name, node] : nodes) {
      node.set_name(name);
      node.set_alive(living.contains(name));
      *response.add_nodes() = std::move(node);
    }
    co_return response;
  }

  admin::Answer<api::ForgetNodeResponse> forget(api::ForgetNodeRequest request,
                                                admin::Caller) override {
    CO_TRY(held, forgetter_.holdings(request.node()));
    if (!request.dry_run()) {
      CO_TRY(given_up, co_await forgetter_.forget(request.node()));
      held = std::move(given_up);
    }
    api::ForgetNodeResponse response;
    response.set_node(request.node());
    response.set_forgotten(!request.dry_run());
    for (const NodeHolding& one : held) {
      auto* holding = response.add_holdings();
      holding->set_what(std::string(to_string(one.kind)));
      holding->set_name(one.name);
      holding->set_pool(one.pool);
      holding->set_whose(one.whose);
    }
    co_return response;
  }

 private:
  DaemonView view_;
  NodeForgetter& forgetter_;
};

}  // namespace

std::unique_ptr<admin::NodeHandlers> make_node_handlers(const DaemonView& view,
                                                        NodeForgetter& forgetter) {
  return std::make_unique<Nodes>(view, forgetter);
}

}  // namespace tombolo
