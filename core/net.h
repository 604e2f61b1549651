// The kernel's network as the agent uses it: interfaces in its own and in pods' network
// namespaces, routes and neighbours. The port is blocking; callers run it on a Worker. The real
// one is app/netlink. Every operation is safe to repeat: making what is there or deleting what is
// absent succeeds, except create_veth, which never takes over an interface that exists.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ip.h"

namespace tombolo {

// Route protocol numbers (/etc/iproute2/rt_protos: 192 and up are free) that mark routes as
// Tombolo's, so that a prune touches no other route.
inline constexpr std::uint8_t kBlockRouteProtocol = 201;  // towards the blocks of other nodes
inline constexpr std::uint8_t kPodRouteProtocol = 202;    // towards the pods of this node

// A network namespace by path: "/run/netns/x", "/proc/123/ns/net". Empty is the agent's own.
using NetnsPath = std::string;

struct Neighbour {
  Ip ip;
  std::string mac;
  auto operator<=>(const Neighbour&) const = default;
};

struct Route {
  Prefix destination;
  std::optional<Ip> via;       // next hop, else the destination is on the link
  std::string interface_name;  // empty: the kernel finds it by the next hop
  bool on_link = false;        // take the next hop as reachable though no prefix covers it
  std::uint8_t protocol = 0;   // 0 is the kernel's RTPROT_BOOT
  bool unreachable = false;    // answer with ICMP unreachable; no next hop, no interface
  // Where another interface has a route to the destination, that one stays: this one gets a
  // greater metric.
  bool behind_others = false;
  auto operator<=>(const Route&) const = default;
};

// A veth pair, both ends down. MAC addresses are "02:00:00:00:00:01".
struct VethSpec {
  std::string host_name;
  std::string host_mac;
  NetnsPath peer_netns;
  std::string peer_name;
  std::string peer_mac;
  std::uint32_t mtu = 0;
};

// What an interface has to be like. Applied in this order: sysctls, addresses (without duplicate
// address detection: the allocator is the authority), up, neighbours (permanent), routes.
struct InterfaceSetup {
  std::string name;
  // "ipv4/proxy_arp" -> "1": files below /proc/sys/net/FAMILY/conf/NAME/.
  std::map<std::string, std::string> sysctls;
  std::vector<InterfaceAddress> addresses;
  std::vector<Neighbour> neighbours;
  std::vector<Route> routes;
};

struct InterfaceState {
  std::string name;
  std::uint32_t index = 0;
  std::string mac;
  std::uint32_t mtu = 0;
  bool up = false;
  std::vector<InterfaceAddress> addresses;
  std::vector<Route> routes;  // of the main table through this interface, without the kernel's own
};

struct LinkState {
  std::string name;
  std::uint32_t index = 0;
  std::string mac;
  std::uint32_t mtu = 0;
  bool up = false;
};

class Net {
 public:
  virtual ~Net() = default;

  // kAlreadyExists when either name is taken; kNotFound when the namespace is; kInvalidArgument
  // when it is the agent's own or no network namespace.
  virtual Result<void> create_veth(const VethSpec& spec) = 0;
  // kNotFound when the interface or the namespace is absent.
  virtual Result<void> set_up_interface(const NetnsPath& netns, const InterfaceSetup& setup) = 0;
  virtual Result<InterfaceState> read_interface(const NetnsPath& netns,
                                                const std::string& name) = 0;
  // In the agent's own namespace.
  virtual Result<void> delete_link(const std::string& name) = 0;
  virtual Result<std::vector<LinkState>> list_links(const std::string& name_prefix) = 0;

  // The kernel's number of a namespace: the same for every path to it, and no other's while it
  // lives. kNotFound when the path leads to none.
  virtual Result<std::uint64_t> netns_number(const NetnsPath& netns) = 0;
  // The end, in the agent's own namespace, of a veth pair whose other end is in `netns`.
  // kFailedPrecondition when it is no such pair.
  virtual Result<LinkState> veth_end_on_node(const NetnsPath& netns, const std::string& name) = 0;
  // Every address of every interface in any namespace that a thread is in, that is mounted, or
  // that a process holds open.
  virtual Result<std::set<Ip>> addresses_everywhere() = 0;
  // The numbers of the namespaces that a thread of another process is in or that one holds open.
  virtual Result<std::set<std::uint64_t>> occupied_namespaces() = 0;

  // Main table of the agent's own namespace. A route is known by destination and protocol.
  virtual Result<void> replace_route(const Route& route) = 0;
  virtual Result<void> delete_route(const Route& route) = 0;
  virtual Result<std::vector<Route>> list_routes(std::uint8_t protocol) = 0;

  // The MTU that a packet leaving this node may have: the least of the interfaces with a default
  // route, without any of all interfaces that are up, not counting loopback and those whose name
  // begins with `own_prefix`. kNotFound when there is none.
  virtual Result<std::uint32_t> uplink_mtu(const std::string& own_prefix) = 0;
  // Forwarding between interfaces, both families.
  virtual Result<void> enable_forwarding() = 0;
  // False when either family's forwarding is off.
  virtual Result<bool> forwards() = 0;
};

}  // namespace tombolo
