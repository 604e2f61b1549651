// Shared by the files of app/netlink: owned libnl objects, errors, and work inside a namespace.
#pragma once

#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

#include <functional>
#include <memory>
#include <string>

#include "core/descriptor.h"
#include "core/error.h"
#include "core/net.h"

namespace tombolo::netlink {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Socket = std::unique_ptr<nl_sock, Free<nl_socket_free>>;
using Link = std::unique_ptr<rtnl_link, Free<rtnl_link_put>>;
using Address = std::unique_ptr<nl_addr, Free<nl_addr_put>>;
using InterfaceAddr = std::unique_ptr<rtnl_addr, Free<rtnl_addr_put>>;
using Neigh = std::unique_ptr<rtnl_neigh, Free<rtnl_neigh_put>>;
using RouteObject = std::unique_ptr<rtnl_route, Free<rtnl_route_put>>;
using Cache = std::unique_ptr<nl_cache, Free<nl_cache_free>>;

// The error of a libnl call (negative NLE_…), with the errno that it most likely stands for.
Error nl_error(int code, std::string_view what);
// NLE_OBJ_NOTFOUND, NLE_NODEV and their like.
bool is_absent(int code);

// A socket of the namespace of the calling thread.
Result<Socket> open_socket();
// The namespace at `path`: kNotFound when there is none, kInvalidArgument when the file is no
// network namespace.
Result<Descriptor> open_netns(const NetnsPath& path);
// True when the file is the namespace of the calling thread.
Result<bool> is_own_netns(int netns_fd);
// Runs `work` on a thread of its own inside the namespace at `path` and waits for it; on the
// calling thread when `path` is empty.
Result<void> inside(const NetnsPath& path, const std::function<Result<void>()>& work);

// A link by name: kNotFound when absent.
Result<Link> find_link(nl_sock* socket, const std::string& name);
Result<Link> find_link(nl_sock* socket, std::uint32_t index);
LinkState link_state(rtnl_link* link);
// What the calling thread's namespace uses it for (core/device_net.h).
Result<std::string> use_of_link(const std::string& name);
// "02:…" or an IP as libnl's address.
Result<Address> mac_address(const std::string& mac);
Address ip_address(Ip ip, int prefix_length);
// The IP of an address of either family; nothing for other families.
std::optional<InterfaceAddress> ip_of(nl_addr* address);

Result<void> add_route(nl_sock* socket, const Route& route, bool replace);
// Routes of the main table; `protocol` 0 is all but the kernel's own; `interface_index` 0 is all.
Result<std::vector<Route>> read_routes(nl_sock* socket, std::uint8_t protocol, int interface_index);
Result<void> remove_route(nl_sock* socket, const Route& route);

Result<std::uint64_t> number_of_netns(const NetnsPath& path);
Result<LinkState> veth_end_on_node(const NetnsPath& path, const std::string& name);
Result<std::set<Ip>> addresses_everywhere();
Result<std::set<std::uint64_t>> occupied_namespaces();

// Writes a file below /proc/sys/net, of the namespace of the calling thread.
Result<void> write_sysctl(const std::string& path, const std::string& value);
// What such a file holds, without its line's end.
Result<std::string> read_sysctl(const std::string& path);

}  // namespace tombolo::netlink
