// Time and randomness come only through these ports, so that a whole fleet runs under a virtual
// clock from one seed.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/error.h"

namespace tombolo {

namespace asio = boost::asio;

using Duration = std::chrono::nanoseconds;
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime now() const = 0;
  virtual WallTime wall_now() const = 0;
  // Suspends the caller. kCancelled when its task group is cancelled meanwhile.
  virtual asio::awaitable<Result<void>> sleep_for(Duration duration) = 0;
};

// The machine's clocks; sleeps with timers of the caller's executor.
std::unique_ptr<Clock> make_system_clock();

// "2026-01-02T03:04:05Z" (RFC 3339, seconds, UTC).
std::string format_rfc3339(WallTime time);
Result<WallTime> parse_rfc3339(
    std::string_view text);  // fractions and numeric offsets are understood

class Rng {
 public:
  virtual ~Rng() = default;
  virtual std::uint64_t next() = 0;
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
};

std::unique_ptr<Rng> make_system_rng();                    // seeded by the kernel
std::unique_ptr<Rng> make_seeded_rng(std::uint64_t seed);  // the same numbers for the same seed

// Exponential back-off with full jitter: attempt 0 waits up to `base`, attempt n up to min(base *
// 2^n, cap), at least base/2.
Duration backoff(std::uint32_t attempt, Duration base, Duration cap, Rng& rng);

}  // namespace tombolo
