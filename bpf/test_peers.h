// Backends and clients for tests and benchmarks of load balancing: real sockets, blocking, with
// time limits. Everything happens in the network namespace and cgroup of the calling thread.
#pragma once

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>
#include <vector>

#include "bpf/internal.h"

namespace tombolo::bpf {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};
// An IPv4 address for an AF_INET6 socket becomes ::ffff:a.b.c.d, and back.
SocketAddress to_sockaddr(const Endpoint& endpoint, int socket_family);
Endpoint from_sockaddr(const SocketAddress& address);

// Servers that answer every connection and every datagram with their own address
// ("127.0.0.2:8080"). TCP connections also echo, until they are closed.
class Backends {
 public:
  Backends(const std::vector<std::string>& endpoints, Protocol protocol);
  ~Backends();
  Backends(const Backends&) = delete;
  Backends& operator=(const Backends&) = delete;

 private:
  void serve();
  bool answer(int fd);
  struct Socket {
    Descriptor fd;
    std::string name;
    bool listens = false;
  };
  Protocol protocol_;
  std::vector<Socket> sockets_;
  Descriptor stop_;
  std::thread thread_;
};

enum class Call { kTcp, kUdpConnected, kUdpUnconnected };

// One client socket. Errors carry the errno of the call that failed.
class Client {
 public:
  static Result<Client> open(Call call, int family);
  Result<void> connect(const Endpoint& to);
  Result<void> send(std::string_view bytes);  // on a connected socket
  Result<void> send_to(const Endpoint& to, std::string_view bytes);
  // What came, and from where (UDP; for TCP the peer's name).
  struct Received {
    std::string bytes;
    Endpoint from;
  };
  Result<Received> receive();
  Result<Endpoint> peer_name();
  int fd() const { return fd_.get(); }

 private:
  Descriptor fd_;
  Call call_ = Call::kTcp;
};

// Connects or sends, and returns what the backend says it is and where the answer seems to come
// from.
Result<Client::Received> ask(Call call, int family, const Endpoint& to);

// Runs one coroutine to its end. The context outlives every worker: one that has just handed over
// its result may still be inside of it.
inline asio::io_context& test_context() {
  static asio::io_context context;
  return context;
}

template <class T>
T run_now(asio::awaitable<T> task) {
  asio::io_context& context = test_context();
  context.restart();
  std::optional<T> result;
  asio::co_spawn(context, std::move(task), [&](std::exception_ptr error, T value) {
    ENSURE(error == nullptr);
    result.emplace(std::move(value));
  });
  context.run();
  return std::move(*result);
}

}  // namespace tombolo::bpf
