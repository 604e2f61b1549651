// Blocking work (SQLite, libbpf batches, netlink dumps) off the control thread, behind co_await.
// One Worker is one thread: its jobs run in the order in which they were asked for.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>
#include <type_traits>

#include "core/error.h"

namespace tombolo {

namespace asio = boost::asio;

class Worker {
 public:
  Worker() : pool_(std::in_place, 1), jobs_(pool_->get_executor()) {}
  // Jobs run where `jobs` runs what is posted to it, which has to be one after the other: the
  // queue of a simulation, for one, which outlives the worker.
  explicit Worker(asio::any_io_executor jobs) : jobs_(std::move(jobs)) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Finishes the jobs that were asked for, when the thread is its own.
  ~Worker() {
    if (pool_) pool_->join();
  }

  // Runs `job` (no arguments, returns Result<T>) on the worker and resumes the caller on its own
  // executor. `job` holds what it needs by value: the caller may be cancelled, but a job that was
  // asked for always runs to its end.
  template <class Job>
  asio::awaitable<std::invoke_result_t<Job>> run(Job job) {
    using Value = std::invoke_result_t<Job>;
    auto slot = std::make_shared<std::optional<Value>>();
    auto initiate = [this, slot, held = std::move(job)](auto handler) mutable {
      auto executor = asio::get_associated_executor(handler);
      asio::post(jobs_,
                 [slot, held = std::move(held), executor, handler = std::move(handler)]() mutable {
                   slot->emplace(held());
                   asio::post(executor, std::move(handler));
                 });
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(std::move(initiate),
                                                                          asio::use_awaitable);
    co_return std::move(**slot);
  }

  // Runs `job` (no arguments, returns nothing) after those before it; nobody waits for it. Any
  // thread.
  template <class Job>
  void post(Job job) {
    asio::post(jobs_, std::move(job));
  }

 private:
  std::optional<asio::thread_pool> pool_;
  asio::any_io_executor jobs_;
};

}  // namespace tombolo
