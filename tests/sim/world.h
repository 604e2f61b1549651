// The virtual world: one queue of events under a virtual clock, the lanes on which processes run,
// the random numbers, the trace, and what was found wrong. Everything that happens in a run happens
// as an event of this queue, so that one seed repeats it exactly. One thread.
//
//   World::run_until -> event -> handler of a lane (a process's control thread) -> new events
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/task_group.h"

namespace tombolo::sim {

using namespace std::chrono_literals;
using Action = std::move_only_function<void()>;

struct Violation {
  std::string invariant;
  std::string what;
  Duration at{};
};

class World {
 public:
  explicit World(std::uint64_t seed);

  Duration now() const { return now_; }  // since the run began
  void at(Duration when, Action action);
  void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }
  // Runs every event up to `end`; stops early after a violation. False when it stopped.
  bool run_until(Duration end);

  Rng& rng() { return *rng_; }
  // Uniform in [from, to].
  Duration between(Duration from, Duration to);
  std::uint64_t below(std::uint64_t bound) { return rng_->below(bound); }
  bool chance(double probability);

  // One line of what happened; part of the digest.
  void trace(std::string line);
  std::uint64_t digest() const { return digest_; }
  const std::deque<std::string>& last_events() const { return last_; }
  std::uint64_t events() const { return events_; }
  void print_trace(bool on) { printing_ = on; }

  // The first violation ends the run.
  void violate(std::string invariant, std::string what);
  const std::optional<Violation>& violation() const { return violation_; }
  void forget_violation() { violation_.reset(); }

  asio::io_context& context() { return context_; }

 private:
  struct Event {
    Duration when;
    std::uint64_t sequence;
    mutable Action action;
    bool operator<(const Event& other) const {
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };

  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::unique_ptr<Rng> rng_;
  std::vector<Event> queue_;  // a heap, earliest on top
  Duration now_{};
  std::uint64_t sequence_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t events_this_second_ = 0;
  std::int64_t second_ = 0;
  std::uint64_t digest_ = 14695981039346656037ULL;
  std::deque<std::string> last_;
  bool printing_ = false;
  std::optional<Violation> violation_;
};

// The order of one process: what is posted runs one after the other, each a moment later than
// asked for, as on a busy machine.
struct Lane {
  World& world;
  Duration last{};
  Duration jitter = 200us;
};

// An Asio executor over a lane. The lane outlives everything that runs on it.
class LaneExecutor {
 public:
  explicit LaneExecutor(Lane& lane) : lane_(&lane) {}
  template <class Handler>
  void execute(Handler handler) const {
    Duration when =
        std::max(lane_->last, lane_->world.now() + lane_->world.between(0ns, lane_->jitter));
    lane_->last = when;
    lane_->world.at(when, Action(std::move(handler)));
  }
  asio::execution_context& query(asio::execution::context_t) const noexcept {
    return lane_->world.context();
  }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  bool operator==(const LaneExecutor&) const = default;

 private:
  Lane* lane_;
};

// The clock of one machine: all share the virtual time; the wall clock of each is its own.
class SimClock final : public Clock {
 public:
  SimClock(World& world) : world_(world) {}
  MonotonicTime now() const override { return MonotonicTime(1000h + world_.now()); }
  WallTime wall_now() const override {
    return WallTime(std::chrono::seconds(1'790'000'000) + world_.now() + wall_offset);
  }
  asio::awaitable<Result<void>> sleep_for(Duration duration) override;

  Duration wall_offset{};

 private:
  World& world_;
};

// A value that one event gives and one coroutine waits for.
template <class T>
class Later {
 public:
  explicit Later(const asio::any_io_executor& executor) : signal_(executor) {}
  void give(T value) {
    if (value_) return;
    value_.emplace(std::move(value));
    signal_.notify_all();
  }
  bool given() const { return value_.has_value(); }
  asio::awaitable<Result<T>> get() {
    while (!value_)
      if (auto woken = co_await signal_.wait(); !woken)
        co_return std::unexpected(std::move(woken).error());
    co_return std::move(*value_);
  }

 private:
  Signal signal_;
  std::optional<T> value_;
};

}  // namespace tombolo::sim
