// See exchange.h. A deadline closes the socket, which ends every wait on it; the socket is shared
// with the deadline's handler, so a late handler finds it alive.
#include "dns/exchange.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <memory>

namespace tombolo::dns {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

asio::ip::address to_address(const Ip& ip) {
  std::string bytes = ip.bytes_be();
  if (ip.is_v4()) {
    asio::ip::address_v4::bytes_type v4{};
    std::copy(bytes.begin(), bytes.end(), v4.begin());
    return asio::ip::address_v4(v4);
  }
  asio::ip::address_v6::bytes_type v6{};
  std::copy(bytes.begin(), bytes.end(), v6.begin());
  return asio::ip::address_v6(v6);
}

// Closes the socket at the deadline, unless it is destroyed before.
template <class Socket>
class Deadline {
 public:
  Deadline(const std::shared_ptr<Socket>& socket, Duration timeout)
      : timer_(socket->get_executor(), timeout), fired_(std::make_shared<bool>(false)) {
    timer_.async_wait([socket, fired = fired_](boost::system::error_code error) {
      if (error) return;
      *fired = true;
      boost::system::error_code ignored;  // closing a socket that is closed is no fault
      socket->close(ignored);
    });
  }
  ~Deadline() { timer_.cancel(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool fired() const { return *fired_; }

 private:
  asio::steady_timer timer_;
  std::shared_ptr<bool> fired_;
};

std::unexpected<Error> network_error(const Endpoint& server, const boost::system::error_code& error,
                                     bool timed_out) {
  if (timed_out) return fail(Code::kDeadlineExceeded, "{} did not answer in time", server.str());
  if (error == asio::error::operation_aborted)
    return fail(Code::kCancelled, "question to {} was cancelled", server.str());
  return fail(Code::kUnavailable, "{}: {}", server.str(), error.message());
}

}  // namespace

bool answers(const Message& reply, const Message& query) {
  return reply.id == query.id && (reply.flags & kFlagQr) != 0 && (reply.flags & kOpcodeMask) == 0 &&
         reply.questions.size() == 1 && reply.questions[0].type == query.questions[0].type &&
         reply.questions[0].klass == query.questions[0].klass &&
         reply.questions[0].name.same_as(query.questions[0].name);
}

asio::awaitable<Result<Message>> exchange_udp(Endpoint server, Message query,
                                              ExchangeOptions options) {
  auto socket = std::make_shared<asio::ip::udp::socket>(co_await asio::this_coro::executor);
  asio::ip::udp::endpoint to(to_address(server.ip), server.port);
  boost::system::error_code error;
  socket->open(to.protocol(), error);
  // Connected: the kernel drops what comes from anybody else, and tells of ICMP errors.
  if (!error) socket->connect(to, error);
  if (error) co_return network_error(server, error, false);
  Deadline<asio::ip::udp::socket> deadline(socket, options.timeout);
  std::string packet = encode_message(query, kMaxMessageSize);
  auto buffer = asio::buffer(packet);
  auto [send_error, sent] = co_await socket->async_send(buffer, kAwait);
  if (send_error) co_return network_error(server, send_error, deadline.fired());
  std::vector<std::uint8_t> received(kMaxMessageSize);
  while (true) {
    auto room = asio::buffer(received);
    auto [receive_error, size] = co_await socket->async_receive(room, kAwait);
    if (receive_error) co_return network_error(server, receive_error, deadline.fired());
    auto reply = parse_message({received.data(), size});
    if (reply && answers(*reply, query)) co_return std::move(*reply);
  }
}

asio::awaitable<Result<Message>> exchange_tcp(Endpoint server, Message query,
                                              ExchangeOptions options) {
  auto socket = std::make_shared<asio::ip::tcp::socket>(co_await asio::this_coro::executor);
  Deadline<asio::ip::tcp::socket> deadline(socket, options.timeout);
  asio::ip::tcp::endpoint to(to_address(server.ip), server.port);
  auto [connect_error] = co_await socket->async_connect(to, kAwait);
  if (connect_error) co_return network_error(server, connect_error, deadline.fired());
  std::string packet = encode_message(query, kMaxMessageSize);
  std::string framed;
  append16_be(framed, static_cast<std::uint16_t>(packet.size()));
  framed += packet;
  auto out = asio::buffer(framed);
  auto [write_error, written] = co_await asio::async_write(*socket, out, kAwait);
  if (write_error) co_return network_error(server, write_error, deadline.fired());
  std::vector<std::uint8_t> received(2);
  auto head = asio::buffer(received);
  auto [head_error, head_size] = co_await asio::async_read(*socket, head, kAwait);
  if (head_error) co_return network_error(server, head_error, deadline.fired());
  received.resize(load16_be(received.data()));
  auto body = asio::buffer(received);
  auto [body_error, body_size] = co_await asio::async_read(*socket, body, kAwait);
  if (body_error) co_return network_error(server, body_error, deadline.fired());
  auto reply = parse_message({received.data(), received.size()});
  if (!reply) co_return std::unexpected(std::move(reply).error().with_context(server.str()));
  if (!answers(*reply, query))
    co_return fail(Code::kInvalidArgument, "{} answered another question", server.str());
  co_return std::move(*reply);
}

asio::awaitable<Result<Message>> exchange(Endpoint server, Message query, ExchangeOptions options) {
  auto reply = co_await exchange_udp(server, query, options);
  if (!reply || (reply->flags & kFlagTc) == 0) co_return reply;
  co_return co_await exchange_tcp(server, std::move(query), options);
}

}  // namespace tombolo::dns
