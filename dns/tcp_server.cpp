// See tcp_server.h.
#include "dns/tcp_server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <deque>

namespace tombolo::dns {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// A question has one name and OPT; a client that sends more is not asking.
constexpr std::size_t kMaxQuery = 4096;
// Answers and questions under way per connection. A client that does not read its answers is not
// read from either, until its idle time is over.
constexpr std::size_t kMaxQueued = 64;

}  // namespace

struct TcpServer::Listener {
  asio::ip::tcp::acceptor acceptor;
  Endpoint local;
};

struct TcpServer::Connection {
  Connection(asio::ip::tcp::socket accepted, Ip from)
      : socket(std::move(accepted)),
        client(from),
        changed(socket.get_executor()),
        idle(socket.get_executor()) {}
  asio::ip::tcp::socket socket;
  Ip client;
  Signal changed;               // of everything below
  std::deque<std::string> out;  // framed answers
  std::size_t forwarded = 0;    // questions at the forwarder
  // Cancelled when the connection closes, so that nothing of a closed one stays behind.
  asio::steady_timer idle;
  MonotonicTime deadline{};
  bool read_ended = false;
  bool closed = false;
};

TcpServer::TcpServer(TcpSettings settings, const SnapshotBox& snapshots, Responder responder,
                     Forwarder* forwarder, TaskGroup& tasks, Clock& clock, Logger log)
    : settings_(settings),
      snapshots_(snapshots),
      responder_(std::move(responder)),
      forwarder_(forwarder),
      tasks_(tasks),
      clock_(clock),
      log_(std::move(log)),
      reply_(kMaxMessageSize),
      refused_(metrics::counter("tombolo_dns_tcp_refused_total",
                                "DNS connections closed at once, for a limit")) {}

TcpServer::~TcpServer() = default;

void TcpServer::listen(BoundSocket socket) {
  asio::ip::tcp::acceptor acceptor(tasks_.executor());
  acceptor.assign(socket.local.ip.is_v4() ? asio::ip::tcp::v4() : asio::ip::tcp::v6(),
                  socket.fd.release());
  auto listener = std::make_shared<Listener>(std::move(acceptor), socket.local);
  tasks_.spawn("dns-accept", accept(std::move(listener)));
}

asio::awaitable<void> TcpServer::accept(std::shared_ptr<Listener> listener) {
  while (!tasks_.cancelled()) {
    auto [error, socket] = co_await listener->acceptor.async_accept(kAwait);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      // Out of descriptors, mostly: look again when some may be free.
      log_.warning("accept on {}: {}", listener->local.str(), error.message());
      if (auto slept = co_await clock_.sleep_for(std::chrono::milliseconds(100)); !slept) co_return;
      continue;
    }
    boost::system::error_code gone;
    auto from = socket.remote_endpoint(gone);
    if (gone) continue;
    auto ip = Ip::parse(from.address().is_v6() ? from.address().to_v6().to_string()
                                               : from.address().to_string());
    std::size_t& of_client = open_by_client_[ip ? *ip : Ip()];
    if (open_ >= settings_.max_connections || of_client >= settings_.max_connections_per_client) {
      if (of_client == 0) open_by_client_.erase(ip ? *ip : Ip());
      refused_.increment();
      continue;
    }
    ++open_;
    ++of_client;
    auto connection = std::make_shared<Connection>(std::move(socket), ip ? *ip : Ip());
    connection->deadline = clock_.now() + settings_.idle_timeout;
    tasks_.spawn("dns-tcp-read", read(connection));
    tasks_.spawn("dns-tcp-write", write(connection));
    tasks_.spawn("dns-tcp-watch", watch(connection));
  }
}

void TcpServer::close(Connection& connection) {
  if (connection.closed) return;
  connection.closed = true;
  boost::system::error_code ignored;  // closing is all that is wanted
  connection.socket.close(ignored);
  connection.changed.notify_all();
  connection.idle.cancel();
  --open_;
  auto at = open_by_client_.find(connection.client);
  if (--at->second == 0) open_by_client_.erase(at);
}

