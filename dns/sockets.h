// The server's sockets: opened and bound once, closed by their owner. Also the conversion between
// Endpoint and the kernel's address structures.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/descriptor.h"
#include "core/error.h"
#include "core/ip.h"

namespace tombolo::dns {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
SocketAddress to_socket_address(const Endpoint& endpoint);
Endpoint to_endpoint(const sockaddr_storage& storage);

struct BindOptions {
  bool share_port = false;  // SO_REUSEPORT: several workers on one address
  bool free_bind = false;   // bind before the address is on an interface
};

struct BoundSocket {
  Descriptor fd;
  Endpoint local;         // with the port that the kernel chose, when 0 was asked for
  bool wildcard = false;  // 0.0.0.0 or ::, which needs the local address of every packet
};
// A non-blocking socket; IPv6 sockets take IPv6 only. Errors name the address.
Result<BoundSocket> open_udp(const Endpoint& at, const BindOptions& options);
Result<BoundSocket> open_tcp(const Endpoint& at, const BindOptions& options);

}  // namespace tombolo::dns
