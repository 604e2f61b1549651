// The kernel filters neighbour discovery (a classic BPF program), so that a busy interface wakes
// nobody.
#include "ipamd/probe/packet_socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tombolo::probe {
namespace {

// Of an IPv6 packet: next header ICMPv6, type 135 or 136.
std::array<sock_filter, 7> neighbour_filter() {
  return {sock_filter BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
          sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
          sock_filter BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40),
          sock_filter BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 137, 1, 0),
          sock_filter BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 135, 1, 0),
          sock_filter BPF_STMT(BPF_RET | BPF_K, 0),
          sock_filter BPF_STMT(BPF_RET | BPF_K, 0xffff)};
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
  bool found = ask(SIOCGIFINDEX);
  device.index = request.ifr_ifindex;
  bool up = found && ask(SIOCGIFFLAGS) && (request.ifr_flags & IFF_UP) != 0;
  bool ethernet = found && ask(SIOCGIFHWADDR) && request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
  std::memcpy(device.mac.data(), request.ifr_hwaddr.sa_data, device.mac.size());
  ::close(fd);
  if (!found) return fail(Code::kNotFound, "there is no interface {}", name);
  if (!up) return fail(Code::kFailedPrecondition, "the interface {} is down", name);
  if (!ethernet) return fail(Code::kFailedPrecondition, "the interface {} is no Ethernet", name);
  return device;
}

PacketSocket::~PacketSocket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> PacketSocket::open(const Device& device, Family family) {
  device_ = device;
  family_ = family;
  // With no protocol it hears nothing before the filter is there.
  fd_ = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return fail_errno(errno, "open a packet socket");
  if (family == Family::kV6) {
    auto filter = neighbour_filter();
    sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0)
      return fail_errno(errno, "a filter for neighbour discovery");
    // Answers to a question from :: go to all nodes.
    packet_mreq group{};
    group.mr_ifindex = device.index;
    group.mr_type = PACKET_MR_MULTICAST;
    group.mr_alen = 6;
    constexpr Mac kAllNodes{0x33, 0x33, 0, 0, 0, 1};
    std::memcpy(group.mr_address, kAllNodes.data(), kAllNodes.size());
    if (::setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof(group)) != 0)
      return fail_errno(errno, "hear what is for all nodes");
  }
  sockaddr_ll own{};
  own.sll_family = AF_PACKET;
  own.sll_protocol = htons(family == Family::kV4 ? ETH_P_ARP : ETH_P_IPV6);
  own.sll_ifindex = device.index;
  if (::bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) != 0)
    return fail_errno(errno, "bind a packet socket");
  return {};
}

Result<void> PacketSocket::send(std::string_view packet, const Mac& to) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(family_ == Family::kV4 ? ETH_P_ARP : ETH_P_IPV6);
  address.sll_ifindex = device_.index;
  address.sll_halen = 6;
  std::memcpy(address.sll_addr, to.data(), to.size());
  ssize_t sent = ::sendto(fd_, packet.data(), packet.size(), 0,
                          reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // A full queue drops a probe, as a network does: there are several.
  if (sent < 0 && errno != EAGAIN && errno != ENOBUFS) return fail_errno(errno, "send a probe");
  return {};
}

std::optional<Claim> PacketSocket::receive() {
  std::array<char, 1500> buffer;
  for (int i = 0; i < kMostReads; ++i) {
    sockaddr_ll from{};
    socklen_t size = sizeof(from);
    ssize_t got =
        ::recvfrom(fd_, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return std::nullopt;  // nothing waits, or the interface went down
    if (from.sll_pkttype == PACKET_OUTGOING || from.sll_halen != 6) continue;
    std::string_view packet(buffer.data(), static_cast<std::size_t>(got));
    auto claim = family_ == Family::kV4 ? read_arp(packet) : read_neighbour(packet);
    if (!claim) continue;
    Mac sender;
    std::memcpy(sender.data(), from.sll_addr, sender.size());
    if (!claim->mac) claim->mac = sender;
    // Our own question that a bridge brings back, and other questions of this node.
    if (sender == device_.mac || *claim->mac == device_.mac) continue;
    return claim;
  }
  return std::nullopt;
}

}  // namespace tombolo::probe
