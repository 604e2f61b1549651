// RFC 3339 texts.
#include "core/clock.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

struct TimeCase {
  std::string text;
  std::int64_t nanoseconds;  // since the epoch
  std::string error;
};

TEST_CASE("RFC 3339 times") {
  auto c = GENERATE(values<TimeCase>({
      {"1970-01-01T00:00:00Z", 0, ""},
      {"1970-01-01T00:00:01.5Z", 1'500'000'000, ""},
      {"1970-01-01T02:00:00+02:00", 0, ""},
      {"1970-01-01T00:00:00", 0, "'1970-01-01T00:00:00' is not an RFC 3339 time: no zone"},
      {"1970-01-01T00:00:00Z!", 0, "'1970-01-01T00:00:00Z!' is not an RFC 3339 time"},
      {"soon", 0, "'soon' is not an RFC 3339 time"},
      {"8680-03-01T12:00:00Z", 0, "'8680-03-01T12:00:00Z' is not between the years 1700 and 2200"},
      {"0001-01-01T00:00:00Z", 0, "'0001-01-01T00:00:00Z' is not between the years 1700 and 2200"},
  }));
  INFO(c.text);
  auto time = parse_rfc3339(c.text);
  REQUIRE(time.has_value() == c.error.empty());
  if (time)
    REQUIRE(time->time_since_epoch().count() == c.nanoseconds);
  else
    REQUIRE(time.error().what == c.error);
}

}  // namespace
}  // namespace tombolo
