// Everything about a pod's interface that follows from its attachment.
#include "ipamd/cni/interface.h"

#include <algorithm>

namespace tombolo::cni {
namespace {

// FNV-1a: names must stay the same over restarts and versions.
std::uint64_t hash(std::string_view salt, std::string_view text) {
  std::uint64_t value = 0xcbf29ce484222325ULL;
  auto mix = [&](std::string_view part) {
    for (char c : part) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  };
  mix(salt);
  mix(text);
  // The last bytes hardly reach the upper bits otherwise.
  value ^= value >> 33U;
  value *= 0xff51afd7ed558ccdULL;
  value ^= value >> 33U;
  return value;
}

std::string mac_of(std::uint64_t bits) {
  return fmt::format("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bits & 0xffU, bits >> 8U & 0xffU,
                     bits >> 16U & 0xffU, bits >> 24U & 0xffU, bits >> 32U & 0xffU);
}

Route route_by_next_hop(const Attachment& attachment, const Prefix& destination) {
  Route route;
  route.destination = destination;
  route.via = next_hop(destination.family());
  route.interface_name = attachment.interface_name;
  route.on_link = true;
  // A pod's second interface leaves the way out to its first, whoever made that one.
  route.behind_others = destination.length() == 0;
  return route;
}

// Of the family of one of the interface's addresses.
std::vector<Route> routes_in_pod(const Attachment& attachment, const InterfaceExtras& extras,
                                 Family family) {
  std::vector<Route> routes;
  if (extras.default_routes)
    routes.push_back(route_by_next_hop(attachment, Prefix(Ip(family, 0), 0)));
  for (const Prefix& destination : extras.routes)
    if (destination.family() == family)
      routes.push_back(route_by_next_hop(attachment, destination));
  return routes;
}

bool has_v6(const Attachment& attachment) {
  return std::ranges::any_of(attachment.ips, [](const Ip& ip) { return !ip.is_v4(); });
}

void compare_link(std::vector<std::string>& found, const InterfaceState& state) {
  if (!state.up) found.push_back(fmt::format("the interface {} is down", state.name));
}

}  // namespace

Ip next_hop(Family family) {
  return family == Family::kV4 ? Ip::v4(0xa9fe0101U) : Ip::v6((uint128{0xfe80} << 112U) | 1U);
}

std::string host_interface_name(std::string_view prefix, std::string_view attachment_key) {
  return fmt::format("{}{:012x}", prefix, hash("interface", attachment_key) >> 16U);
}

std::string pod_mac(std::string_view attachment_key) {
  return mac_of(hash("pod", attachment_key));
}
std::string host_mac(std::string_view attachment_key) {
  return mac_of(hash("host", attachment_key));
}

VethSpec veth_of(const Attachment& attachment, std::uint32_t mtu) {
  return {attachment.host_interface,
          host_mac(attachment.key()),
          attachment.netns_path,
          attachment.interface_name,
          attachment.mac,
          mtu};
}

InterfaceSetup host_setup(const Attachment& attachment) {
  InterfaceSetup setup;
  setup.name = attachment.host_interface;
  // For pods that ask although they know; replies only to the pod, which has no other link.
  setup.sysctls["ipv4/proxy_arp"] = "1";
  if (has_v6(attachment)) {
    setup.sysctls["ipv6/disable_ipv6"] = "0";
    setup.sysctls["ipv6/addr_gen_mode"] = "1";  // no address of the kernel's making
    setup.sysctls["ipv6/accept_ra"] = "0";
    setup.addresses.push_back({next_hop(Family::kV6), 64});
  }
  for (const Ip& ip : attachment.ips) {
    setup.neighbours.push_back({ip, attachment.mac});
    Route route;
    route.destination = Prefix::host(ip);
    route.interface_name = attachment.host_interface;
    route.protocol = kPodRouteProtocol;
    setup.routes.push_back(std::move(route));
  }
  return setup;
}

InterfaceSetup pod_setup(const Attachment& attachment, const InterfaceExtras& extras) {
  InterfaceSetup setup;
  setup.name = attachment.interface_name;
  if (has_v6(attachment)) {
    setup.sysctls["ipv6/disable_ipv6"] = "0";
    setup.sysctls["ipv6/accept_dad"] = "0";
    setup.sysctls["ipv6/accept_ra"] = "0";
  }
  for (const Ip& ip : attachment.ips) {
    setup.addresses.push_back({ip, bits_of(ip.family())});
    setup.neighbours.push_back({next_hop(ip.family()), host_mac(attachment.key())});
    for (Route& route : routes_in_pod(attachment, extras, ip.family()))
      setup.routes.push_back(std::move(route));
  }
  return setup;
}

std::vector<std::string> differences_in_pod(const Attachment& attachment,
                                            const InterfaceState& state,
                                            const InterfaceExtras& extras) {
  std::vector<std::string> found;
  compare_link(found, state);
  if (state.mac != attachment.mac)
    found.push_back(fmt::format("the interface {} has the MAC address {}, not {}", state.name,
                                state.mac, attachment.mac));
  for (const auto& address : pod_setup(attachment).addresses)
    if (std::ranges::find(state.addresses, address) == state.addresses.end())
      found.push_back(fmt::format("the address {} is not on {}", address.str(), state.name));
  for (const Route& wanted : pod_setup(attachment, extras).routes) {
    bool there = std::ranges::any_of(state.routes, [&](const Route& route) {
      return route.destination == wanted.destination && route.via == wanted.via;
    });
    if (!there)
      found.push_back(fmt::format("the route {} via {} is missing", wanted.destination.str(),
                                  wanted.via->str()));
  }
  return found;
}

std::vector<std::string> differences_on_host(const Attachment& attachment,
                                             const InterfaceState& state) {
  std::vector<std::string> found;
  compare_link(found, state);
  for (const Ip& ip : attachment.ips) {
    bool there = std::ranges::any_of(
        state.routes, [&](const Route& route) { return route.destination == Prefix::host(ip); });
    if (!there)
      found.push_back(fmt::format("the node's route to {} by {} is missing", ip.str(), state.name));
  }
  return found;
}

void add_resolver(Success& success, const std::string& pod_namespace,
                  const std::string& cluster_zone, const std::string& clusterset_zone) {
  for (const auto& zone : {cluster_zone, clusterset_zone}) {
    if (!pod_namespace.empty())
      success.search.push_back(fmt::format("{}.svc.{}", pod_namespace, zone));
    success.search.push_back("svc." + zone);
    if (zone == cluster_zone) success.search.push_back(zone);
  }
  // As Kubernetes: names with fewer dots than this are tried under the search list first.
  success.options.emplace_back("ndots:5");
}

}  // namespace tombolo::cni
