// The event loop.
#include "tests/sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>

namespace tombolo::sim {
namespace {

constexpr std::size_t kKeptLines = 60;
// A second of virtual time has room for this many events: beyond that something runs in a circle.
constexpr std::uint64_t kMostEventsPerSecond = 400'000;

}  // namespace

World::World(std::uint64_t seed)
    : context_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE),
      guard_(asio::make_work_guard(context_)),
      rng_(make_seeded_rng(seed)) {}

void World::at(Duration when, Action action) {
  queue_.push_back({std::max(when, now_), sequence_++, std::move(action)});
  std::push_heap(queue_.begin(), queue_.end());
}

bool World::run_until(Duration end) {
  while (!queue_.empty() && queue_.front().when <= end && !violation_) {
    std::pop_heap(queue_.begin(), queue_.end());
    Event event = std::move(queue_.back());
    queue_.pop_back();
    now_ = event.when;
    ++events_;
    std::int64_t second = now_ / 1s;
    if (second != second_) {
      second_ = second;
      events_this_second_ = 0;
    }
    if (++events_this_second_ > kMostEventsPerSecond)
      violate("7 bounded", fmt::format("more than {} events in one second", kMostEventsPerSecond));
    event.action();
    // Timers that were cancelled meanwhile (Signal, sleeps) hand their waiters to their lanes.
    context_.poll();
  }
  if (violation_) return false;
  now_ = std::max(now_, end);
  return true;
}

Duration World::between(Duration from, Duration to) {
  auto span = static_cast<std::uint64_t>((to - from).count());
  return from + Duration(static_cast<Duration::rep>(rng_->below(span + 1)));
}

bool World::chance(double probability) {
  return static_cast<double>(rng_->below(1'000'000)) < probability * 1'000'000;
}

void World::trace(std::string line) {
  std::string text = fmt::format("{:10.4f} {}", std::chrono::duration<double>(now_).count(), line);
  for (char byte : text) {
    digest_ ^= static_cast<unsigned char>(byte);
    digest_ *= 1099511628211ULL;
  }
  if (printing_) std::puts(text.c_str());
  last_.push_back(std::move(text));
  if (last_.size() > kKeptLines) last_.pop_front();
}

void World::violate(std::string invariant, std::string what) {
  if (violation_) return;
  trace(fmt::format("VIOLATION {}: {}", invariant, what));
  violation_ = Violation{std::move(invariant), std::move(what), now_};
}

asio::awaitable<Result<void>> SimClock::sleep_for(Duration duration) {
  auto woken = std::make_shared<Later<bool>>(co_await asio::this_coro::executor);
  world_.after(duration, [woken] { woken->give(true); });
  auto done = co_await woken->get();
  if (!done) co_return fail(Code::kCancelled, "sleep was cancelled");
  co_return Result<void>{};
}

}  // namespace tombolo::sim
