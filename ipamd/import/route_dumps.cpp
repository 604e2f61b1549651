// Route tables as routers print them: `ip -j route` (iproute2) and `aws ec2 describe-route-tables`.
#include <algorithm>
#include <array>

#include "ipamd/import/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostRoutes = 100'000;

// What no plan is about: loopback, link-local, multicast.
bool is_special(const Prefix& prefix) {
  static const std::array kSpecial{Prefix(Ip::v4(0x7f000000), 8),
                                   Prefix(Ip::v4(0xa9fe0000), 16),
                                   Prefix(Ip::v4(0xe0000000), 4),
                                   Prefix(Ip::v6(uint128{0xfe80} << 112), 10),
                                   Prefix(Ip::v6(uint128{0xff00} << 112), 8),
                                   Prefix(Ip::v6(1), 128)};
  return std::ranges::any_of(kSpecial, [&](const Prefix& each) { return each.contains(prefix); });
}

Result<Prefix> destination_at(const Cursor& cursor) {
  TRY(text, cursor.string());
  // iproute2 prints host routes without a length.
  if (text.find('/') != std::string::npos) return imports::prefix_at(cursor);
  auto ip = Ip::parse(text);
  if (!ip) return cursor.error(ip.error().what);
  return Prefix::host(*ip);
}

void keep(RouteFact route, std::vector<RouteFact>& routes) {
  if (route.destination.length() == 0 || is_special(route.destination)) return;
  routes.push_back(std::move(route));
}

Result<void> read_ip_route(const Cursor& entry, std::string_view name,
                           std::vector<RouteFact>& routes) {
  TRY_OK(entry.expect_object());
  TRY(type, entry["type"].string_or("unicast"));
  TRY(destination, entry["dst"].string());
  if (destination == "default" ||
      (type != "unicast" && type != "blackhole" && type != "unreachable" && type != "prohibit"))
    return {};
  RouteFact route;
  TRY(prefix, destination_at(entry["dst"]));
  route.destination = prefix;
  TRY(gateway, entry["gateway"].string_or(""));
  TRY(device, entry["dev"].string_or(""));
  TRY(scope, entry["scope"].string_or(""));
  TRY(protocol, entry["protocol"].string_or(""));
  route.connected = gateway.empty() && (scope == "link" || protocol == "kernel");
  route.via = gateway.empty() ? device : fmt::format("{} dev {}", gateway, device);
  if (type != "unicast") route.via = type;
  route.source = name;
  keep(std::move(route), routes);
  return {};
}

Result<void> read_aws_route(const Cursor& entry, std::string_view name,
                            std::vector<RouteFact>& routes) {
  TRY_OK(entry.expect_object());
  Cursor destination = entry["DestinationCidrBlock"];
  if (destination.is_null()) destination = entry["DestinationIpv6CidrBlock"];
  if (destination.is_null()) return {};  // a prefix list: its content is not in the dump
  RouteFact route;
  TRY(prefix, destination_at(destination));
  route.destination = prefix;
  for (const char* target : {"GatewayId", "TransitGatewayId", "VpcPeeringConnectionId",
                             "NetworkInterfaceId", "NatGatewayId", "InstanceId"}) {
    TRY(text, entry[target].string_or(""));
    if (!text.empty() && route.via.empty()) route.via = std::move(text);
  }
  route.connected = route.via == "local";
  route.source = name;
  keep(std::move(route), routes);
  return {};
}

}  // namespace

Result<std::vector<RouteFact>> read_route_dump(const json::value& document, std::string_view name) {
  DocumentPlace place{std::string(name), {}};
  Cursor root(document, place);
  std::vector<RouteFact> routes;
  if (root.is_array()) {
    if (root.size() > kMostRoutes)
      return root.error(fmt::format("{} routes; the limit is {}", root.size(), kMostRoutes));
    for (std::size_t i = 0; i < root.size(); ++i) {
      Cursor entry = root.at(i);
      TRY_OK(read_ip_route(entry, name, routes));
    }
    return routes;
  }
  Cursor tables = root["RouteTables"];
  if (!tables.present())
    return root.error("neither the output of ip -j route nor of aws ec2 describe-route-tables");
  TRY_OK(tables.expect_array());
  for (std::size_t i = 0; i < tables.size(); ++i) {
    Cursor list = tables.at(i);
    Cursor entries = list["Routes"];
    TRY_OK(entries.expect_array());
    if (routes.size() + entries.size() > kMostRoutes)
      return entries.error(fmt::format("more than {} routes", kMostRoutes));
    for (std::size_t j = 0; j < entries.size(); ++j) {
      Cursor entry = entries.at(j);
      TRY_OK(read_aws_route(entry, name, routes));
    }
  }
  return routes;
}

}  // namespace tombolo
