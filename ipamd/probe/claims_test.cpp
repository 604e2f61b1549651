// Who claims what, by packets byte by byte, and everything that says nothing.
#include "ipamd/probe/claims.h"

#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo::probe {
namespace {

constexpr Mac kOwn{0x02, 0, 0, 0, 0, 0x01};

std::vector<std::uint8_t> from_hex(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  std::string pair;
  for (char c : hex) {
    if (c == ' ') continue;
    pair += c;
    if (pair.size() < 2) continue;
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(pair, nullptr, 16)));
    pair.clear();
  }
  return bytes;
}

// An advertisement of fd00::5 by 02:00:00:00:00:05 to all nodes, with its checksum.
std::vector<std::uint8_t> advertisement() {
  return from_hex(
      "60000000 0020 3a ff fe800000000000000000000000000005 ff020000000000000000000000000001"
      "8800 590f 20000000 fd000000000000000000000000000005 0201 020000000005");
}

TEST_CASE("an ARP probe is as RFC 5227 has it") {
  REQUIRE(question_for(kOwn, Ip::parse("10.0.0.5").value()).packet ==
          from_hex("0001 0800 06 04 0001 020000000001 00000000 000000000000 0a000005"));
}

TEST_CASE("a solicitation is as RFC 4862 has it") {
  Ip target = Ip::parse("fd00::12:3456").value();
  Question question = question_for(kOwn, target);
  auto expected = from_hex(
      "60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff123456"
      // The sum of 3a, 18, the group, 8700 and the target, in words, folded and inverted.
      "8700 14d7 00000000 fd000000000000000000000000123456");
  REQUIRE(question.packet == expected);
  REQUIRE(neighbor::to_string(question.to) == "33:33:ff:12:34:56");
}

TEST_CASE("ARP packets: who claims what") {
  struct Case {
    const char* name;
    const char* hex;
    const char* ip;  // empty: says nothing
    const char* mac;
    bool asks;
  };
  auto test = GENERATE(values<Case>({
      {"reply", "0001 0800 0604 0002 020000000005 0a000005 020000000001 00000000", "10.0.0.5",
       "02:00:00:00:00:05", false},
      {"request of its owner", "0001 0800 0604 0001 020000000005 0a000005 000000000000 0a000009",
       "10.0.0.5", "02:00:00:00:00:05", false},
      {"probe", "0001 0800 0604 0001 020000000005 00000000 000000000000 0a000009", "10.0.0.9",
       "02:00:00:00:00:05", true},
      {"padded", "0001 0800 0604 0002 020000000005 0a000005 020000000001 00000000 0000000000000000",
       "10.0.0.5", "02:00:00:00:00:05", false},
      {"short", "0001 0800 0604 0002 020000000005 0a000005 020000000001 000000", "", "", false},
      {"other hardware", "0006 0800 0604 0002 020000000005 0a000005 020000000001 00000000", "", "",
       false},
      {"other protocol", "0001 86dd 0604 0002 020000000005 0a000005 020000000001 00000000", "", "",
       false},
      {"reverse ARP", "0001 0800 0604 0003 020000000005 0a000005 020000000001 00000000", "", "",
       false},
      {"reply of nobody", "0001 0800 0604 0002 020000000005 00000000 020000000001 0a000005", "", "",
       false},
      {"probe for nothing", "0001 0800 0604 0001 020000000005 00000000 000000000000 00000000", "",
       "", false},
      {"empty", "", "", "", false},
  }));
  INFO(test.name);
  auto claim = read_claim(Family::kV4, from_hex(test.hex));
  REQUIRE(claim.has_value() == (test.ip[0] != '\0'));
  if (!claim) return;
  REQUIRE(claim->ip.str() == test.ip);
  REQUIRE(neighbor::to_string(claim->mac.value()) == test.mac);
  REQUIRE(claim->asks == test.asks);
}

TEST_CASE("advertisements: who claims what") {
  auto claim = read_claim(Family::kV6, advertisement());
  REQUIRE(claim);
  REQUIRE(claim->ip.str() == "fd00::5");
  REQUIRE(neighbor::to_string(claim->mac.value()) == "02:00:00:00:00:05");
  REQUIRE(!claim->asks);
  // What follows the packet on the wire is not of it.
  auto padded = advertisement();
  padded.resize(padded.size() + 7, 0x55);
  REQUIRE(read_claim(Family::kV6, padded));
}

TEST_CASE("what is wrong with an advertisement makes it nothing") {
  struct Case {
    const char* name;
    std::size_t at;
    std::uint8_t value;
  };
  auto test = GENERATE(values<Case>({
      {"IP version", 0, 0x40},
      {"length beyond the packet", 5, 0x28},
      {"length of less than a message", 5, 0x17},
      {"next header", 6, 17},
      {"hop limit of one that was forwarded", 7, 254},
      {"type", 40, 134},
      {"code", 41, 1},
      {"checksum", 43, 0},
      {"target", 48, 0xff},
      {"option of no length", 65, 0},
      {"option beyond the packet", 65, 2},
  }));
  INFO(test.name);
  auto packet = advertisement();
  packet[test.at] = test.value;
  REQUIRE(!read_claim(Family::kV6, packet));
}

TEST_CASE("what we ask is understood as a question, and no cut of it is anything") {
  REQUIRE(rc::check("questions", [] {
    auto high = *rc::gen::inRange<std::uint64_t>(0xfd00'0000'0000'0000, 0xfe00'0000'0000'0000);
    Ip v6 = Ip::v6(uint128{high} << 64U | *rc::gen::arbitrary<std::uint64_t>());
    Ip v4 = Ip::v4(*rc::gen::inRange<std::uint32_t>(1, 0xffff'ffff));
    auto solicitation = question_for(kOwn, v6).packet;
    auto probe = question_for(kOwn, v4).packet;
    auto six = read_claim(Family::kV6, solicitation);
    auto four = read_claim(Family::kV4, probe);
    RC_ASSERT(six.has_value() && six->asks && six->ip == v6 && !six->mac);
    RC_ASSERT(four.has_value() && four->asks && four->ip == v4 && four->mac == kOwn);
    probe.resize(*rc::gen::inRange<std::size_t>(0, probe.size()));
    RC_ASSERT(!read_claim(Family::kV4, probe));
    solicitation.resize(*rc::gen::inRange<std::size_t>(0, solicitation.size()));
    RC_ASSERT(!read_claim(Family::kV6, solicitation));
  }));
}

}  // namespace
}  // namespace tombolo::probe
