// Whatever answers first ends the attempt.
#include "app/probe/attempt.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

namespace tombolo::probe {

using boost::system::error_code;

Attempt::Attempt(const asio::any_io_executor& executor, Ip ip, std::uint64_t token,
                 const ProberOptions& options)
    : ip_(ip),
      options_(options),
      echo_(ip, token),
      echo_ready_(executor),
      tcp_(executor),
      tcp_later_(executor),
      limit_(executor) {}

asio::awaitable<Result<bool>> Attempt::run(Duration limit) {
  limit_.expires_after(limit);
  start_echo();
  if (!answered_) {
    auto [error] = co_await limit_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error && !answered_) {
      close();
      co_return fail(Code::kCancelled, "the probe of {} was cancelled", ip_.str());
    }
  }
  close();
  // A connection that still waits was asked for, and nobody said a word.
  if (answered_ || asked_ || connecting_ || !refused_) co_return answered_;
  co_return std::unexpected(std::move(*refused_));
}

void Attempt::start_echo() {
  Result<bool> sent = echo_.send();
  if (!sent) refused_ = sent.error();
  if (sent) asked_ = true;
  if (!sent || !*sent) return start_tcp();
  error_code error;
  echo_ready_.assign(echo_.fd(), error);
  if (error) return start_tcp();
  wait_for_echo();
  tcp_later_.expires_after(options_.tcp_after);
  tcp_later_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled && !self->closed_) self->start_tcp();
  });
}

void Attempt::wait_for_echo() {
  echo_ready_.async_wait(asio::posix::stream_descriptor::wait_read,
                         [self = shared_from_this()](error_code error) {
                           if (error || self->closed_) return;
                           if (self->echo_.answered()) return self->found();
                           self->wait_for_echo();
                         });
}

void Attempt::start_tcp() {
  error_code error;
  asio::ip::tcp::endpoint to(asio::ip::make_address(ip_.str(), error), options_.tcp_port);
  if (!error) tcp_.open(to.protocol(), error);
  if (error) return finish_tcp(error.value());
  connecting_ = true;
  tcp_.async_connect(to, [self = shared_from_this()](error_code done) {
    if (!self->closed_) self->finish_tcp(done.value());
  });
}

void Attempt::finish_tcp(int sys_errno) {
  connecting_ = false;
  if (sys_errno == 0 || sys_errno == ECONNREFUSED) return found();
  if (is_unreachable(sys_errno))
    asked_ = true;
  else if (!refused_)
    refused_ = Error{code_of_errno(sys_errno), fmt::format("a connection to {}", ip_.str())};
}

void Attempt::found() {
  answered_ = true;
  limit_.cancel();
}

void Attempt::close() {
  closed_ = true;
  tcp_later_.cancel();
  if (echo_ready_.is_open()) echo_ready_.release();  // the descriptor is the echo's
  error_code ignored;  // there is nothing to do about a socket that does not close
  // The other side hears of the end at once, and no port is left waiting here (TIME_WAIT).
  if (tcp_.is_open()) tcp_.set_option(asio::socket_base::linger(true, 0), ignored);
  tcp_.close(ignored);
}

}  // namespace tombolo::probe
