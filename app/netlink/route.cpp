// Routes of the main table: replace, delete, list. Any thread.
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/nexthop.h>

#include "app/netlink/internal.h"

namespace tombolo::netlink {
namespace {

// Beyond the kernel's own metrics (0 for IPv4, 1024 for IPv6) and those that daemons give.
constexpr std::uint32_t kBehind = 4096;

int family_number(Family family) {
  return family == Family::kV4 ? AF_INET : AF_INET6;
}

Result<RouteObject> route_object(nl_sock* socket, const Route& route) {
  RouteObject object(rtnl_route_alloc());
  Address destination = ip_address(route.destination.base(), route.destination.length());
  rtnl_route_set_family(object.get(),
                        static_cast<std::uint8_t>(family_number(route.destination.family())));
  rtnl_route_set_table(object.get(), RT_TABLE_MAIN);
  rtnl_route_set_protocol(object.get(), route.protocol == 0 ? RTPROT_BOOT : route.protocol);
  rtnl_route_set_type(object.get(), route.unreachable ? RTN_UNREACHABLE : RTN_UNICAST);
  bool direct = !route.via && !route.unreachable && route.destination.family() == Family::kV4;
  rtnl_route_set_scope(object.get(), direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  rtnl_route_set_dst(object.get(), destination.get());
  if (route.unreachable) return object;
  // The next hop belongs to the route once it is added to it.
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_add_nexthop(object.get(), hop);
  if (route.via) {
    Address via = ip_address(*route.via, bits_of(route.via->family()));
    rtnl_route_nh_set_gateway(hop, via.get());
  }
  if (route.on_link) rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
  if (!route.interface_name.empty()) {
    TRY(link, find_link(socket, route.interface_name));
    rtnl_route_nh_set_ifindex(hop, rtnl_link_get_ifindex(link.get()));
  }
  return object;
}

std::string route_text(const Route& route) {
  return fmt::format("{}{}{}{}", route.unreachable ? "unreachable " : "", route.destination.str(),
                     route.via ? " via " + route.via->str() : std::string(),
                     route.interface_name.empty() ? "" : " dev " + route.interface_name);
}

// Nothing for a route of another kind (multipath, blackhole, other tables).
std::optional<Route> read_route(rtnl_route* object, int interface_index) {
  if (rtnl_route_get_table(object) != RT_TABLE_MAIN) return std::nullopt;
  Route route;
  nl_addr* destination = rtnl_route_get_dst(object);
  Family family = rtnl_route_get_family(object) == AF_INET ? Family::kV4 : Family::kV6;
  if (auto ip = destination == nullptr ? std::nullopt : ip_of(destination))
    route.destination = Prefix(ip->ip, ip->prefix_length);
  else
    route.destination = Prefix(Ip(family, 0), 0);
  route.protocol = rtnl_route_get_protocol(object);
  if (rtnl_route_get_type(object) == RTN_UNREACHABLE && interface_index == 0) {
    route.unreachable = true;
    return route;
  }
  if (rtnl_route_get_type(object) != RTN_UNICAST || rtnl_route_get_nnexthops(object) != 1)
    return std::nullopt;
  rtnl_nexthop* hop = rtnl_route_nexthop_n(object, 0);
  int index = rtnl_route_nh_get_ifindex(hop);
  if (interface_index != 0 && index != interface_index) return std::nullopt;
  if (nl_addr* gateway = rtnl_route_nh_get_gateway(hop))
    if (auto ip = ip_of(gateway)) route.via = ip->ip;
  std::array<char, IF_NAMESIZE> name{};
  if (if_indextoname(static_cast<unsigned>(index), name.data()) != nullptr)
    route.interface_name = name.data();
  route.on_link = (rtnl_route_nh_get_flags(hop) & RTNH_F_ONLINK) != 0;
  return route;
}

}  // namespace

Result<void> add_route(nl_sock* socket, const Route& route, bool replace) {
  TRY(object, route_object(socket, route));
  bool over = replace && !route.behind_others;
  int code = rtnl_route_add(socket, object.get(), over ? NLM_F_REPLACE : NLM_F_EXCL);
  if (code == -NLE_EXIST && route.behind_others) {
    auto index = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(object.get(), 0));
    rtnl_route_set_priority(object.get(), kBehind + static_cast<std::uint32_t>(index));
    code = rtnl_route_add(socket, object.get(), NLM_F_REPLACE);
  }
  if (code < 0)
    return std::unexpected(nl_error(code, fmt::format("set the route {}", route_text(route))));
  return {};
}

Result<void> remove_route(nl_sock* socket, const Route& route) {
  auto object = route_object(socket, route);
  if (!object) {
    // An interface that is gone has taken its routes with it.
    if (object.error().code == Code::kNotFound) return {};
    return std::unexpected(std::move(object).error());
  }
  int code = rtnl_route_delete(socket, object->get(), 0);
  // The kernel says ESRCH for a route that is not there, which libnl reads as "object not found".
  if (code < 0 && !is_absent(code))
    return std::unexpected(nl_error(code, fmt::format("delete the route {}", route_text(route))));
  return {};
}

Result<std::vector<Route>> read_routes(nl_sock* socket, std::uint8_t protocol,
                                       int interface_index) {
  nl_cache* dumped = nullptr;
  if (int code = rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &dumped); code < 0)
    return std::unexpected(nl_error(code, "list routes"));
  Cache cache(dumped);
  std::vector<Route> routes;
  for (nl_object* at = nl_cache_get_first(cache.get()); at != nullptr; at = nl_cache_get_next(at)) {
    auto route = read_route(reinterpret_cast<rtnl_route*>(at), interface_index);
    if (!route) continue;
    bool wanted = protocol == 0 ? route->protocol != RTPROT_KERNEL : route->protocol == protocol;
    if (wanted) routes.push_back(std::move(*route));
  }
  return routes;
}

}  // namespace tombolo::netlink
