// One set of routes per node row.
#include "ipamd/allocator/block_routes.h"

#include <algorithm>
#include <map>
#include <set>

namespace tombolo {

Result<std::vector<Route>> routes_because_of(const Node& node, const std::string& cluster,
                                             const std::string& self) {
  std::vector<Route> routes;
  if (node.cluster != cluster) return routes;
  for (const Prefix& block : node.pod_blocks) {
    Route route;
    route.destination = block;
    route.protocol = kBlockRouteProtocol;
    if (node.name == self) {
      route.unreachable = true;
      routes.push_back(std::move(route));
      continue;
    }
    auto hop = std::ranges::find_if(node.internal_ips,
                                    [&](const Ip& ip) { return ip.family() == block.family(); });
    if (hop == node.internal_ips.end())
      return fail(Code::kFailedPrecondition,
                  "node {} has the block {} but no internal {} address to reach it by", node.name,
                  block.str(), to_string(block.family()));
    route.via = *hop;
    routes.push_back(std::move(route));
  }
  return routes;
}

BlockRouteOperations::BlockRouteOperations(std::string cluster, std::string self, Net& net,
                                           Worker& worker)
    : cluster_(std::move(cluster)), self_(std::move(self)), net_(net), worker_(worker) {}

asio::awaitable<Result<void>> BlockRouteOperations::update(Node node) {
  CO_TRY(wanted, routes_because_of(node, cluster_, self_));
  std::string key = node.key();
  co_return co_await set_routes(std::move(key), std::move(wanted));
}

asio::awaitable<Result<void>> BlockRouteOperations::erase(std::string key) {
  std::vector<Route> none;
  co_return co_await set_routes(std::move(key), std::move(none));
}

asio::awaitable<Result<void>> BlockRouteOperations::set_routes(std::string key,
                                                               std::vector<Route> wanted) {
  // A destination that another node holds by now has that node's route, whichever was set last.
  std::map<Prefix, Route> of_others;
  for (const auto& [node, routes] : applied_)
    if (node != key)
      for (const auto& route : routes) of_others.emplace(route.destination, route);
  std::set<Prefix> kept;
  for (const auto& route : wanted) kept.insert(route.destination);
  std::vector<Route> stale = applied_[key];
  std::erase_if(stale, [&](const Route& route) { return kept.contains(route.destination); });
  std::vector<Route> again;
  std::erase_if(stale, [&](const Route& route) {
    auto other = of_others.find(route.destination);
    if (other == of_others.end()) return false;
    again.push_back(other->second);
    return true;
  });

  Net* net = &net_;
  auto job = [net, stale, again, wanted]() -> Result<void> {
    for (const auto& route : stale) TRY_OK(net->delete_route(route));
    for (const auto& route : again) TRY_OK(net->replace_route(route));
    for (const auto& route : wanted) TRY_OK(net->replace_route(route));
    return {};
  };
  CO_TRY_OK(co_await worker_.run(std::move(job)));
  if (wanted.empty())
    applied_.erase(key);
  else
    applied_[key] = std::move(wanted);
  co_return Result<void>{};
}

asio::awaitable<Result<void>> BlockRouteOperations::prune(std::vector<Node> nodes) {
  std::set<Prefix> held;
  for (const auto& node : nodes)
    if (node.cluster == cluster_) held.insert(node.pod_blocks.begin(), node.pod_blocks.end());
  Net* net = &net_;
  auto job = [net, held]() -> Result<void> {
    TRY(routes, net->list_routes(kBlockRouteProtocol));
    for (const auto& route : routes)
      if (!held.contains(route.destination)) TRY_OK(net->delete_route(route));
    return {};
  };
  co_return co_await worker_.run(std::move(job));
}

}  // namespace tombolo
