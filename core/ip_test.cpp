// Addresses and prefixes: tables for the texts, properties for the arithmetic.
#include "core/ip.h"

#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

TEST_CASE("an address is parsed and printed in its canonical form") {
  struct Case {
    std::string text;
    std::string canonical;  // empty: refused
  };
  auto [text, canonical] = GENERATE(values<Case>({{"10.0.0.1", "10.0.0.1"},
                                                  {"0.0.0.0", "0.0.0.0"},
                                                  {"255.255.255.255", "255.255.255.255"},
                                                  {"FD00:0:0:0:0:0:0:1", "fd00::1"},
                                                  {"::", "::"},
                                                  {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
                                                  {"", ""},
                                                  {"10.0.0", ""},
                                                  {"010.0.0.1", ""},
                                                  {"10.0.0.1/24", ""},
                                                  {"fe80::1%eth0", ""},
                                                  {"1:2:3:4:5:6:7:8:9", ""},
                                                  {std::string("10.0.0.1\0x", 10), ""}}));
  CAPTURE(text);
  auto ip = Ip::parse(text);
  REQUIRE(ip.has_value() == !canonical.empty());
  if (ip) REQUIRE(ip->str() == canonical);
}

TEST_CASE("a prefix is refused with the one that was meant") {
  auto prefix = Prefix::parse("10.0.0.5/24");
  REQUIRE_FALSE(prefix.has_value());
  REQUIRE(prefix.error().what == "'10.0.0.5/24' has host bits set; the prefix is 10.0.0.0/24");
  for (const char* text :
       {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "::/129", "x/8", "10.0.0.0/"})
    REQUIRE_FALSE(Prefix::parse(text).has_value());
  REQUIRE(Prefix::parse("0.0.0.0/0")->size() == uint128{1} << 32);
  REQUIRE(Prefix::parse("fd00::/8")->last().str() == "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

TEST_CASE("an endpoint needs brackets exactly for IPv6") {
  REQUIRE(Endpoint::parse("10.0.0.1:53")->port == 53);
  REQUIRE(Endpoint::parse("[fd00::1]:53")->str() == "[fd00::1]:53");
  for (const char* text :
       {"10.0.0.1", "[10.0.0.1]:53", "fd00::1:53:", "10.0.0.1:65536", "10.0.0.1:"})
    REQUIRE_FALSE(Endpoint::parse(text).has_value());
}

Prefix any_prefix() {
  bool v4 = *rc::gen::arbitrary<bool>();
  auto high = *rc::gen::arbitrary<std::uint64_t>();
  auto low = *rc::gen::arbitrary<std::uint64_t>();
  int length = *rc::gen::inRange(0, v4 ? 33 : 129);
  return v4 ? Prefix(Ip::v4(static_cast<std::uint32_t>(low)), length)
            : Prefix(Ip::v6(uint128{high} << 64 | low), length);
}

TEST_CASE("properties of prefixes") {
  REQUIRE(rc::check("text round trip", [] {
    Prefix prefix = any_prefix();
    RC_ASSERT(Prefix::parse(prefix.str()).value() == prefix);
  }));
  REQUIRE(rc::check("two prefixes are nested or apart", [] {
    Prefix a = any_prefix();
    Prefix b = any_prefix();
    bool share = a.contains(b.first()) || a.contains(b.last()) || b.contains(a.first());
    RC_ASSERT(a.overlaps(b) == share);
  }));
  REQUIRE(rc::check("mapped bytes round trip", [] {
    Ip ip = any_prefix().last();
    if (!ip.is_v4() && ip.value() >> 32 == 0xffff) return;
    RC_ASSERT(Ip::from_mapped_bytes_be(ip.mapped_bytes_be()) == ip);
    RC_ASSERT(Ip::from_bytes_be(ip.bytes_be()).value() == ip);
  }));
}

}  // namespace
}  // namespace tombolo
