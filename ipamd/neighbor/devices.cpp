// netdevice(7), getifaddrs(3).
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>

#include "core/descriptor.h"
#include "ipamd/neighbor/neighbor.h"

namespace tombolo::neighbor {
namespace {

// The bytes of an address of getifaddrs; empty for other families.
std::string_view bytes_of(const sockaddr* address) {
  if (address == nullptr) return {};
  if (address->sa_family == AF_INET)
    return {reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr),
            4};
  if (address->sa_family == AF_INET6)
    return {
        reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr),
        16};
  return {};
}

std::optional<Prefix> subnet_of(const ifaddrs& at) {
  auto ip = Ip::from_bytes_be(bytes_of(at.ifa_addr));
  std::string_view mask = bytes_of(at.ifa_netmask);
  if (!ip || mask.empty()) return std::nullopt;
  int length = 0;
  for (char byte : mask) length += std::popcount(static_cast<unsigned char>(byte));
  return Prefix(*ip, length);
}

}  // namespace

Result<Device> find_device(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name))
    return fail(Code::kNotFound, "no interface has the name {}", name.substr(0, 100));
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno(errno, "open a socket");
  auto ask = [&](unsigned long what) {
    request = {};
    name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
    return ::ioctl(socket.get(), what, &request) == 0;
  };
  Device device;
  device.name = name;
  bool found = ask(SIOCGIFINDEX);
  device.index = static_cast<unsigned>(request.ifr_ifindex);
  bool up = found && ask(SIOCGIFFLAGS) && (request.ifr_flags & IFF_UP) != 0;
  bool ethernet = found && ask(SIOCGIFHWADDR) && request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
  std::memcpy(device.mac.data(), request.ifr_hwaddr.sa_data, device.mac.size());
  if (!found) return fail(Code::kNotFound, "there is no interface {}", name);
  if (!up) return fail(Code::kFailedPrecondition, "the interface {} is down", name);
  if (!ethernet) return fail(Code::kFailedPrecondition, "the interface {} is no Ethernet", name);
  return device;
}

std::uint16_t vlan_of_device(const std::string& name) {
  vlan_ioctl_args request{};
  request.cmd = GET_VLAN_VID_CMD;
  if (name.size() >= sizeof(request.device1)) return 0;
  name.copy(request.device1, sizeof(request.device1) - 1);
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return 0;
  // Without the kernel's module there is no VLAN device.
  bool is_one = ::ioctl(socket.get(), SIOCGIFVLAN, &request) == 0;
  return is_one ? static_cast<std::uint16_t>(request.u.VID) : 0;
}

Result<std::string> device_on_network_of(const std::vector<Ip>& ips) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return fail_errno(errno, "list the interfaces");
  std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  // By name: the lengths of prefixes that have the addresses, one for each address.
  std::map<std::string, std::map<Ip, int>> lengths;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if ((at->ifa_flags & IFF_UP) == 0) continue;
    auto subnet = subnet_of(*at);
    if (!subnet) continue;
    for (const Ip& ip : ips)
      if (subnet->contains(ip)) {
        int& length = lengths[at->ifa_name][ip];
        length = std::max(length, subnet->length());
      }
  }
  std::string best;
  int longest = 0;
  for (const auto& [name, of_ips] : lengths) {
    if (!std::ranges::all_of(ips, [&](const Ip& ip) { return of_ips.contains(ip); })) continue;
    if (!find_device(name)) continue;
    int length =
        std::ranges::min_element(of_ips, {}, [](const auto& one) { return one.second; })->second;
    if (length > longest) {
      best = name;
      longest = length;
    }
  }
  if (best.empty()) return fail(Code::kNotFound, "no interface of this node is on that network");
  return best;
}

}  // namespace tombolo::neighbor