asio::awaitable<void> TcpServer::read(std::shared_ptr<Connection> connection) {
  std::vector<std::uint8_t> buffer(2 * (kMaxQuery + 2));
  std::size_t filled = 0;
  while (!connection->closed && !tasks_.cancelled()) {
    if (connection->out.size() + connection->forwarded >= kMaxQueued) {
      if (auto woken = co_await connection->changed.wait(); !woken) break;
      continue;
    }
    // Whole messages that are here already come first.
    std::size_t size = filled >= 2 ? load16_be(buffer.data()) : 0;
    if (size > kMaxQuery) break;
    if (filled >= 2 && filled >= size + 2) {
      connection->deadline = clock_.now() + settings_.idle_timeout;
      if (!take(connection, {buffer.data() + 2, size})) break;
      std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(size + 2),
                buffer.begin() + static_cast<std::ptrdiff_t>(filled), buffer.begin());
      filled -= size + 2;
      continue;
    }
    auto room = asio::buffer(buffer.data() + filled, buffer.size() - filled);
    auto [error, got] = co_await connection->socket.async_read_some(room, kAwait);
    if (error) break;
    filled += got;
  }
  connection->read_ended = true;
  connection->changed.notify_all();
}

bool TcpServer::take(const std::shared_ptr<Connection>& connection,
                     std::span<const std::uint8_t> packet) {
  MonotonicTime arrived = clock_.now();
  Reply reply =
      responder_.respond(packet, snapshots_.current(), {connection->client, true}, reply_);
  if (reply.malformed) counters_.count_malformed();
  // What is no question at all: the stream is out of step or hostile.
  if (reply.action == Reply::Action::kDrop) return false;
  if (reply.action == Reply::Action::kForward) {
    ++connection->forwarded;
    std::shared_ptr<const ForwardRequest> request = std::move(reply.forward);
    tasks_.spawn("dns-tcp-forward", forward(connection, std::move(request), reply.zone, arrived));
    return true;
  }
  std::string framed;
  append16_be(framed, static_cast<std::uint16_t>(reply.size));
  framed.append(reinterpret_cast<const char*>(reply_.data()), reply.size);
  connection->out.push_back(std::move(framed));
  connection->changed.notify_all();
  counters_.count(reply.zone, reply.type, reply.rcode, reply.truncated, clock_.now() - arrived);
  return true;
}

asio::awaitable<void> TcpServer::forward(std::shared_ptr<Connection> connection,
                                         std::shared_ptr<const ForwardRequest> request,
                                         ZoneLabel zone, MonotonicTime arrived) {
  Rcode rcode = Rcode::kServFail;
  std::string packet = co_await forwarder_->answer(request, true, &rcode);
  counters_.count(zone, request->query.type, rcode, false, clock_.now() - arrived);
  std::string framed;
  append16_be(framed, static_cast<std::uint16_t>(packet.size()));
  connection->out.push_back(framed + packet);
  --connection->forwarded;
  connection->changed.notify_all();
}

asio::awaitable<void> TcpServer::write(std::shared_ptr<Connection> connection) {
  while (!connection->closed && !tasks_.cancelled()) {
    if (connection->out.empty()) {
      if (connection->read_ended && connection->forwarded == 0) break;
      if (auto woken = co_await connection->changed.wait(); !woken) break;
      continue;
    }
    std::string packet = std::move(connection->out.front());
    connection->out.pop_front();
    auto bytes = asio::buffer(packet);
    auto [error, sent] = co_await asio::async_write(connection->socket, bytes, kAwait);
    if (error) break;
    connection->deadline = clock_.now() + settings_.idle_timeout;
    connection->changed.notify_all();
  }
  close(*connection);
}

asio::awaitable<void> TcpServer::watch(std::shared_ptr<Connection> connection) {
  while (!connection->closed && !tasks_.cancelled()) {
    if (connection->deadline <= clock_.now()) break;
    connection->idle.expires_at(connection->deadline);
    auto [error] = co_await connection->idle.async_wait(kAwait);
    if (error) break;
  }
  close(*connection);
}

}  // namespace tombolo::dns
