// Runs coroutines of one io_context from a test's thread: until a coroutine has answered, or until
// a condition holds. Test code only.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>

#include "core/error.h"

namespace tombolo {

namespace asio = boost::asio;

class Drive {
 public:
  asio::io_context& context() { return context_; }
  asio::any_io_executor executor() { return context_.get_executor(); }

  // The answer of the coroutine; throws when it takes longer than `limit`.
  template <class T>
  T run(asio::awaitable<T> task, std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    std::optional<T> answer;
    asio::co_spawn(context_, std::move(task), [&answer](std::exception_ptr error, T value) {
      if (error) std::rethrow_exception(error);
      answer.emplace(std::move(value));
    });
    if (!until([&] { return answer.has_value(); }, limit))
      throw std::runtime_error("a coroutine did not answer in time");
    return std::move(*answer);
  }

  // True when the condition came to hold within the limit.
  bool until(const std::function<bool()>& holds,
             std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    auto end = std::chrono::steady_clock::now() + limit;
    auto guard = asio::make_work_guard(context_);
    context_.restart();
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      context_.run_one_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  // Runs that many handlers, if there are so many.
  void settle_some(int handlers) {
    context_.restart();
    for (int i = 0; i < handlers; ++i) context_.poll_one();
  }

  // Runs what can run now.
  void settle() {
    context_.restart();
    context_.poll();
  }

 private:
  asio::io_context context_;
};

}  // namespace tombolo
