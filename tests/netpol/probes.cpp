// See probes.h. Nothing blocks: a socket belongs to the network namespace in which it was made,
// wherever the thread is afterwards.
#include "tests/netpol/probes.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>

#include "bpf/test_peers.h"

namespace tombolo::netpol {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::array kFamilies{Family::kV4, Family::kV6};
constexpr auto kPatience = std::chrono::seconds(5);
constexpr auto kAfterwards = std::chrono::milliseconds(60);
constexpr int kProtocolSctp = 132;
constexpr std::size_t kSctpPacket = 32;

int domain_of(Family family) {
  return family == Family::kV4 ? AF_INET : AF_INET6;
}

Descriptor make_socket(int domain, int type, int protocol = 0) {
  Descriptor fd(socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  ENSURE(static_cast<bool>(fd), "{}", std::strerror(errno));
  return fd;
}

// An INIT chunk's outline behind the common header; checksums are the receiver's matter.
std::string sctp_packet(Port source, Port destination) {
  std::string packet(kSctpPacket, '\0');
  packet[0] = static_cast<char>(source >> 8);
  packet[1] = static_cast<char>(source & 0xff);
  packet[2] = static_cast<char>(destination >> 8);
  packet[3] = static_cast<char>(destination & 0xff);
  packet[12] = 1;
  packet[15] = 20;
  return packet;
}

}  // namespace

Probes::Probes(const Fabric& fabric, std::set<policy::Probe> probes)
    : fabric_(fabric), probes_(std::move(probes)) {
  for (std::size_t slot = 0; slot <= fabric.node(); ++slot)
    fabric.inside(slot, [&] { listen_in(slot); });
}

void Probes::listen_in(std::size_t slot) {
  for (Family family : kFamilies)
    raw_[{slot, family}] = make_socket(domain_of(family), SOCK_RAW, kProtocolSctp);
  if (slot == fabric_.node()) return;
  for (const policy::Probe& probe : probes_) {
    if (probe.protocol == Protocol::kSctp) continue;
    bool tcp = probe.protocol == Protocol::kTcp;
    Descriptor fd = make_socket(AF_INET6, tcp ? SOCK_STREAM : SOCK_DGRAM);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(probe.port);
    ENSURE(bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0, "{}",
           std::strerror(errno));
    ENSURE(!tcp || listen(fd.get(), 1024) == 0);
    listeners_.push_back({probe, std::move(fd)});
  }
}

void Probes::begin_tcp(const Reach& reach) {
  linger hard{.l_onoff = 1, .l_linger = 0};
  int domain = domain_of(reach.family);
  Descriptor fd = make_socket(domain, SOCK_STREAM);
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  Ip ip = fabric_.address(reach.destination, reach.family);
  auto address = bpf::to_sockaddr({ip, reach.probe.port}, domain);
  int done = connect(fd.get(), address.get(), address.length);
  ENSURE(done == 0 || errno == EINPROGRESS, "{}", std::strerror(errno));
  attempts_.push_back({reach, std::move(fd)});
}

void Probes::begin_udp(const Reach& reach) {
  int domain = domain_of(reach.family);
  Descriptor& fd = askers_[{reach.source, reach.family}];
  if (!fd) fd = make_socket(domain, SOCK_DGRAM);
  Ip ip = fabric_.address(reach.destination, reach.family);
  auto address = bpf::to_sockaddr({ip, reach.probe.port}, domain);
  ENSURE(sendto(fd.get(), "?", 1, 0, address.get(), address.length) == 1, "{}",
         std::strerror(errno));
}

void Probes::begin_sctp(const Reach& reach) {
  int domain = domain_of(reach.family);
  std::string packet = sctp_packet(sctp_source_, reach.probe.port);
  auto address = bpf::to_sockaddr({fabric_.address(reach.destination, reach.family), 0}, domain);
  int fd = raw_.at({reach.source, reach.family}).get();
  ENSURE(sendto(fd, packet.data(), packet.size(), 0, address.get(), address.length) ==
             static_cast<ssize_t>(packet.size()),
         "{}", std::strerror(errno));
}

void Probes::begin_in(std::size_t slot, const std::set<std::size_t>& slots) {
  for (Family family : kFamilies)
    for (const policy::Probe& probe : probes_)
      for (std::size_t to : slots) {
        if (to == slot) continue;
        Reach reach{family, probe, slot, to};
        if (probe.protocol == Protocol::kTcp)
          begin_tcp(reach);
        else if (probe.protocol == Protocol::kUdp)
          begin_udp(reach);
        else
          begin_sctp(reach);
      }
}

void Probes::look_at_connects() {
  std::vector<pollfd> polls;
  for (const Attempt& attempt : attempts_) polls.push_back({attempt.fd.get(), POLLOUT, 0});
  poll(polls.data(), polls.size(), 0);
  for (std::size_t i = 0; i < polls.size(); ++i)
    if ((polls[i].revents & POLLOUT) != 0 && (polls[i].revents & (POLLERR | POLLHUP)) == 0)
      seen_.insert(attempts_[i].reach);
}

void Probes::answer() {
  for (const Listener& listener : listeners_) {
    if (listener.probe.protocol == Protocol::kTcp) {
      for (;;)
        if (Descriptor taken(accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)); !taken)
          break;
      continue;
    }
    char byte;
    bpf::SocketAddress from;
    while (from.length = sizeof(from.storage),
           recvfrom(listener.fd.get(), &byte, 1, 0, from.get(), &from.length) == 1)
      sendto(listener.fd.get(), "!", 1, 0, from.get(), from.length);
  }
}

