// Routes that follow from node rows, and their reconciliation against a fake kernel.
#include "ipamd/allocator/block_routes.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <set>

namespace tombolo {
namespace {

Node node(const std::string& cluster, const std::string& name, std::vector<std::string> ips,
          std::vector<std::string> blocks) {
  Node row;
  row.cluster = cluster;
  row.name = name;
  for (const auto& ip : ips) row.internal_ips.push_back(Ip::parse(ip).value());
  for (const auto& block : blocks) row.pod_blocks.push_back(Prefix::parse(block).value());
  return row;
}

// Only routes: the rest is not used here.
class RoutesOnly final : public Net {
 public:
  std::map<std::pair<Prefix, std::uint8_t>, Route> routes;
  Result<void> create_veth(const VethSpec&) override { return unexpected(); }
  Result<void> set_up_interface(const NetnsPath&, const InterfaceSetup&) override {
    return unexpected();
  }
  Result<InterfaceState> read_interface(const NetnsPath&, const std::string&) override {
    return unexpected();
  }
  Result<void> delete_link(const std::string&) override { return unexpected(); }
  Result<std::vector<LinkState>> list_links(const std::string&) override { return unexpected(); }
  Result<std::uint64_t> netns_number(const NetnsPath&) override { return unexpected(); }
  Result<LinkState> veth_end_on_node(const NetnsPath&, const std::string&) override {
    return unexpected();
  }
  Result<std::set<Ip>> addresses_everywhere() override { return unexpected(); }
  Result<std::set<std::uint64_t>> occupied_namespaces() override { return unexpected(); }
  Result<void> replace_route(const Route& route) override {
    routes[{route.destination, route.protocol}] = route;
    return {};
  }
  Result<void> delete_route(const Route& route) override {
    routes.erase({route.destination, route.protocol});
    return {};
  }
  Result<std::vector<Route>> list_routes(std::uint8_t protocol) override {
    std::vector<Route> result;
    for (const auto& [key, route] : routes)
      if (key.second == protocol) result.push_back(route);
    return result;
  }
  Result<std::uint32_t> uplink_mtu(const std::string&) override { return unexpected(); }
  Result<void> enable_forwarding() override { return unexpected(); }
  Result<bool> forwards() override { return unexpected(); }

  std::set<std::string> texts() const {
    std::set<std::string> result;
    for (const auto& [key, route] : routes)
      result.insert(fmt::format("{} {}", route.destination.str(),
                                route.unreachable ? "unreachable" : route.via->str()));
    return result;
  }

 private:
  static std::unexpected<Error> unexpected() { return fail(Code::kInternal, "not routes"); }
};

template <class T>
T run(asio::awaitable<T> task) {
  asio::io_context context;
  std::optional<T> result;
  auto body = [](asio::awaitable<T> inner, std::optional<T>& out) -> asio::awaitable<void> {
    out.emplace(co_await std::move(inner));
  };
  asio::co_spawn(context, body(std::move(task), result), asio::detached);
  auto guard = asio::make_work_guard(context);
  while (!result) context.run_one();
  return std::move(*result);
}

TEST_CASE("routes follow from a node") {
  auto other = routes_because_of(
      node("east", "b", {"192.168.0.2", "fd01::2"}, {"10.0.1.0/24", "fd00:1::/64"}), "east", "a");
  REQUIRE(other.value().size() == 2);
  REQUIRE(other->at(0).via == Ip::parse("192.168.0.2").value());
  REQUIRE(other->at(1).via == Ip::parse("fd01::2").value());
  REQUIRE(other->at(0).protocol == kBlockRouteProtocol);
  auto own = routes_because_of(node("east", "a", {}, {"10.0.0.0/24"}), "east", "a");
  REQUIRE(own.value().at(0).unreachable);
  REQUIRE(routes_because_of(node("west", "b", {}, {"10.2.0.0/24"}), "east", "a").value().empty());
  auto lacking =
      routes_because_of(node("east", "b", {"192.168.0.2"}, {"fd00:1::/64"}), "east", "a");
  REQUIRE(lacking.error().what ==
          "node b has the block fd00:1::/64 but no internal IPv6 address to reach it by");
}

TEST_CASE("the kernel's routes follow the rows; routes of others stay") {
  RoutesOnly net;
  Worker worker;
  BlockRouteOperations operations("east", "a", net, worker);
  Route foreign{Prefix::parse("10.0.9.0/24").value(), Ip::parse("192.168.0.9").value(), "", false,
                3};
  Route left_over = foreign;
  left_over.protocol = kBlockRouteProtocol;
  left_over.destination = Prefix::parse("10.0.8.0/24").value();
  for (const auto& route : {foreign, left_over}) REQUIRE(net.replace_route(route));

  std::vector<Node> rows{node("east", "a", {"192.168.0.1"}, {"10.0.0.0/24"}),
                         node("east", "b", {"192.168.0.2"}, {"10.0.1.0/24", "10.0.2.0/24"}),
                         node("west", "c", {"192.168.1.1"}, {"10.7.0.0/24"})};
  for (const auto& row : rows) REQUIRE(run(operations.update(row)));
  REQUIRE(run(operations.prune(rows)));
  REQUIRE(net.texts() == std::set<std::string>{"10.0.0.0/24 unreachable", "10.0.1.0/24 192.168.0.2",
                                               "10.0.2.0/24 192.168.0.2",
                                               "10.0.9.0/24 192.168.0.9"});
  // A block moves to a new node; the order of the two changes does not matter.
  REQUIRE(run(operations.update(node("east", "d", {"192.168.0.4"}, {"10.0.2.0/24"}))));
  // Not even when the old one speaks of it once more.
  REQUIRE(
      run(operations.update(node("east", "b", {"192.168.0.3"}, {"10.0.1.0/24", "10.0.2.0/24"}))));
  REQUIRE(run(operations.update(node("east", "b", {"192.168.0.3"}, {"10.0.1.0/24"}))));
  REQUIRE(net.texts() == std::set<std::string>{"10.0.0.0/24 unreachable", "10.0.1.0/24 192.168.0.3",
                                               "10.0.2.0/24 192.168.0.4",
                                               "10.0.9.0/24 192.168.0.9"});
  REQUIRE(run(operations.erase("east/b")));
  REQUIRE(run(operations.erase("east/b")));
  REQUIRE(net.texts() == std::set<std::string>{"10.0.0.0/24 unreachable", "10.0.2.0/24 192.168.0.4",
                                               "10.0.9.0/24 192.168.0.9"});
}

}  // namespace
}  // namespace tombolo
