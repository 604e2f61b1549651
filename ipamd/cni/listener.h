// The agent's unix socket: one request and one reply per connection. Bounds: kMostConnections at a
// time (more are told to try again), frames as wire.h says, kReadTimeout for the request to arrive
// and for the reply to leave. Control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/clock.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo::cni {

class Listener {
 public:
  static constexpr std::size_t kMostConnections = 256;
  static constexpr Duration kReadTimeout = std::chrono::seconds(5);

  struct Reply {
    std::string body;
    // Set when the plugin tells that it has passed the reply on (wire.h): called when it ends
    // without telling. Not when nobody can know, because it takes longer than kReadTimeout.
    std::function<void()> not_taken;
  };
  // `answer` gets the body of a request.
  using Answerer = std::function<asio::awaitable<Reply>(std::string)>;
  Listener(std::string path, Answerer answer, TaskGroup& tasks, Clock& clock, Logger log);
  ~Listener();

  // Binds (mode 0600), takes the place of a socket that nobody listens on, and starts to serve.
  // kAlreadyExists when another process listens there.
  Result<void> open();

 private:
  struct Sockets;
  struct Connection;

  asio::awaitable<void> accept_loop();
  asio::awaitable<void> close_late_ones();
  asio::awaitable<void> serve(std::uint64_t id);
  asio::awaitable<Result<void>> exchange(std::uint64_t id);
  asio::awaitable<Result<std::string>> receive(std::uint64_t id);

  std::string path_;
  Answerer answer_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  std::unique_ptr<Sockets> sockets_;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t next_id_ = 0;
};

}  // namespace tombolo::cni
