// Links and addresses: find, read, translate between our types and libnl's. Any thread.
#include <arpa/inet.h>
#include <net/if.h>
#include <netlink/errno.h>

#include "app/netlink/internal.h"

namespace tombolo::netlink {

Result<Link> find_link(nl_sock* socket, const std::string& name) {
  rtnl_link* found = nullptr;
  int code = rtnl_link_get_kernel(socket, 0, name.c_str(), &found);
  if (is_absent(code)) return fail(Code::kNotFound, "no interface {}", name);
  if (code < 0)
    return std::unexpected(nl_error(code, fmt::format("look for the interface {}", name)));
  return Link(found);
}

Result<Link> find_link(nl_sock* socket, std::uint32_t index) {
  rtnl_link* found = nullptr;
  int code = rtnl_link_get_kernel(socket, static_cast<int>(index), nullptr, &found);
  if (is_absent(code)) return fail(Code::kNotFound, "no interface {}", index);
  if (code < 0) return std::unexpected(nl_error(code, fmt::format("look for interface {}", index)));
  return Link(found);
}

LinkState link_state(rtnl_link* link) {
  LinkState state;
  state.name = rtnl_link_get_name(link) == nullptr ? "" : rtnl_link_get_name(link);
  state.index = static_cast<std::uint32_t>(rtnl_link_get_ifindex(link));
  if (nl_addr* mac = rtnl_link_get_addr(link)) {
    std::array<char, 64> text{};
    state.mac = nl_addr2str(mac, text.data(), text.size());
  }
  state.mtu = rtnl_link_get_mtu(link);
  state.up = (rtnl_link_get_flags(link) & IFF_UP) != 0;
  return state;
}

Result<Address> mac_address(const std::string& mac) {
  nl_addr* parsed = nullptr;
  if (nl_addr_parse(mac.c_str(), AF_LLC, &parsed) < 0 || nl_addr_get_len(parsed) != 6)
    return fail(Code::kInvalidArgument, "'{}' is not a MAC address", mac);
  return Address(parsed);
}

Address ip_address(Ip ip, int prefix_length) {
  std::string bytes = ip.bytes_be();
  Address address(nl_addr_build(ip.is_v4() ? AF_INET : AF_INET6, bytes.data(), bytes.size()));
  nl_addr_set_prefixlen(address.get(), prefix_length);
  return address;
}

std::optional<InterfaceAddress> ip_of(nl_addr* address) {
  int family = nl_addr_get_family(address);
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  int prefix_length = static_cast<int>(nl_addr_get_prefixlen(address));
  std::string_view bytes(static_cast<const char*>(nl_addr_get_binary_addr(address)),
                         nl_addr_get_len(address));
  // libnl keeps the address of a default route as zero bytes.
  if (bytes.empty())
    return InterfaceAddress{Ip(family == AF_INET ? Family::kV4 : Family::kV6, 0), 0};
  auto ip = Ip::from_bytes_be(bytes);
  if (!ip) return std::nullopt;
  return InterfaceAddress{*ip, prefix_length};
}

}  // namespace tombolo::netlink
