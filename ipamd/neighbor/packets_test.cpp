// Packets as they are on the wire, their round trip, and what is refused.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/neighbor/neighbor.h"

namespace tombolo::neighbor {
namespace {

using Catch::Generators::values;

constexpr Mac kNode{2, 0, 0, 0, 0, 1};

Ip ip_of(std::string_view text) {
  return *Ip::parse(text);
}

TEST_CASE("an ARP reply is what RFC 826 draws") {
  Arp arp{true, kNode, ip_of("192.0.2.7"), {2, 0, 0, 0, 0, 2}, ip_of("192.0.2.1")};
  const std::array<std::uint8_t, 28> wanted{0,   1, 8, 0, 6, 4, 0, 2, 2, 0, 0,   0, 0, 1,
                                            192, 0, 2, 7, 2, 0, 0, 0, 0, 2, 192, 0, 2, 1};
  REQUIRE(encode(arp) == wanted);
  std::vector<std::uint8_t> padded(wanted.begin(), wanted.end());
  padded.resize(46);  // the least that Ethernet carries
  REQUIRE(parse_arp(padded) == arp);
  REQUIRE_FALSE(parse_arp(Bytes(padded).first(27)));
  for (std::size_t at : {1U, 2U, 4U, 5U, 7U}) {
    auto spoilt = wanted;
    spoilt[at] ^= 0x40;
    REQUIRE_FALSE(parse_arp(spoilt));
  }
}

// A solicitation that Linux sent, with its checksum: fe80::1 asks for fe80::2.
const std::vector<std::uint8_t> kFromLinux{
    0x60, 0, 0, 0, 0,    0x20, 0x3a, 0xff, 0xfe, 0x80, 0, 0, 0,    0,    0, 0, 0, 0,
    0,    0, 0, 0, 0,    1,    0xff, 0x02, 0,    0,    0, 0, 0,    0,    0, 0, 0, 0x01,
    0xff, 0, 0, 2, 0x87, 0,    0,    0,    0,    0,    0, 0, 0xfe, 0x80, 0, 0, 0, 0,
    0,    0, 0, 0, 0,    0,    0,    0,    0,    2,    1, 1, 2,    0,    0, 0, 0, 1};

TEST_CASE("a solicitation is read, and only with the right checksum") {
  std::vector<std::uint8_t> packet =
      encode(Solicitation{ip_of("fe80::1"), ip_of("fe80::2"), kNode}, ip_of("ff02::1:ff00:2"));
  std::vector<std::uint8_t> without_sum = packet;
  without_sum[42] = without_sum[43] = 0;
  REQUIRE(without_sum == kFromLinux);
  REQUIRE(std::get<Solicitation>(parse_ndp(packet)) ==
          Solicitation{ip_of("fe80::1"), ip_of("fe80::2"), kNode});
  for (std::size_t at = 0; at < packet.size(); ++at) {
    auto spoilt = packet;
    spoilt[at] ^= 0x04;
    // Traffic class, flow label: nobody's business here.
    bool carries_nothing = at >= 1 && at <= 3;
    bool same_version = at == 0;
    if (carries_nothing || same_version) continue;
    INFO(at);
    REQUIRE(std::holds_alternative<std::monostate>(parse_ndp(spoilt)));
  }
}

struct Case {
  std::string name;
  Solicitation asked;
  std::string destination;
  bool good = false;
};

TEST_CASE("who asks in order to take an address asks its group, without a MAC") {
  Ip target = ip_of("2001:db8::7");
  auto given = GENERATE_COPY(values<Case>({
      {"in order", {ip_of("::"), target, std::nullopt}, "ff02::1:ff00:7", true},
      {"with a MAC", {ip_of("::"), target, kNode}, "ff02::1:ff00:7", false},
      {"not to the group", {ip_of("::"), target, std::nullopt}, "2001:db8::7", false},
      {"of a group", {ip_of("fe80::1"), ip_of("ff02::7"), kNode}, "ff02::1:ff00:7", false},
      {"alone", {ip_of("fe80::1"), target, kNode}, "2001:db8::7", true},
  }));
  INFO(given.name);
  Ndp ndp = parse_ndp(encode(given.asked, ip_of(given.destination)));
  REQUIRE(std::holds_alternative<Solicitation>(ndp) == given.good);
}

TEST_CASE("advertisements survive the wire; a cut or an endless option does not") {
  REQUIRE(rc::check("round trip", [] {
    Advertisement said;
    said.source = Ip::v6(*rc::gen::arbitrary<std::uint64_t>());
    said.target = Ip::v6(*rc::gen::arbitrary<std::uint64_t>());
    said.solicited = *rc::gen::arbitrary<bool>();
    said.destination = said.solicited ? ip_of("fe80::9") : all_nodes();
    said.override_others = *rc::gen::arbitrary<bool>();
    if (*rc::gen::arbitrary<bool>()) said.target_mac = kNode;
    std::vector<std::uint8_t> packet = encode(said);
    RC_ASSERT(std::get<Advertisement>(parse_ndp(packet)) == said);
    auto cut = *rc::gen::inRange<std::size_t>(0, packet.size());
    RC_ASSERT(std::holds_alternative<std::monostate>(parse_ndp(Bytes(packet).first(cut))));
  }));
  std::vector<std::uint8_t> endless =
      encode(Advertisement{ip_of("fe80::1"), all_nodes(), ip_of("fe80::1"), false, true, kNode});
  // An option of length 0, the checksum mended by the byte before.
  endless[65] = 0;
  endless[67] = static_cast<std::uint8_t>(endless[67] + 1);
  REQUIRE(std::holds_alternative<std::monostate>(parse_ndp(endless)));
}

TEST_CASE("groups of addresses") {
  REQUIRE(solicited_node_group(ip_of("2001:db8::12:3456:789a")) == ip_of("ff02::1:ff56:789a"));
  REQUIRE(to_string(multicast_mac(ip_of("ff02::1:ff56:789a"))) == "33:33:ff:56:78:9a");
  REQUIRE(to_string(multicast_mac(all_nodes())) == "33:33:00:00:00:01");
}

}  // namespace
}  // namespace tombolo::neighbor
