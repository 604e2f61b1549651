// The real clock and random numbers, and RFC 3339 texts.
#include "core/clock.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <ctime>
#include <random>

namespace tombolo {
namespace {

class SystemClock final : public Clock {
 public:
  MonotonicTime now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall_now() const override { return std::chrono::system_clock::now(); }
  asio::awaitable<Result<void>> sleep_for(Duration duration) override {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    timer.expires_after(duration);
    auto [error] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return fail(Code::kCancelled, "sleep was cancelled");
    co_return Result<void>{};
  }
};

class EngineRng final : public Rng {
 public:
  explicit EngineRng(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace

std::unique_ptr<Clock> make_system_clock() {
  return std::make_unique<SystemClock>();
}

std::unique_ptr<Rng> make_system_rng() {
  std::random_device device;
  return make_seeded_rng(std::uint64_t{device()} << 32U | device());
}

std::unique_ptr<Rng> make_seeded_rng(std::uint64_t seed) {
  return std::make_unique<EngineRng>(seed);
}

std::string format_rfc3339(WallTime time) {
  std::time_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> buffer{};
  std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return buffer.data();
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  std::tm parts{};
  std::string copy(text.substr(0, 64));
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return fail(Code::kInvalidArgument, "'{}' is not an RFC 3339 time", copy);
  // WallTime counts nanoseconds in 64 bits: 1677 to 2262.
  if (int year = parts.tm_year + 1900; year < 1700 || year > 2200)
    return fail(Code::kInvalidArgument, "'{}' is not between the years 1700 and 2200", copy);
  std::int64_t nanoseconds = 0;
  if (*rest == '.') {
    std::int64_t scale = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10)
      nanoseconds += (*rest - '0') * scale;
  }
  std::int64_t offset_s = 0;
  if (*rest == 'Z' || *rest == 'z') {
    ++rest;
  } else {
    int hours = 0;
    int minutes = 0;
    char sign = *rest;
    int used = 0;
    if ((sign != '+' && sign != '-') ||
        std::sscanf(rest + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2)
      return fail(Code::kInvalidArgument, "'{}' is not an RFC 3339 time: no zone", copy);
    offset_s = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    rest += 1 + used;
  }
  if (*rest != '\0') return fail(Code::kInvalidArgument, "'{}' is not an RFC 3339 time", copy);
  return WallTime(std::chrono::seconds(timegm(&parts) - offset_s) +
                  std::chrono::nanoseconds(nanoseconds));
}

Duration backoff(std::uint32_t attempt, Duration base, Duration cap, Rng& rng) {
  Duration ceiling = std::min(cap, base * (std::int64_t{1} << std::min(attempt, 20U)));
  auto span =
      static_cast<std::uint64_t>(std::max<Duration::rep>(ceiling.count() - base.count() / 2, 1));
  return base / 2 + Duration(static_cast<Duration::rep>(rng.below(span)));
}

}  // namespace tombolo
