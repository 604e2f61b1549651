// packet(7), ipv6(7), netdevice(7).
#include "ipamd/announce/sockets.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
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

// ICMPv6 solicitations and advertisements without extension headers. Bytes from the IPv6 header on.
constexpr std::array kNdpFilter{
    sock_filter{BPF_LD | BPF_B | BPF_ABS, 0, 0, 6},  // next header
    sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, 4, IPPROTO_ICMPV6},
    sock_filter{BPF_LD | BPF_B | BPF_ABS, 0, 0, 40},  // type
    sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 135},
    sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 136},
    sock_filter{BPF_RET | BPF_K, 0, 0, 0xffff},
    sock_filter{BPF_RET | BPF_K, 0, 0, 0},
};

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

Result<PacketSocket> PacketSocket::open(const LinkInterface& on, std::uint16_t protocol) {
  // Protocol 0: nothing is received before the socket is bound and filtered.
  int fd = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail_errno(errno, "{}: open a packet socket", on.name);
  return PacketSocket(fd, on.index, protocol);
}

Result<PacketSocket> PacketSocket::open_arp(const LinkInterface& on) {
  TRY(socket, open(on, ETH_P_ARP));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ARP);
  address.sll_ifindex = static_cast<int>(on.index);
  if (::bind(socket.fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno(errno, "{}: listen to ARP", on.name);
  return socket;
}

Result<PacketSocket> PacketSocket::open_ndp(const LinkInterface& on) {
  TRY(socket, open(on, ETH_P_IPV6));
  std::array filter = kNdpFilter;
  sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::setsockopt(socket.fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
    return fail_errno(errno, "{}: filter neighbour discovery", on.name);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_IPV6);
  address.sll_ifindex = static_cast<int>(on.index);
  if (::bind(socket.fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno(errno, "{}: listen to neighbour discovery", on.name);
  return socket;
}

PacketSocket::PacketSocket(PacketSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), index_(other.index_), protocol_(other.protocol_) {}

PacketSocket& PacketSocket::operator=(PacketSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(index_, other.index_);
  std::swap(protocol_, other.protocol_);
  return *this;
}

PacketSocket::~PacketSocket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::size_t> PacketSocket::receive(std::span<std::uint8_t> room) const {
  while (true) {
    sockaddr_ll from{};
    socklen_t length = sizeof(from);
    ssize_t got = ::recvfrom(fd_, room.data(), room.size(), MSG_DONTWAIT,
                             reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (got < 0) return fail_errno(errno, "receive from a packet socket");
    if (from.sll_pkttype == PACKET_OUTGOING || got == 0) continue;
    return static_cast<std::size_t>(got);
  }
}

Result<void> PacketSocket::send(Bytes packet, const Mac& to) const {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol_);
  address.sll_ifindex = static_cast<int>(index_);
  address.sll_halen = static_cast<unsigned char>(to.size());
  std::ranges::copy(to, address.sll_addr);
  ssize_t sent = ::sendto(fd_, packet.data(), packet.size(), MSG_DONTWAIT,
                          reinterpret_cast<sockaddr*>(&address), sizeof(address));
  if (sent < 0) return fail_errno(errno, "send through a packet socket");
  return {};
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
