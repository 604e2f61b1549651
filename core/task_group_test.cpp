// Tasks are cancelled and joined; signals wake everybody; the worker runs jobs elsewhere.
#include "core/task_group.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "core/clock.h"
#include "core/store/drive.h"
#include "core/worker.h"

namespace tombolo {
namespace {

asio::awaitable<void> wait_for(Signal& signal, int& woken, int& cancelled) {
  auto result = co_await signal.wait();
  ++(result ? woken : cancelled);
}

asio::awaitable<void> sleep_long(Clock& clock, int& cancelled) {
  auto slept = co_await clock.sleep_for(std::chrono::hours(1));
  if (!slept && slept.error().code == Code::kCancelled) ++cancelled;
}

asio::awaitable<void> join(TaskGroup& tasks, bool& joined) {
  co_await tasks.join();
  joined = true;
}

TEST_CASE("a signal wakes all; a cancel ends waits and sleeps") {
  asio::io_context context;
  auto guard = asio::make_work_guard(context);
  TaskGroup tasks(context.get_executor());
  Signal signal(context.get_executor());
  auto clock = make_system_clock();
  int woken = 0;
  int cancelled = 0;
  bool joined = false;
  tasks.spawn("a", wait_for(signal, woken, cancelled));
  tasks.spawn("b", wait_for(signal, woken, cancelled));
  context.poll();
  signal.notify_all();
  context.poll();
  REQUIRE(woken == 2);
  tasks.spawn("c", wait_for(signal, woken, cancelled));
  tasks.spawn("d", sleep_long(*clock, cancelled));
  asio::co_spawn(context, join(tasks, joined), asio::detached);
  context.poll();
  REQUIRE_FALSE(joined);
  tasks.cancel();
  guard.reset();
  context.run();
  REQUIRE(joined);
  REQUIRE(cancelled == 2);
}

TEST_CASE("a task that is cancelled before its first step never starts") {
  asio::io_context context;
  auto clock = make_system_clock();
  int cancelled = 0;
  TaskGroup tasks(context.get_executor());
  tasks.spawn("a", sleep_long(*clock, cancelled));
  tasks.cancel();
  context.run();
  REQUIRE(tasks.size() == 0);
  REQUIRE(cancelled == 0);
}

TEST_CASE("a child group ends alone, or with its parent") {
  asio::io_context context;
  auto guard = asio::make_work_guard(context);
  auto clock = make_system_clock();
  int cancelled = 0;
  TaskGroup parent(context.get_executor());
  {
    TaskGroup child(parent);
    TaskGroup other(parent);
    parent.spawn("p", sleep_long(*clock, cancelled));
    child.spawn("c", sleep_long(*clock, cancelled));
    other.spawn("o", sleep_long(*clock, cancelled));
    context.poll();
    REQUIRE(parent.size() == 3);
    child.cancel();
    context.poll();
    REQUIRE(cancelled == 1);
    REQUIRE(parent.size() == 2);
    REQUIRE_FALSE(parent.cancelled());
    bool joined = false;
    asio::co_spawn(context, join(parent, joined), asio::detached);
    context.poll();
    parent.cancel();
    guard.reset();
    context.run();
    REQUIRE(joined);
    REQUIRE(cancelled == 3);
    REQUIRE(other.cancelled());
  }
  TaskGroup late(parent);
  REQUIRE(late.cancelled());
}

asio::awaitable<void> use_worker(Worker& worker, std::thread::id& ran_on,
                                 std::thread::id& resumed_on, int& sum) {
  std::vector<int> numbers{1, 2, 3};
  auto job = [numbers, &ran_on]() -> Result<int> {
    ran_on = std::this_thread::get_id();
    int total = 0;
    for (int n : numbers) total += n;
    return total;
  };
  auto result = co_await worker.run(job);
  resumed_on = std::this_thread::get_id();
  sum = result.value_or(-1);
}

TEST_CASE("the worker runs a job on its own thread and resumes the caller on the caller's") {
  asio::io_context context;
  Worker worker;
  std::thread::id ran_on;
  std::thread::id resumed_on;
  int sum = 0;
  auto guard = asio::make_work_guard(context);
  TaskGroup tasks(context.get_executor());
  tasks.spawn("use", use_worker(worker, ran_on, resumed_on, sum));
  while (tasks.size() > 0) context.run_one();
  REQUIRE(sum == 6);
  REQUIRE(ran_on != std::this_thread::get_id());
  REQUIRE(resumed_on == std::this_thread::get_id());
}

TEST_CASE("a worker without a thread runs its jobs where it was told to") {
  Drive drive;
  Worker worker(drive.executor());
  std::vector<int> order;
  worker.post([&order] { order.push_back(1); });
  auto job = [&order]() -> Result<int> {
    order.push_back(2);
    return 7;
  };
  REQUIRE(order.empty());
  REQUIRE(drive.run(worker.run(std::move(job))).value() == 7);
  REQUIRE(order == std::vector{1, 2});
}

TEST_CASE("the worker runs what is posted in order and before it goes") {
  std::vector<int> order;
  {
    Worker worker;
    for (int i = 0; i < 100; ++i) worker.post([&order, i] { order.push_back(i); });
  }
  REQUIRE(order.size() == 100);
  REQUIRE(std::ranges::is_sorted(order));
}

}  // namespace
}  // namespace tombolo
