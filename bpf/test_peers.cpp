// See test_peers.h.
#include "bpf/test_peers.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

namespace tombolo::bpf {
namespace {

constexpr int kLimitS = 5;
constexpr std::size_t kMaxSockets = 4096;

int socket_type(Protocol protocol) {
  return protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
}

void set_limits(int fd) {
  timeval limit{.tv_sec = kLimitS, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

}  // namespace

SocketAddress to_sockaddr(const Endpoint& endpoint, int socket_family) {
  SocketAddress address;
  if (socket_family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(static_cast<std::uint32_t>(endpoint.ip.value()));
    std::memcpy(&address.storage, &in, sizeof(in));
    address.length = sizeof(in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    auto bytes = endpoint.ip.mapped_bytes_be();
    std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&address.storage, &in, sizeof(in));
    address.length = sizeof(in);
  }
  return address;
}

Endpoint from_sockaddr(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &address.storage, sizeof(in));
    return {Ip::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  sockaddr_in6 in;
  std::memcpy(&in, &address.storage, sizeof(in));
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
  return {Ip::from_mapped_bytes_be(bytes), ntohs(in.sin6_port)};
}

Backends::Backends(const std::vector<std::string>& endpoints, Protocol protocol)
    : protocol_(protocol), stop_(eventfd(0, EFD_CLOEXEC)) {
  for (const std::string& text : endpoints) {
    Endpoint endpoint = Endpoint::parse(text).value();
    int family = endpoint.ip.is_v4() ? AF_INET : AF_INET6;
    Descriptor fd(socket(family, socket_type(protocol) | SOCK_CLOEXEC, 0));
    int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    SocketAddress address = to_sockaddr(endpoint, family);
    ENSURE(bind(fd.get(), address.get(), address.length) == 0, "{}: {}", text,
           std::strerror(errno));
    bool listens = protocol == Protocol::kTcp;
    if (listens) ENSURE(listen(fd.get(), 1024) == 0);
    sockets_.push_back({std::move(fd), text, listens});
  }
  thread_ = std::thread([this] { serve(); });
}

Backends::~Backends() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Backends::serve() {
  while (true) {
    std::vector<pollfd> wanted{{stop_.get(), POLLIN, 0}};
    for (const Socket& one : sockets_) wanted.push_back({one.fd.get(), POLLIN, 0});
    if (poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[0].revents != 0) return;
    for (std::size_t i = wanted.size() - 1; i > 0; --i) {
      if (wanted[i].revents == 0) continue;
      Socket& ready = sockets_[i - 1];
      if (!ready.listens && protocol_ == Protocol::kTcp) {
        if (!answer(ready.fd.get())) sockets_.erase(sockets_.begin() + static_cast<long>(i - 1));
      } else if (ready.listens) {
        Descriptor taken(accept4(ready.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!taken || sockets_.size() >= kMaxSockets) continue;
        ssize_t sent = ::send(taken.get(), ready.name.data(), ready.name.size(), MSG_NOSIGNAL);
        if (sent > 0) sockets_.push_back({std::move(taken), ready.name, false});
      } else {
        char buffer[2048];
        SocketAddress from;
        if (recvfrom(ready.fd.get(), buffer, sizeof(buffer), 0, from.get(), &from.length) >= 0)
          sendto(ready.fd.get(), ready.name.data(), ready.name.size(), 0, from.get(), from.length);
      }
    }
  }
}

// Echo; false when the connection is over.
bool Backends::answer(int fd) {
  char buffer[2048];
  ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
  if (got <= 0) return false;
  return ::send(fd, buffer, static_cast<std::size_t>(got), MSG_NOSIGNAL) == got;
}

Result<Client> Client::open(Call call, int family) {
  Client client;
  client.call_ = call;
  int type = call == Call::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  client.fd_ = Descriptor(socket(family, type | SOCK_CLOEXEC, 0));
  if (!client.fd_) return fail_errno(errno, "socket");
  set_limits(client.fd());
  // Closed by reset, so that a thousand short connections do not use up the ports.
  linger hard{.l_onoff = 1, .l_linger = 0};
  if (call == Call::kTcp) setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  return client;
}

Result<void> Client::connect(const Endpoint& to) {
  int family = 0;
  socklen_t size = sizeof(family);
  getsockopt(fd(), SOL_SOCKET, SO_DOMAIN, &family, &size);
  SocketAddress address = to_sockaddr(to, family);
  if (::connect(fd(), address.get(), address.length) == 0) return {};
  return fail_errno(errno, "connect to {}", to.str());
}

Result<void> Client::send(std::string_view bytes) {
  if (::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0) return {};
  return fail_errno(errno, "send");
}

Result<void> Client::send_to(const Endpoint& to, std::string_view bytes) {
  int family = 0;
  socklen_t size = sizeof(family);
  getsockopt(fd(), SOL_SOCKET, SO_DOMAIN, &family, &size);
  SocketAddress address = to_sockaddr(to, family);
  if (sendto(fd(), bytes.data(), bytes.size(), 0, address.get(), address.length) >= 0) return {};
  return fail_errno(errno, "send to {}", to.str());
}

Result<Client::Received> Client::receive() {
  char buffer[2048];
  SocketAddress from;
  ssize_t got = recvfrom(fd(), buffer, sizeof(buffer), 0, from.get(), &from.length);
  if (got < 0) return fail_errno(errno, "receive");
  Received received{std::string(buffer, static_cast<std::size_t>(got)), {}};
  if (call_ != Call::kTcp) {
    received.from = from_sockaddr(from);
    return received;
  }
  TRY(peer, peer_name());
  received.from = peer;
  return received;
}

Result<Endpoint> Client::peer_name() {
  SocketAddress peer;
  if (getpeername(fd(), peer.get(), &peer.length) != 0) return fail_errno(errno, "getpeername");
  return from_sockaddr(peer);
}

Result<Client::Received> ask(Call call, int family, const Endpoint& to) {
  TRY(client, Client::open(call, family));
  if (call == Call::kUdpUnconnected) {
    TRY_OK(client.send_to(to, "?"));
    return client.receive();
  }
  TRY_OK(client.connect(to));
  if (call == Call::kUdpConnected) TRY_OK(client.send("?"));
  return client.receive();
}

}  // namespace tombolo::bpf
