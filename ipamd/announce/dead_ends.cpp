// One unreachable host route per address.
#include <algorithm>

#include "ipamd/announce/announce.h"

namespace tombolo::announce {
namespace {

Route dead_end(const Prefix& destination) {
  Route route;
  route.destination = destination;
  route.protocol = kDeadEndRouteProtocol;
  route.unreachable = true;
  return route;
}

}  // namespace

asio::awaitable<Result<void>> DeadEnds::update(Answered row) {
  auto job = [net = &net_, ip = row.ip] { return net->replace_route(dead_end(Prefix::host(ip))); };
  co_return co_await worker_.run(std::move(job));
}

asio::awaitable<Result<void>> DeadEnds::erase(std::string key) {
  CO_TRY(ip, Ip::parse(key));
  auto job = [net = &net_, ip] { return net->delete_route(dead_end(Prefix::host(ip))); };
  co_return co_await worker_.run(std::move(job));
}

asio::awaitable<Result<void>> DeadEnds::prune(std::vector<Answered> rows) {
  std::set<Prefix> kept;
  for (const Answered& row : rows) kept.insert(Prefix::host(row.ip));
  auto job = [net = &net_, kept]() -> Result<void> {
    TRY(routes, net->list_routes(kDeadEndRouteProtocol));
    for (const Route& route : routes)
      if (!kept.contains(route.destination)) TRY_OK(net->delete_route(route));
    return {};
  };
  co_return co_await worker_.run(std::move(job));
}

}  // namespace tombolo::announce
