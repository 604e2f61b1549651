// Coroutines with an owner: every coroutine belongs to a TaskGroup, which cancels and joins it.
// Also Signal, the one way in which coroutines of one executor wait for each other. Everything here
// belongs to one executor (no locks).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <memory>
#include <string>

#include "core/error.h"

namespace tombolo {

namespace asio = boost::asio;

// Wakes everybody who waits. A notify with nobody waiting is not remembered: waiters look at their
// condition first.
class Signal {
 public:
  explicit Signal(const asio::any_io_executor& executor);
  void notify_all();
  // Returns after the next notify_all, or kCancelled.
  asio::awaitable<Result<void>> wait();

 private:
  asio::steady_timer timer_;  // never expires; cancelling it is the wake-up
  std::uint64_t generation_ = 0;
};

class TaskGroup {
 public:
  explicit TaskGroup(asio::any_io_executor executor);
  // A part of `parent` that can also be ended alone: the parent's cancel() cancels it, the parent's
  // size() and join() count its tasks. Destroyed before the parent.
  explicit TaskGroup(TaskGroup& parent);
  // ENSUREs that every task has ended: call cancel() and join() before.
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts a task. An exception other than a cancellation ends the process: tasks return errors as
  // values. After cancel() new tasks are not started.
  void spawn(std::string name, asio::awaitable<void> task);
  // Asks every task to stop; their waits return kCancelled.
  void cancel();
  // Returns when no task is left.
  asio::awaitable<void> join();
  std::size_t size() const;
  bool cancelled() const { return cancelled_; }
  const asio::any_io_executor& executor() const { return executor_; }

 private:
  struct Task {
    std::string name;
    asio::cancellation_signal cancel;
    bool started = false;
  };
  void note_end();

  asio::any_io_executor executor_;
  TaskGroup* parent_ = nullptr;
  std::list<TaskGroup*> children_;
  std::list<std::unique_ptr<Task>> tasks_;
  Signal ended_;
  bool cancelled_ = false;
};

}  // namespace tombolo
