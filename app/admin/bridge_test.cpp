// The bridge on one thread: the test posts calls and runs the control loop itself.
#include "app/admin/bridge.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <vector>

namespace tombolo::admin {
namespace {

// Sleeps end when the test says so.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(asio::io_context& context) : over_(context.get_executor()) {}
  MonotonicTime now() const override { return {}; }
  WallTime wall_now() const override { return {}; }
  asio::awaitable<Result<void>> sleep_for(Duration) override { co_return co_await over_.wait(); }
  void end_sleeps() { over_.notify_all(); }

 private:
  Signal over_;
};

struct Fixture {
  asio::io_context context;
  ManualClock clock{context};
  TaskGroup tasks{context.get_executor()};
  Bridge bridge{tasks, clock, {.calls = 2, .longest_call = std::chrono::seconds(1)}};
  Signal gate{context.get_executor()};
  int started = 0;
  int ended = 0;

  ~Fixture() {
    bridge.close();
    tasks.cancel();
    context.restart();
    context.run();
  }

  asio::awaitable<Result<void>> wait_at_gate() {
    ++started;
    auto woken = co_await gate.wait();
    ++ended;
    co_return woken;
  }
  std::shared_ptr<Bridge::Call> start(std::optional<Result<void>>& answer) {
    return bridge.start(
        "test", [this] { return wait_at_gate(); },
        [&answer](Result<void> result) {
          REQUIRE_FALSE(answer.has_value());
          answer = std::move(result);
        });
  }
  void run() {
    context.restart();
    context.poll();
  }
};

TEST_CASE("a call runs on the control thread and is answered once") {
  Fixture f;
  std::optional<Result<void>> answer;
  f.start(answer);
  REQUIRE(f.started == 0);
  f.run();
  REQUIRE(f.started == 1);
  REQUIRE_FALSE(answer.has_value());
  f.gate.notify_all();
  f.run();
  REQUIRE(answer->has_value());
  REQUIRE(f.bridge.calls() == 0);
  REQUIRE(f.tasks.size() == 0);
}

TEST_CASE("one call more than the bound is refused at once, and the place is free again after") {
  Fixture f;
  std::optional<Result<void>> first;
  std::optional<Result<void>> second;
  std::optional<Result<void>> third;
  f.start(first);
  f.start(second);
  f.start(third);
  REQUIRE(third->error().code == Code::kResourceExhausted);
  f.run();
  f.gate.notify_all();
  f.run();
  REQUIRE(first->has_value());
  REQUIRE(second->has_value());
  std::optional<Result<void>> fourth;
  f.start(fourth);
  f.run();
  f.gate.notify_all();
  f.run();
  REQUIRE(fourth->has_value());
}

TEST_CASE("a cancelled call is answered at once and its coroutine stops") {
  Fixture f;
  std::optional<Result<void>> answer;
  auto call = f.start(answer);
  f.run();
  f.bridge.cancel(call);
  REQUIRE(answer->error().code == Code::kCancelled);
  REQUIRE(f.bridge.calls() == 1);
  f.run();
  REQUIRE(f.bridge.calls() == 0);
  REQUIRE(f.started == 1);
  REQUIRE(f.tasks.size() == 0);
}

TEST_CASE("a call that is cancelled before it starts never starts") {
  Fixture f;
  std::optional<Result<void>> answer;
  auto call = f.start(answer);
  f.bridge.cancel(call);
  f.run();
  REQUIRE(answer->error().code == Code::kCancelled);
  REQUIRE(f.started == 0);
  REQUIRE(f.bridge.calls() == 0);
}

TEST_CASE("a call that takes too long is answered and stopped") {
  Fixture f;
  std::optional<Result<void>> answer;
  f.start(answer);
  f.run();
  f.clock.end_sleeps();
  f.run();
  REQUIRE(answer->error().code == Code::kDeadlineExceeded);
  REQUIRE(f.bridge.calls() == 0);
  REQUIRE(f.tasks.size() == 0);
}

TEST_CASE("closing answers everything without the control loop, and refuses what comes after") {
  Fixture f;
  std::optional<Result<void>> running;
  std::optional<Result<void>> posted;
  f.start(running);
  f.run();
  f.start(posted);
  f.bridge.close();
  REQUIRE(running->error().code == Code::kUnavailable);
  REQUIRE(posted->error().code == Code::kUnavailable);
  std::optional<Result<void>> late;
  f.start(late);
  REQUIRE(late->error().code == Code::kUnavailable);
  f.run();
  REQUIRE(f.started == 1);
  REQUIRE(f.bridge.calls() == 0);
}

TEST_CASE("a cancelled task group answers its calls, also those that had not started") {
  Fixture f;
  std::optional<Result<void>> running;
  std::optional<Result<void>> posted;
  f.start(running);
  f.run();
  f.start(posted);
  f.tasks.cancel();
  f.run();
  REQUIRE_FALSE(running->has_value());
  REQUIRE(posted->error().code == Code::kUnavailable);
  REQUIRE(f.bridge.calls() == 0);
}

}  // namespace
}  // namespace tombolo::admin
