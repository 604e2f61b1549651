// DNS over TCP (RFC 7766): pipelined questions, answers in the order in which they are ready, one
// write per message, idle connections closed, connections limited in all and per client. Coroutines
// of the server's io thread.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "core/log.h"
#include "core/task_group.h"
#include "dns/forwarder.h"
#include "dns/request_counters.h"
#include "dns/responder.h"
#include "dns/snapshot_box.h"
#include "dns/sockets.h"

namespace tombolo::dns {

struct TcpSettings {
  std::size_t max_connections = 512;
  std::size_t max_connections_per_client = 64;
  Duration idle_timeout = std::chrono::seconds(10);  // without one whole question or written answer
};

class TcpServer {
 public:
  // `forwarder` may be null: then the responder never asks for it.
  TcpServer(TcpSettings settings, const SnapshotBox& snapshots, Responder responder,
            Forwarder* forwarder, TaskGroup& tasks, Clock& clock, Logger log);
  ~TcpServer();
  // Takes the listening socket.
  void listen(BoundSocket socket);
  RequestCounters& counters() { return counters_; }

 private:
  struct Connection;
  struct Listener;
  asio::awaitable<void> accept(std::shared_ptr<Listener> listener);
  asio::awaitable<void> read(std::shared_ptr<Connection> connection);
  asio::awaitable<void> write(std::shared_ptr<Connection> connection);
  asio::awaitable<void> watch(std::shared_ptr<Connection> connection);
  asio::awaitable<void> forward(std::shared_ptr<Connection> connection,
                                std::shared_ptr<const ForwardRequest> request, ZoneLabel zone,
                                MonotonicTime arrived);
  // False: the packet ends the connection.
  bool take(const std::shared_ptr<Connection>& connection, std::span<const std::uint8_t> packet);
  void close(Connection& connection);

  TcpSettings settings_;
  SnapshotBox::Reader snapshots_;
  Responder responder_;
  Forwarder* forwarder_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  RequestCounters counters_{"tcp"};
  std::vector<std::uint8_t> reply_;
  std::size_t open_ = 0;
  std::map<Ip, std::size_t> open_by_client_;
  metrics::Counter refused_;
};

}  // namespace tombolo::dns
