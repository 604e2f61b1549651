// ipv6(7), netdevice(7).
#include "ipamd/announce/sockets.h"

#include <fnmatch.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace tombolo::announce {
namespace {

// The most groups that one socket joins is a sysctl (net.ipv6.mld_max_msf and memory); this is far
// below what one link's services need.
constexpr std::size_t kMostGroups = 4096;

ipv6_mreq membership(const Ip& group, unsigned index) {
  ipv6_mreq request{};
  std::string bytes = group.bytes_be();
  std::memcpy(&request.ipv6mr_multiaddr, bytes.data(), sizeof(request.ipv6mr_multiaddr));
  request.ipv6mr_interface = index;
  return request;
}

}  // namespace

Result<std::vector<LinkInterface>> find_interfaces(const std::vector<std::string>& patterns) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return fail_errno(errno, "list the interfaces");
  std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  std::vector<LinkInterface> found;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_PACKET) continue;
    if ((at->ifa_flags & IFF_UP) == 0) continue;
    sockaddr_ll address{};
    std::memcpy(&address, at->ifa_addr, sizeof(address));
    if (address.sll_hatype != ARPHRD_ETHER || address.sll_halen != 6) continue;
    bool wanted = std::ranges::any_of(patterns, [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), at->ifa_name, 0) == 0;
    });
    if (!wanted) continue;
    LinkInterface interface{at->ifa_name, static_cast<unsigned>(address.sll_ifindex), {}};
    std::copy_n(address.sll_addr, interface.mac.size(), interface.mac.begin());
    found.push_back(std::move(interface));
  }
  return found;
}

Result<Groups> Groups::open(const LinkInterface& on) {
  int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno(errno, "{}: open an IPv6 socket", on.name);
  return Groups(fd, on.index);
}

Groups::Groups(Groups&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), index_(other.index_), joined_(std::move(other.joined_)) {}

Groups& Groups::operator=(Groups&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(index_, other.index_);
  std::swap(joined_, other.joined_);
  return *this;
}

Groups::~Groups() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> Groups::become(const std::set<Ip>& groups) {
  Result<void> done;
  auto change = [&](const Ip& group, int option) {
    ipv6_mreq request = membership(group, index_);
    if (::setsockopt(fd_, IPPROTO_IPV6, option, &request, sizeof(request)) == 0) return true;
    if (done) done = fail_errno(errno, "membership in {}", group.str());
    return false;
  };
  std::set<Ip> before = joined_;
  for (const Ip& group : before)
    if (!groups.contains(group)) {
      change(group, IPV6_DROP_MEMBERSHIP);
      joined_.erase(group);
    }
  for (const Ip& group : groups) {
    if (joined_.contains(group)) continue;
    if (joined_.size() >= kMostGroups)
      return fail(Code::kResourceExhausted, "more than {} multicast groups", kMostGroups);
    if (change(group, IPV6_ADD_MEMBERSHIP)) joined_.insert(group);
  }
  return done;
}

}  // namespace tombolo::announce
