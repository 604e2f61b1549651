// See sockets.h.
#include "dns/sockets.h"

#include <cerrno>
#include <cstring>

namespace tombolo::dns {
namespace {

constexpr int kUdpBufferBytes = 4 << 20;
constexpr int kTcpBacklog = 256;

Result<void> enable(int fd, int level, int option, std::string_view name) {
  int on = 1;
  if (::setsockopt(fd, level, option, &on, sizeof on) != 0)
    return fail_errno(errno, "setsockopt {}", name);
  return {};
}

Result<BoundSocket> open_bound(const Endpoint& at, int type, const BindOptions& options) {
  const bool v4 = at.ip.is_v4();
  BoundSocket made;
  made.fd = Descriptor(::socket(v4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = made.fd.get();
  if (fd < 0) return fail_errno(errno, "socket for {}", at.str());
  made.wildcard = at.ip.value() == 0;
  if (!v4) TRY_OK(enable(fd, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"));
  if (type == SOCK_STREAM) TRY_OK(enable(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"));
  if (options.share_port) TRY_OK(enable(fd, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"));
  if (options.free_bind) {
    TRY_OK(v4 ? enable(fd, IPPROTO_IP, IP_FREEBIND, "IP_FREEBIND")
              : enable(fd, IPPROTO_IPV6, IPV6_FREEBIND, "IPV6_FREEBIND"));
  }
  if (made.wildcard && type == SOCK_DGRAM) {
    TRY_OK(v4 ? enable(fd, IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO")
              : enable(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"));
  }
  SocketAddress address = to_socket_address(at);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0)
    return fail_errno(errno, "bind {} {}", type == SOCK_DGRAM ? "udp" : "tcp", at.str());
  address.size = sizeof address.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0)
    return fail_errno(errno, "getsockname of {}", at.str());
  made.local = to_endpoint(address.storage);
  return made;
}

}  // namespace

SocketAddress to_socket_address(const Endpoint& endpoint) {
  SocketAddress address;
  std::string bytes = endpoint.ip.bytes_be();
  if (endpoint.ip.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    std::memcpy(&in->sin_addr, bytes.data(), bytes.size());
    address.size = sizeof(sockaddr_in);
  } else {
    auto* in = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(endpoint.port);
    std::memcpy(&in->sin6_addr, bytes.data(), bytes.size());
    address.size = sizeof(sockaddr_in6);
  }
  return address;
}

Endpoint to_endpoint(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    return {Ip::v4(ntohl(in->sin_addr.s_addr)), ntohs(in->sin_port)};
  }
  const auto* in = reinterpret_cast<const sockaddr_in6*>(&storage);
  uint128 value = 0;
  for (std::uint8_t byte : in->sin6_addr.s6_addr) value = (value << 8) | byte;
  return {Ip::v6(value), ntohs(in->sin6_port)};
}

Result<BoundSocket> open_udp(const Endpoint& at, const BindOptions& options) {
  TRY(made, open_bound(at, SOCK_DGRAM, options));
  // The kernel's limit (net.core.rmem_max) applies; a smaller buffer only drops earlier.
  for (int buffer : {SO_RCVBUF, SO_SNDBUF})
    if (::setsockopt(made.fd.get(), SOL_SOCKET, buffer, &kUdpBufferBytes, sizeof kUdpBufferBytes) !=
        0)
      return fail_errno(errno, "setsockopt SO_RCVBUF/SO_SNDBUF of {}", at.str());
  return made;
}

Result<BoundSocket> open_tcp(const Endpoint& at, const BindOptions& options) {
  TRY(made, open_bound(at, SOCK_STREAM, options));
  if (::listen(made.fd.get(), kTcpBacklog) != 0) return fail_errno(errno, "listen {}", at.str());
  return made;
}

}  // namespace tombolo::dns
