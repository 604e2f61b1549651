// The guard's counters as metrics: only what is new is added, and a failed reading is no reading.
#include "app/daemon/guard_metrics.h"

#include <catch2/catch_test_macros.hpp>

#include "core/metrics.h"
#include "core/store/drive.h"

namespace tombolo {
namespace {

// Sleeps take no time; the last one is cancelled.
struct ShortClock final : Clock {
  int sleeps_left = 0;
  MonotonicTime now() const override { return {}; }
  WallTime wall_now() const override { return {}; }
  asio::awaitable<Result<void>> sleep_for(Duration) override {
    if (sleeps_left-- > 0) co_return Result<void>{};
    co_return fail(Code::kCancelled, "over");
  }
};

TEST_CASE("the guard's counters are exported as they grow") {
  using Reading = Result<std::vector<bpf::GuardCounter>>;
  std::vector<Reading> readings;
  readings.emplace_back(std::vector<bpf::GuardCounter>{{"flows_evicted", 40}, {"events_lost", 0}});
  readings.emplace_back(fail(Code::kUnavailable, "not now"));
  readings.emplace_back(std::vector<bpf::GuardCounter>{{"flows_evicted", 42}, {"events_lost", 1}});
  readings.emplace_back(std::vector<bpf::GuardCounter>{{"flows_evicted", 3}, {"events_lost", 1}});
  ShortClock clock;
  clock.sleeps_left = static_cast<int>(readings.size()) - 1;
  std::size_t next = 0;
  GuardStats stats = [&]() -> asio::awaitable<Reading> { co_return readings.at(next++); };
  auto value = [](const std::string& name) {
    return metrics::counter("tombolo_guard_total", "", {{"counter", name}}).value();
  };
  double evicted = value("flows_evicted");
  double lost = value("events_lost");
  Drive drive;
  bool over = false;
  asio::co_spawn(drive.context(), export_guard(stats, clock, Logger()),
                 [&](std::exception_ptr) { over = true; });
  REQUIRE(drive.until([&] { return over; }));
  REQUIRE(next == readings.size());
  // Other maps began at 0 and came to 3.
  REQUIRE(value("flows_evicted") == evicted + 45);
  REQUIRE(value("events_lost") == lost + 1);
}

}  // namespace
}  // namespace tombolo
