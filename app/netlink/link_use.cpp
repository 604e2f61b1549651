// What the node needs an interface for: rtnetlink's links, addresses and routes of all tables. Any
// thread.
#include <linux/rtnetlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include "app/netlink/internal.h"

namespace tombolo::netlink {
namespace {

template <class Object>
std::string find_use(nl_cache* cache, std::string (*use)(Object*, int), int index) {
  for (nl_object* at = nl_cache_get_first(cache); at != nullptr; at = nl_cache_get_next(at))
    if (std::string text = use(reinterpret_cast<Object*>(at), index); !text.empty()) return text;
  return {};
}

// A VLAN, macvlan, … over it; the end of a veth pair is over nothing.
std::string use_by_link(rtnl_link* link, int index) {
  const char* kind = rtnl_link_get_type(link);
  bool over = rtnl_link_get_link(link) == index && rtnl_link_get_ifindex(link) != index &&
              kind != nullptr && std::string_view(kind) != "veth";
  return over ? fmt::format("{} is made over it", rtnl_link_get_name(link)) : std::string();
}

std::string use_by_address(rtnl_addr* address, int index) {
  if (rtnl_addr_get_ifindex(address) != index || rtnl_addr_get_scope(address) >= RT_SCOPE_LINK)
    return {};
  auto ip = ip_of(rtnl_addr_get_local(address));
  return ip ? fmt::format("it has the address {}", ip->ip.str()) : std::string();
}

std::string use_by_route(rtnl_route* route, int index) {
  if (rtnl_route_get_table(route) == RT_TABLE_LOCAL ||
      rtnl_route_get_protocol(route) == RTPROT_KERNEL || rtnl_route_get_type(route) != RTN_UNICAST)
    return {};
  for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
    if (rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, i)) != index) continue;
    nl_addr* destination = rtnl_route_get_dst(route);
    auto to = destination == nullptr ? std::nullopt : ip_of(destination);
    return to ? fmt::format("a route to {} leads out of it", to->str())
              : std::string("the node has a default route by it");
  }
  return {};
}

}  // namespace

Result<std::string> use_of_link(const std::string& name) {
  TRY(socket, open_socket());
  TRY(link, find_link(socket.get(), name));
  int index = rtnl_link_get_ifindex(link.get());
  if (rtnl_link_get_master(link.get()) != 0)
    return std::string("it is a port of another interface");
  nl_cache* dumped = nullptr;
  if (int code = rtnl_link_alloc_cache(socket.get(), AF_UNSPEC, &dumped); code < 0)
    return std::unexpected(nl_error(code, "list links"));
  Cache links(dumped);
  std::string use = find_use<rtnl_link>(links.get(), use_by_link, index);
  if (!use.empty()) return use;
  if (int code = rtnl_addr_alloc_cache(socket.get(), &dumped); code < 0)
    return std::unexpected(nl_error(code, "list addresses"));
  Cache addresses(dumped);
  use = find_use<rtnl_addr>(addresses.get(), use_by_address, index);
  if (!use.empty()) return use;
  if (int code = rtnl_route_alloc_cache(socket.get(), AF_UNSPEC, 0, &dumped); code < 0)
    return std::unexpected(nl_error(code, "list routes"));
  Cache routes(dumped);
  return find_use<rtnl_route>(routes.get(), use_by_route, index);
}

}  // namespace tombolo::netlink