void Probes::look_at_answers() {
  for (const auto& [place, fd] : askers_) {
    char byte;
    bpf::SocketAddress from;
    while (from.length = sizeof(from.storage),
           recvfrom(fd.get(), &byte, 1, 0, from.get(), &from.length) == 1) {
      Endpoint endpoint = bpf::from_sockaddr(from);
      if (auto slot = fabric_.slot_of(endpoint.ip))
        seen_.insert({place.second, {Protocol::kUdp, endpoint.port}, place.first, *slot});
    }
  }
}

void Probes::look_at_raw(const Place& place, const Descriptor& fd) {
  unsigned char packet[256];
  bpf::SocketAddress from;
  for (;;) {
    from.length = sizeof(from.storage);
    ssize_t got = recvfrom(fd.get(), packet, sizeof(packet), 0, from.get(), &from.length);
    if (got < 0) return;
    // IPv4's raw sockets give the IP header too.
    std::size_t at = place.second == Family::kV4 ? (packet[0] & 15U) * 4 : 0;
    if (static_cast<std::size_t>(got) < at + kSctpPacket) continue;
    auto source_port = static_cast<Port>(packet[at] << 8 | packet[at + 1]);
    auto port = static_cast<Port>(packet[at + 2] << 8 | packet[at + 3]);
    auto source = fabric_.slot_of(bpf::from_sockaddr(from).ip);
    if (source && source_port == sctp_source_)
      seen_.insert({place.second, {Protocol::kSctp, port}, *source, place.first});
  }
}

void Probes::look() {
  look_at_connects();
  answer();
  look_at_answers();
  for (const auto& [place, fd] : raw_) look_at_raw(place, fd);
}

std::set<Reach> Probes::run(const std::set<std::size_t>& slots, const std::set<Reach>& expected) {
  ++sctp_source_;
  look();  // what an earlier run left in the sockets
  seen_.clear();
  for (std::size_t slot : slots) fabric_.inside(slot, [&] { begin_in(slot, slots); });
  fabric_.inside(fabric_.node(), [&] { begin_in(fabric_.node(), slots); });
  auto pause = [] { poll(nullptr, 0, 1); };
  auto end = SteadyClock::now() + kPatience;
  auto missing = [&] { return !std::ranges::includes(seen_, expected); };
  for (look(); missing() && SteadyClock::now() < end; look()) pause();
  end = SteadyClock::now() + kAfterwards;
  for (; SteadyClock::now() < end; look()) pause();
  attempts_.clear();
  askers_.clear();
  return std::move(seen_);
}

}  // namespace tombolo::netpol
