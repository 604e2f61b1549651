// From gRPC's threads to the control thread and back. A call is a coroutine that runs on the
// control thread, in a TaskGroup; its answer is given exactly once, from whichever thread ends it:
// when it is done, cancelled, too late, refused at the bound, or when the bridge closes.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/clock.h"
#include "core/error.h"
#include "core/task_group.h"

namespace tombolo::admin {

class Bridge {
 public:
  struct Limits {
    std::size_t calls = 64;                            // in flight; one more is kResourceExhausted
    Duration longest_call = std::chrono::minutes(11);  // then kDeadlineExceeded
    std::size_t streams = 16;  // besides the calls; they last until somebody ends them
  };
  enum class Kind { kCall, kStream };
  // Starts on the control thread and may be suspended there. It owns what it works on.
  using Work = std::function<asio::awaitable<Result<void>>()>;
  // Any thread; quick.
  using Done = std::function<void(Result<void>)>;

  class Call;
  class State;

  // Control thread; `tasks` and `clock` outlive the bridge or are joined after close().
  Bridge(TaskGroup& tasks, Clock& clock, Limits limits);
  ~Bridge();  // closes

  // Any thread. `done` may be called before this returns.
  std::shared_ptr<Call> start(std::string name, Work work, Done done, Kind kind = Kind::kCall);
  // Any thread: answers kCancelled at once and stops the coroutine.
  void cancel(const std::shared_ptr<Call>& call);
  // Control thread. Every call that is not answered is answered kUnavailable and stopped; later
  // ones are refused so. Afterwards nothing waits for the control thread.
  void close();
  std::size_t calls() const;
  // Any thread: runs `job` on the control thread.
  void post(std::function<void()> job);

 private:
  std::shared_ptr<State> state_;
};

}  // namespace tombolo::admin
