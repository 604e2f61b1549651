// One mutex guards the list of calls and the way to the control thread; the rest of a call belongs
// to the control thread, but for its answer, which an atomic flag gives to the first who ends it.
#include "app/admin/bridge.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <mutex>
#include <set>
#include <vector>

namespace tombolo::admin {

class Bridge::Call {
 public:
  Call(std::string name, Work work, Done done, Kind kind)
      : name_(std::move(name)), work_(std::move(work)), done_(std::move(done)), kind_(kind) {}

  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }
  void answer(Result<void> result) {
    if (answered_.exchange(true)) return;
    done_(std::move(result));
  }
  bool answered() const { return answered_; }

  // Control thread.
  asio::awaitable<void> work() {
    try {
      auto result = co_await work_();
      answer(std::move(result));
    } catch (const boost::system::system_error& error) {
      ENSURE(error.code() == asio::error::operation_aborted, "call {} threw {}", name_,
             error.what());
    }
  }
  asio::awaitable<void> stopped() {
    stop_ = std::make_unique<Signal>(co_await asio::this_coro::executor);
    if (answered_) co_return;
    // A cancelled wait means that the work is done or the group is cancelled.
    [[maybe_unused]] auto woken = co_await stop_->wait();
  }
  void stop() {
    if (stop_) stop_->notify_all();
  }

 private:
  std::string name_;
  Work work_;
  Done done_;
  Kind kind_;
  std::atomic<bool> answered_ = false;
  std::unique_ptr<Signal> stop_;
};

class Bridge::State : public std::enable_shared_from_this<Bridge::State> {
 public:
  State(TaskGroup& tasks, Clock& clock, Limits limits)
      : executor_(tasks.executor()), tasks_(&tasks), clock_(&clock), limits_(limits) {}

  // Any thread. False when the call is refused, which has been answered.
  bool admit(const std::shared_ptr<Call>& call) {
    Result<void> refusal;
    {
      std::lock_guard lock(mutex_);
      if (closed_) {
        refusal = fail(Code::kUnavailable, "the daemon is shutting down");
      } else if (call->kind() == Kind::kCall && in_flight(Kind::kCall) >= limits_.calls) {
        refusal = fail(Code::kResourceExhausted, "{} calls are in flight already", limits_.calls);
      } else if (call->kind() == Kind::kStream && in_flight(Kind::kStream) >= limits_.streams) {
        refusal = fail(Code::kResourceExhausted, "{} streams are open already", limits_.streams);
      } else {
        calls_.insert(call);
        return true;
      }
    }
    call->answer(std::move(refusal));
    return false;
  }

  void post(std::function<void()> job) { asio::post(executor_, std::move(job)); }

  // Control thread. The coroutine's frame owns `ended`, so that a task which never starts is
  // answered too.
  void begin(const std::shared_ptr<Call>& call) {
    auto ended = std::make_shared<Ended>(shared_from_this(), call);
    {
      std::lock_guard lock(mutex_);
      if (closed_ || call->answered()) return;
    }
    tasks_->spawn("admin call " + call->name(), run(shared_from_this(), call, std::move(ended)));
  }

  void close() {
    std::set<std::shared_ptr<Call>> calls;
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
      calls = calls_;
    }
    for (const auto& call : calls) {
      call->answer(fail(Code::kUnavailable, "the daemon is shutting down"));
      call->stop();
    }
  }

  std::size_t calls() const {
    std::lock_guard lock(mutex_);
    return calls_.size();
  }

 private:
  // Takes the call off the list on every way out, also when the task group is cancelled.
  class Ended {
   public:
    Ended(std::shared_ptr<State> state, std::shared_ptr<Call> call)
        : state_(std::move(state)), call_(std::move(call)) {}
    ~Ended() {
      call_->answer(fail(Code::kUnavailable, "the daemon is shutting down"));
      std::lock_guard lock(state_->mutex_);
      state_->calls_.erase(call_);
    }
    Ended(const Ended&) = delete;
    Ended& operator=(const Ended&) = delete;

   private:
    std::shared_ptr<State> state_;
    std::shared_ptr<Call> call_;
  };

  static asio::awaitable<void> run(std::shared_ptr<State> state, std::shared_ptr<Call> call,
                                   [[maybe_unused]] std::shared_ptr<Ended> ended) {
    using namespace asio::experimental::awaitable_operators;
    auto work = call->work();
    auto stopped = call->stopped();
    if (call->kind() == Kind::kStream) {
      co_await (std::move(work) || std::move(stopped));
      co_return;
    }
    auto late = too_late(state, call);
    auto either = std::move(stopped) || std::move(late);
    co_await (std::move(work) || std::move(either));
  }

  // With the mutex held.
  std::size_t in_flight(Kind kind) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(calls_, [kind](const auto& call) { return call->kind() == kind; }));
  }

  static asio::awaitable<void> too_late(std::shared_ptr<State> state, std::shared_ptr<Call> call) {
    auto slept = co_await state->clock_->sleep_for(state->limits_.longest_call);
    if (slept) call->answer(fail(Code::kDeadlineExceeded, "{} took too long", call->name()));
  }

  asio::any_io_executor executor_;
  TaskGroup* tasks_;
  Clock* clock_;
  Limits limits_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::set<std::shared_ptr<Call>> calls_;
};

Bridge::Bridge(TaskGroup& tasks, Clock& clock, Limits limits)
    : state_(std::make_shared<State>(tasks, clock, limits)) {}

Bridge::~Bridge() {
  close();
}

std::shared_ptr<Bridge::Call> Bridge::start(std::string name, Work work, Done done, Kind kind) {
  auto call = std::make_shared<Call>(std::move(name), std::move(work), std::move(done), kind);
  if (state_->admit(call)) state_->post([state = state_, call] { state->begin(call); });
  return call;
}

void Bridge::cancel(const std::shared_ptr<Call>& call) {
  call->answer(fail(Code::kCancelled, "the caller went away"));
  state_->post([call] { call->stop(); });
}

void Bridge::close() {
  state_->close();
}

std::size_t Bridge::calls() const {
  return state_->calls();
}

void Bridge::post(std::function<void()> job) {
  state_->post(std::move(job));
}

}  // namespace tombolo::admin
