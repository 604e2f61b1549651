// The Net port: one method per operation, each with a socket of its own.
#include "app/netlink/netlink.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/link/veth.h>

#include <algorithm>

#include "app/netlink/internal.h"

namespace tombolo {
namespace {

using namespace netlink;

Result<void> add_address(nl_sock* socket, int index, const InterfaceAddress& address) {
  InterfaceAddr object(rtnl_addr_alloc());
  Address local = ip_address(address.ip, address.prefix_length);
  rtnl_addr_set_ifindex(object.get(), index);
  if (int code = rtnl_addr_set_local(object.get(), local.get()); code < 0)
    return std::unexpected(nl_error(code, "prepare the address " + address.str()));
  if (!address.ip.is_v4()) rtnl_addr_set_flags(object.get(), IFA_F_NODAD);
  int code = rtnl_addr_add(socket, object.get(), NLM_F_REPLACE);
  if (code < 0) return std::unexpected(nl_error(code, "add the address " + address.str()));
  return {};
}

Result<void> add_neighbour(nl_sock* socket, int index, const Neighbour& neighbour) {
  Neigh object(rtnl_neigh_alloc());
  Address ip = ip_address(neighbour.ip, bits_of(neighbour.ip.family()));
  TRY(mac, mac_address(neighbour.mac));
  rtnl_neigh_set_ifindex(object.get(), index);
  rtnl_neigh_set_dst(object.get(), ip.get());
  rtnl_neigh_set_lladdr(object.get(), mac.get());
  rtnl_neigh_set_state(object.get(), NUD_PERMANENT);
  int code = rtnl_neigh_add(socket, object.get(), NLM_F_CREATE | NLM_F_REPLACE);
  if (code < 0) return std::unexpected(nl_error(code, "add the neighbour " + neighbour.ip.str()));
  return {};
}

Result<void> bring_up(nl_sock* socket, rtnl_link* link) {
  Link change(rtnl_link_alloc());
  rtnl_link_set_flags(change.get(), IFF_UP);
  if (int code = rtnl_link_change(socket, link, change.get(), 0); code < 0)
    return std::unexpected(nl_error(code, "bring the interface up"));
  return {};
}

Result<void> apply(const InterfaceSetup& setup) {
  TRY(socket, open_socket());
  TRY(link, find_link(socket.get(), setup.name));
  int index = rtnl_link_get_ifindex(link.get());
  for (const auto& [key, value] : setup.sysctls) {
    auto slash = key.find('/');
    ENSURE(slash != std::string::npos, "sysctl {} is not FAMILY/NAME", key);
    TRY_OK(write_sysctl(
        fmt::format("{}/conf/{}/{}", key.substr(0, slash), setup.name, key.substr(slash + 1)),
        value));
  }
  for (const auto& address : setup.addresses) TRY_OK(add_address(socket.get(), index, address));
  TRY_OK(bring_up(socket.get(), link.get()));
  for (const auto& neighbour : setup.neighbours)
    TRY_OK(add_neighbour(socket.get(), index, neighbour));
  for (const auto& route : setup.routes) TRY_OK(add_route(socket.get(), route, true));
  return {};
}

Result<InterfaceState> read(const std::string& name) {
  TRY(socket, open_socket());
  TRY(link, find_link(socket.get(), name));
  LinkState basic = link_state(link.get());
  InterfaceState state{basic.name, basic.index, basic.mac, basic.mtu, basic.up, {}, {}};
  nl_cache* dumped = nullptr;
  if (int code = rtnl_addr_alloc_cache(socket.get(), &dumped); code < 0)
    return std::unexpected(nl_error(code, "list addresses"));
  Cache cache(dumped);
  for (nl_object* at = nl_cache_get_first(cache.get()); at != nullptr; at = nl_cache_get_next(at)) {
    auto* address = reinterpret_cast<rtnl_addr*>(at);
    if (rtnl_addr_get_ifindex(address) != static_cast<int>(state.index)) continue;
    if (auto ip = ip_of(rtnl_addr_get_local(address))) state.addresses.push_back(*ip);
  }
  TRY(routes, read_routes(socket.get(), 0, static_cast<int>(state.index)));
  state.routes = std::move(routes);
  return state;
}

class NetlinkNet final : public Net {
 public:
  Result<void> create_veth(const VethSpec& spec) override {
    TRY(netns, open_netns(spec.peer_netns));
    TRY(own, is_own_netns(netns.get()));
    if (own)
      return fail(Code::kInvalidArgument, "{} is the agent's own network namespace",
                  spec.peer_netns);
    TRY(socket, open_socket());
    TRY(host_mac, mac_address(spec.host_mac));
    TRY(peer_mac, mac_address(spec.peer_mac));
    Link host(rtnl_link_veth_alloc());
    rtnl_link* peer = rtnl_link_veth_get_peer(host.get());
    Link peer_reference(peer);  // get_peer takes a reference
    rtnl_link_set_name(host.get(), spec.host_name.c_str());
    rtnl_link_set_addr(host.get(), host_mac.get());
    rtnl_link_set_name(peer, spec.peer_name.c_str());
    rtnl_link_set_addr(peer, peer_mac.get());
    rtnl_link_set_ns_fd(peer, netns.get());
    if (spec.mtu != 0) {
      rtnl_link_set_mtu(host.get(), spec.mtu);
      rtnl_link_set_mtu(peer, spec.mtu);
    }
    int code = rtnl_link_add(socket.get(), host.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (code >= 0) return {};
    if (code == -NLE_EXIST && !find_link(socket.get(), spec.host_name))
      return fail(Code::kAlreadyExists, "the interface {} exists already in {}", spec.peer_name,
                  spec.peer_netns);
    return std::unexpected(nl_error(
        code, fmt::format("create the interfaces {} and {}", spec.host_name, spec.peer_name)));
  }

  Result<void> set_up_interface(const NetnsPath& netns, const InterfaceSetup& setup) override {
    auto done = inside(netns, [&] { return apply(setup); });
    if (!done)
      return std::unexpected(
          std::move(done).error().with_context(fmt::format("set up {}", setup.name)));
    return {};
  }

  Result<InterfaceState> read_interface(const NetnsPath& netns, const std::string& name) override {
    InterfaceState state;
    TRY_OK(inside(netns, [&]() -> Result<void> {
      TRY(found, read(name));
      state = std::move(found);
      return {};
    }));
    return state;
  }

  Result<void> delete_link(const std::string& name) override {
    TRY(socket, open_socket());
    Link link(rtnl_link_alloc());
    rtnl_link_set_name(link.get(), name.c_str());
    int code = rtnl_link_delete(socket.get(), link.get());
    if (code < 0 && !is_absent(code))
      return std::unexpected(nl_error(code, "delete the interface " + name));
    return {};
  }

  Result<std::vector<LinkState>> list_links(const std::string& name_prefix) override {
    TRY(links, all_links());
    std::erase_if(links,
                  [&](const LinkState& link) { return !link.name.starts_with(name_prefix); });
    return links;
  }

  Result<std::uint64_t> netns_number(const NetnsPath& netns) override {
    return number_of_netns(netns);
  }
  Result<LinkState> veth_end_on_node(const NetnsPath& netns, const std::string& name) override {
    return netlink::veth_end_on_node(netns, name);
  }
  Result<std::set<Ip>> addresses_everywhere() override { return netlink::addresses_everywhere(); }
  Result<std::set<std::uint64_t>> occupied_namespaces() override {
    return netlink::occupied_namespaces();
  }

  Result<void> replace_route(const Route& route) override {
    TRY(socket, open_socket());
    return add_route(socket.get(), route, true);
  }
  Result<void> delete_route(const Route& route) override {
    TRY(socket, open_socket());
    return remove_route(socket.get(), route);
  }
  Result<std::vector<Route>> list_routes(std::uint8_t protocol) override {
    TRY(socket, open_socket());
    return read_routes(socket.get(), protocol, 0);
  }

  Result<std::uint32_t> uplink_mtu(const std::string& own_prefix) override {
    TRY(socket, open_socket());
    TRY(routes, read_routes(socket.get(), 0, 0));
    TRY(links, all_links());
    std::uint32_t of_default = 0;
    std::uint32_t of_any = 0;
    auto lower = [](std::uint32_t& least, std::uint32_t mtu) {
      if (least == 0 || mtu < least) least = mtu;
    };
    for (const auto& link : links) {
      if (link.name == "lo" || !link.up || link.name.starts_with(own_prefix)) continue;
      lower(of_any, link.mtu);
      bool has_default = std::ranges::any_of(routes, [&](const Route& route) {
        return route.destination.length() == 0 && route.interface_name == link.name;
      });
      if (has_default) lower(of_default, link.mtu);
    }
    if (of_default != 0) return of_default;
    if (of_any != 0) return of_any;
    return fail(Code::kNotFound, "no interface of this node is up: the MTU of the path is unknown");
  }

  Result<void> enable_forwarding() override {
    TRY_OK(write_sysctl("ipv4/ip_forward", "1"));
    return write_sysctl("ipv6/conf/all/forwarding", "1");
  }

  Result<bool> forwards() override {
    TRY(v4, read_sysctl("ipv4/ip_forward"));
    TRY(v6, read_sysctl("ipv6/conf/all/forwarding"));
    return v4 != "0" && v6 != "0";
  }

 private:
  static Result<std::vector<LinkState>> all_links() {
    TRY(socket, open_socket());
    nl_cache* dumped = nullptr;
    if (int code = rtnl_link_alloc_cache(socket.get(), AF_UNSPEC, &dumped); code < 0)
      return std::unexpected(nl_error(code, "list interfaces"));
    Cache cache(dumped);
    std::vector<LinkState> links;
    for (nl_object* at = nl_cache_get_first(cache.get()); at != nullptr; at = nl_cache_get_next(at))
      links.push_back(link_state(reinterpret_cast<rtnl_link*>(at)));
    return links;
  }
};

}  // namespace

std::unique_ptr<Net> make_netlink_net() {
  return std::make_unique<NetlinkNet>();
}

}  // namespace tombolo
