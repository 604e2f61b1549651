// One question to one machine while it is open: the echo, and behind it the TCP connection. Lives
// as long as a handler of one of its sockets or timers. Private to app/probe.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>

#include "app/probe/echo.h"
#include "app/probe/probe.h"

namespace tombolo::probe {

class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(const asio::any_io_executor& executor, Ip ip, std::uint64_t token,
          const ProberOptions& options);

  // Waits for the answer; `limit` is the longest. See Prober::answers.
  asio::awaitable<Result<bool>> run(Duration limit);

 private:
  void start_echo();
  void wait_for_echo();
  void start_tcp();
  void finish_tcp(int sys_errno);
  void found();
  void close();

  Ip ip_;
  ProberOptions options_;
  Echo echo_;
  asio::posix::stream_descriptor echo_ready_;
  asio::ip::tcp::socket tcp_;
  asio::steady_timer tcp_later_;
  asio::steady_timer limit_;
  bool answered_ = false;
  bool asked_ = false;  // in one way at least
  bool connecting_ = false;
  bool closed_ = false;
  std::optional<Error> refused_;  // why this machine could not ask
};

}  // namespace tombolo::probe
