// packet(7), netdevice(7). The kernel filters neighbour discovery (a classic BPF program), so that
// a busy interface wakes nobody.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ipamd/neighbor/neighbor.h"

namespace tombolo::neighbor {
namespace {

constexpr std::size_t kEthernetHeader = 14;
constexpr std::size_t kLongestFrame = 2048;

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

// The same with an Ethernet header before it, for one VLAN; `family` decides between ARP and IPv6.
std::vector<sock_filter> tagged_filter(Family family, std::uint16_t vlan) {
  constexpr auto kPresent = static_cast<__u32>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT);
  constexpr auto kTag = static_cast<__u32>(SKF_AD_OFF + SKF_AD_VLAN_TAG);
  constexpr __u16 kLoadByte = BPF_LD | BPF_B | BPF_ABS;
  constexpr __u16 kIs = BPF_JMP | BPF_JEQ | BPF_K;
  std::vector<sock_filter> program{
      {kLoadByte, 0, 0, kPresent},
      {kIs, 0, 0, 1},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, kTag},
      {BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xfff},
      {kIs, 0, 0, vlan},
      {BPF_LD | BPF_H | BPF_ABS, 0, 0, 12},
      {kIs, 0, 0, static_cast<__u32>(family == Family::kV4 ? ETH_P_ARP : ETH_P_IPV6)},
  };
  if (family == Family::kV6) {
    program.push_back({kLoadByte, 0, 0, kEthernetHeader + 6});
    program.push_back({kIs, 0, 0, IPPROTO_ICMPV6});
    program.push_back({kLoadByte, 0, 0, kEthernetHeader + 40});
    program.push_back({kIs, 1, 0, 135});
    program.push_back({kIs, 0, 0, 136});
  }
  program.push_back({BPF_RET | BPF_K, 0, 0, 0xffff});
  program.push_back({BPF_RET | BPF_K, 0, 0, 0});
  // What is not so goes to the end.
  for (std::size_t at = 0; at < program.size(); ++at)
    if (program[at].code == kIs)
      program[at].jf = program[at].jt == 1 ? 0 : static_cast<__u8>(program.size() - 2 - at);
  return program;
}

int protocol_of(Family family) {
  return family == Family::kV4 ? ETH_P_ARP : ETH_P_IPV6;
}

sockaddr_ll place(unsigned index, int protocol) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(static_cast<std::uint16_t>(protocol));
  address.sll_ifindex = static_cast<int>(index);
  return address;
}

// Destination, source, the tag, the protocol of what follows.
std::vector<std::uint8_t> with_header(const Mac& to, const Mac& from, std::uint16_t vlan,
                                      int protocol, Bytes packet) {
  std::vector<std::uint8_t> frame(to.begin(), to.end());
  frame.insert(frame.end(), from.begin(), from.end());
  for (int word : {ETH_P_8021Q, static_cast<int>(vlan), protocol}) {
    frame.push_back(static_cast<std::uint8_t>(word >> 8));
    frame.push_back(static_cast<std::uint8_t>(word));
  }
  frame.insert(frame.end(), packet.begin(), packet.end());
  return frame;
}

}  // namespace

Result<PacketSocket> PacketSocket::open(const Device& on, Family family, std::uint16_t vlan) {
  // Protocol 0: nothing is received before the socket is bound and filtered.
  int type = vlan == 0 ? SOCK_DGRAM : SOCK_RAW;
  int fd = ::socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail_errno(errno, "{}: open a packet socket", on.name);
  PacketSocket socket(fd, on, family, vlan);
  TRY_OK(socket.prepare(on.name));
  return socket;
}

Result<void> PacketSocket::prepare(const std::string& name) {
  std::vector<sock_filter> filter;
  if (vlan_ != 0)
    filter = tagged_filter(family_, vlan_);
  else if (family_ == Family::kV6)
    filter.assign(kNdpFilter.begin(), kNdpFilter.end());
  if (!filter.empty()) {
    sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
      return fail_errno(errno, "{}: filter packets", name);
  }
  if (vlan_ != 0) {
    packet_mreq everything{};
    everything.mr_ifindex = static_cast<int>(index_);
    everything.mr_type = PACKET_MR_PROMISC;
    if (::setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &everything, sizeof(everything)) < 0)
      return fail_errno(errno, "{}: hear other VLANs", name);
  }
  sockaddr_ll address = place(index_, vlan_ != 0 ? ETH_P_ALL : protocol_of(family_));
  if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno(errno, "{}: listen to {}", name,
                      family_ == Family::kV4 ? "ARP" : "neighbour discovery");
  return {};
}

PacketSocket::PacketSocket(PacketSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      index_(other.index_),
      own_(other.own_),
      family_(other.family_),
      vlan_(other.vlan_) {}

PacketSocket& PacketSocket::operator=(PacketSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(index_, other.index_);
  std::swap(own_, other.own_);
  std::swap(family_, other.family_);
  std::swap(vlan_, other.vlan_);
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
  std::array<std::uint8_t, kLongestFrame> frame;
  std::span<std::uint8_t> into = vlan_ == 0 ? room : std::span<std::uint8_t>(frame);
  while (true) {
    sockaddr_ll from{};
    socklen_t length = sizeof(from);
    ssize_t got = ::recvfrom(fd_, into.data(), into.size(), MSG_DONTWAIT,
                             reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received{};
    if (got < 0) return fail_errno(errno, "receive from a packet socket");
    if (from.sll_pkttype == PACKET_OUTGOING || got == 0) continue;
    auto size = static_cast<std::size_t>(got);
    if (vlan_ != 0) {
      if (size <= kEthernetHeader) continue;
      size = std::min(size - kEthernetHeader, room.size());
      std::copy_n(frame.begin() + kEthernetHeader, size, room.begin());
    }
    Received received{size, {}};
    if (from.sll_halen == received.from.size())
      std::copy_n(from.sll_addr, received.from.size(), received.from.begin());
    return received;
  }
}

Result<void> PacketSocket::send(Bytes packet, const Mac& to) const {
  sockaddr_ll address = place(index_, vlan_ != 0 ? ETH_P_8021Q : protocol_of(family_));
  std::vector<std::uint8_t> frame;
  if (vlan_ != 0) {
    frame = with_header(to, own_, vlan_, protocol_of(family_), packet);
    packet = frame;
  }
  address.sll_halen = static_cast<unsigned char>(to.size());
  std::ranges::copy(to, address.sll_addr);
  ssize_t sent = ::sendto(fd_, packet.data(), packet.size(), MSG_DONTWAIT,
                          reinterpret_cast<sockaddr*>(&address), sizeof(address));
  if (sent < 0) return fail_errno(errno, "send through a packet socket");
  return {};
}

}  // namespace tombolo::neighbor
