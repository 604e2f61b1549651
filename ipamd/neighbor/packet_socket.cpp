// packet(7), netdevice(7). The kernel filters neighbour discovery (a classic BPF program), so that
// a busy interface wakes nobody.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ipamd/neighbor/neighbor.h"

namespace tombolo::neighbor {
namespace {

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

int protocol_of(Family family) {
  return family == Family::kV4 ? ETH_P_ARP : ETH_P_IPV6;
}

sockaddr_ll place(unsigned index, Family family) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(static_cast<std::uint16_t>(protocol_of(family)));
  address.sll_ifindex = static_cast<int>(index);
  return address;
}

}  // namespace

Result<Device> find_device(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name))
    return fail(Code::kNotFound, "no interface has the name {}", name.substr(0, 100));
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno(errno, "open a socket");
  auto ask = [&](unsigned long what) {
    request = {};
    name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
    return ::ioctl(fd, what, &request) == 0;
  };
  Device device;
  device.name = name;
  bool found = ask(SIOCGIFINDEX);
  device.index = static_cast<unsigned>(request.ifr_ifindex);
  bool up = found && ask(SIOCGIFFLAGS) && (request.ifr_flags & IFF_UP) != 0;
  bool ethernet = found && ask(SIOCGIFHWADDR) && request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
  std::memcpy(device.mac.data(), request.ifr_hwaddr.sa_data, device.mac.size());
  ::close(fd);
  if (!found) return fail(Code::kNotFound, "there is no interface {}", name);
  if (!up) return fail(Code::kFailedPrecondition, "the interface {} is down", name);
  if (!ethernet) return fail(Code::kFailedPrecondition, "the interface {} is no Ethernet", name);
  return device;
}

Result<PacketSocket> PacketSocket::open(const Device& on, Family family) {
  // Protocol 0: nothing is received before the socket is bound and filtered.
  int fd = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail_errno(errno, "{}: open a packet socket", on.name);
  PacketSocket socket(fd, on, family);
  if (family == Family::kV6) {
    std::array filter = kNdpFilter;
    sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
      return fail_errno(errno, "{}: filter neighbour discovery", on.name);
  }
  sockaddr_ll address = place(on.index, family);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno(errno, "{}: listen to {}", on.name,
                      family == Family::kV4 ? "ARP" : "neighbour discovery");
  return socket;
}

PacketSocket::PacketSocket(PacketSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), index_(other.index_), family_(other.family_) {}

PacketSocket& PacketSocket::operator=(PacketSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(index_, other.index_);
  std::swap(family_, other.family_);
  return *this;
}

PacketSocket::~PacketSocket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> PacketSocket::join(const Mac& group) {
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(index_);
  request.mr_type = PACKET_MR_MULTICAST;
  request.mr_alen = static_cast<unsigned short>(group.size());
  std::ranges::copy(group, request.mr_address);
  if (::setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) != 0)
    return fail_errno(errno, "hear what is for {}", to_string(group));
  return {};
}

Result<PacketSocket::Received> PacketSocket::receive(std::span<std::uint8_t> room) const {
  while (true) {
    sockaddr_ll from{};
    socklen_t length = sizeof(from);
    ssize_t got = ::recvfrom(fd_, room.data(), room.size(), MSG_DONTWAIT,
                             reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received{};
    if (got < 0) return fail_errno(errno, "receive from a packet socket");
    if (from.sll_pkttype == PACKET_OUTGOING || got == 0) continue;
    Received received{static_cast<std::size_t>(got), {}};
    if (from.sll_halen == received.from.size())
      std::copy_n(from.sll_addr, received.from.size(), received.from.begin());
    return received;
  }
}

Result<void> PacketSocket::send(Bytes packet, const Mac& to) const {
  sockaddr_ll address = place(index_, family_);
  address.sll_halen = static_cast<unsigned char>(to.size());
  std::ranges::copy(to, address.sll_addr);
  ssize_t sent = ::sendto(fd_, packet.data(), packet.size(), MSG_DONTWAIT,
                          reinterpret_cast<sockaddr*>(&address), sizeof(address));
  if (sent < 0) return fail_errno(errno, "send through a packet socket");
  return {};
}

}  // namespace tombolo::neighbor
