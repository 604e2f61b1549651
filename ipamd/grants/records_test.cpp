// Records of shared pools: round trips, and what is refused with the name of its key.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "ipamd/grants/grants.h"

namespace tombolo::grants {
namespace {

Prefix prefix(const std::string& text) {
  return Prefix::parse(text).value();
}

TEST_CASE("grant records: what was written is read again") {
  GrantLedger ledger;
  ledger.pool = "racks";
  ledger.home = "east";
  ledger.store_id = 0xfedcba9876543210;
  ledger.generation = {3, 77};
  ledger.sequence = 12;
  ledger.recovering = false;
  ledger.scarce = true;
  ledger.members["east"] = {{1, 5}, true, 0};
  ledger.members["west"] = {{2, 6}, true, 9};
  ledger.grants = {{1, prefix("10.9.0.0/28"), "east"}, {2, prefix("fd00::/64"), "west"}};
  REQUIRE(decode_ledger({ledger_key("racks"), encode(ledger)}) == ledger);

  PoolParts parts;
  parts.pool = "racks";
  parts.home = "east";
  parts.store_id = 1;
  parts.generation = {2, 6};
  parts.home_generation = {3, 77};
  parts.seen = 12;
  parts.forgetful = false;
  parts.wanted = 2;
  parts.parts = {{2, prefix("10.9.0.0/28"), PartState::kHeld},
                 {3, prefix("10.9.0.16/28"), PartState::kReturning},
                 {4, prefix("10.9.0.32/28"), PartState::kReturned}};
  parts.stray = {prefix("10.9.0.48/28")};
  REQUIRE(decode_parts({parts_key("racks"), encode(parts)}) == parts);
}

TEST_CASE("grant records: what cannot be read says where") {
  struct Case {
    const char* name;
    const char* key;
    const char* value;
    const char* error;
  };
  auto c = GENERATE(values<Case>({
      {"no JSON", "tombolo/v1/claimparts/racks", "x", "tombolo/v1/claimparts/racks: "},
      {"another key", "tombolo/v1/claims/racks", "{}", "not the key of a pool"},
      {"a key below", "tombolo/v1/claimparts/racks/x", "{}", "not the key of a pool"},
      {"no home", "tombolo/v1/claimparts/racks", "{}", "home"},
      {"a store that is none", "tombolo/v1/claimparts/racks", R"({"home": "east", "store": "x"})",
       "store: not a hexadecimal number"},
      {"a state that is none", "tombolo/v1/claimparts/racks",
       R"({"home": "east", "store": "1", "generation": {"number": 1, "life": 1},
           "home_generation": {"number": 1, "life": 1}, "seen": 1,
           "parts": [{"id": 1, "range": "10.9.0.0/28", "state": "lent"}]})",
       "parts[0].state: not held, returning or returned"},
      {"a range that is none", "tombolo/v1/claimparts/racks",
       R"({"home": "east", "store": "1", "generation": {"number": 1, "life": 1},
           "home_generation": {"number": 1, "life": 1}, "seen": 1,
           "parts": [{"id": 1, "range": "10.9.0.1/28", "state": "held"}]})",
       "parts[0].range: "},
  }));
  INFO(c.name);
  auto parts = decode_parts({c.key, c.value});
  REQUIRE(!parts.has_value());
  REQUIRE_THAT(parts.error().what, Catch::Matchers::ContainsSubstring(c.error));
}

}  // namespace
}  // namespace tombolo::grants
