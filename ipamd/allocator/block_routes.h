// Routes of this node towards the pod blocks of the other nodes of its cluster, and a dead end for
// what nobody holds in its own block (else such packets would go back and forth between the node
// and its default router until their hop limit ends). Between clusters the fabric routes, as
// `tombolo plan routes` says. Control thread; the kernel's part on the worker.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/net.h"
#include "core/reconciler.h"
#include "core/tables.h"
#include "core/worker.h"

namespace tombolo {

// The routes that node `self` of `cluster` needs because of `node`: none for a node of another
// cluster, dead ends for itself, else one per block by the node's first internal address of that
// family. kFailedPrecondition when it has none.
Result<std::vector<Route>> routes_because_of(const Node& node, const std::string& cluster,
                                             const std::string& self);

// Applies them; prune removes routes of protocol kBlockRouteProtocol that no node stands for.
class BlockRouteOperations final : public ReconcileOperations<Node> {
 public:
  BlockRouteOperations(std::string cluster, std::string self, Net& net, Worker& worker);
  asio::awaitable<Result<void>> update(Node node) override;
  asio::awaitable<Result<void>> erase(std::string key) override;
  asio::awaitable<Result<void>> prune(std::vector<Node> nodes) override;

 private:
  asio::awaitable<Result<void>> set_routes(std::string key, std::vector<Route> wanted);

  std::string cluster_;
  std::string self_;
  Net& net_;
  Worker& worker_;
  std::map<std::string, std::vector<Route>> applied_;  // by node
};

}  // namespace tombolo
