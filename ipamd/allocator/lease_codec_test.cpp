// Packed leases: round trips, weight, and that damaged bytes are refused. The table of leases.
#include "ipamd/allocator/lease_codec.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>

#include "ipamd/allocator/lease_table.h"

namespace tombolo {
namespace {

Lease typical() {
  Lease lease;
  lease.sequence = 1'234'567;
  lease.state = LeaseState::kAttached;
  lease.network = "tombolo";
  lease.reserved_unix_ms = 1'790'000'000'000;
  Attachment& attachment = lease.attachment;
  attachment.container_id = "3f1c0d9be27a4455c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
  attachment.interface_name = "eth0";
  attachment.name_space = "default";
  attachment.pod_name = "shop-5d8f7c6b9-x2x9z";
  attachment.pod_uid = "0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11";
  attachment.node = "node-1";
  attachment.netns_path = "/var/run/netns/cni-0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11";
  attachment.host_interface = "tbo0123456789ab";
  attachment.mac = "02:00:00:00:00:01";
  lease.set_addresses(
      {{"node", Ip::parse("10.0.0.1").value()}, {"node", Ip::parse("fd00::1").value()}});
  return lease;
}

TEST_CASE("texts come back as they were") {
  auto text = GENERATE(values<std::string>(
      {"", "a", "abcdef", "abcde", "ABCDEF", "0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11",
       "x0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11", "0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a1",
       "0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11ff", "02:00:00:00:00:01", "02:00:00:00:00:0",
       "2:00:00:00:00:01", "aa:bb:cc:dd:ee:ff:00", "cni-0123456789abc-x", "\xff\x01 ",
       std::string("\0 p'; DROP TABLE leases; --", 27), std::string(5000, 'f')}));
  INFO(text);
  PackWriter out(nullptr);
  out.text(text);
  std::string bytes = out.take();
  PackReader in(bytes, nullptr);
  REQUIRE(in.text() == text);
  REQUIRE((in.ok() && in.at_end()));
  PackReader again(bytes, nullptr);
  REQUIRE(again.packed_text() == bytes);
}

TEST_CASE("a lease weighs little, on the disk and in memory") {
  NameTable names;
  Lease lease = typical();
  std::string packed = pack_lease(lease, names);
  REQUIRE(packed.size() <= 150);
  REQUIRE(pack_lease(lease).size() <= 210);
  REQUIRE(unpack_lease(packed, names) == lease);
  REQUIRE(unpack_key(packed, names) == lease.key());
  REQUIRE(unpack_lease(pack_lease(lease)).value() == lease);
  release_names(packed, names);
  REQUIRE(names.size() == 0);
}

// What the first release made of typical(): never changed.
constexpr std::string_view kFormat1 =
    "0182023f1c0d9be27a4455c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90123456700046574683087ad4b"
    "0280d8c1a28c3407746f6d626f6c6f0764656661756c74066e6f64652d310f2f7661722f72756e2f6e65746e"
    "732f11636e692d070b1f6d0c6c0e4b7e9d552f1f2b4f7a11001573686f702d225d8f7c6b1d392d783278397a"
    "00070b1f6d0c6c0e4b7e9d552f1f2b4f7a11000d74626f320123456789ab00040200000000010002046e6f64"
    "65040a000001046e6f64651008fd000000000000000000000000000001";

TEST_CASE("a lease with an identity has a format of its own; others are as they ever were") {
  Lease lease = typical();
  std::string old;
  for (std::size_t i = 0; i < kFormat1.size(); i += 2)
    old += static_cast<char>(std::stoi(std::string(kFormat1.substr(i, 2)), nullptr, 16));
  REQUIRE(pack_lease(lease) == old);
  REQUIRE(unpack_lease(old).value() == lease);
  lease.identity = "StatefulSet/shop/db/0/eth0";
  std::string packed = pack_lease(lease);
  REQUIRE(packed[0] == 2);
  REQUIRE(unpack_lease(packed).value() == lease);
  REQUIRE(!unpack_lease("\x01" + packed.substr(1)));
  REQUIRE(!unpack_lease("\x02" + old.substr(1)));
}

TEST_CASE("bytes that are no lease are refused") {
  Lease lease = typical();
  lease.identity = GENERATE("", "StatefulSet/shop/db/0/eth0");
  std::string packed = pack_lease(lease);
  for (std::size_t size = 0; size < packed.size(); ++size) {
    INFO(size);
    REQUIRE(unpack_lease(packed.substr(0, size)).error().code == Code::kDataLoss);
    NameTable names;
    Repacked ignored;
    REQUIRE(!repack_lease(packed.substr(0, size), LeaseState::kAttached, names, ignored));
  }
  REQUIRE(!unpack_lease(packed + "x"));
  std::string newer = packed;
  newer[0] = 9;
  REQUIRE(unpack_lease(newer).error().what == "a lease of an unknown format");
}

std::string random_text() {
  return *rc::gen::oneOf(
      rc::gen::container<std::string>(rc::gen::arbitrary<char>()),
      rc::gen::container<std::string>(rc::gen::elementOf(std::string("0123456789abcdef-:/g"))));
}

Lease random_lease() {
  Lease lease;
  lease.sequence = *rc::gen::arbitrary<std::uint64_t>();
  lease.state = *rc::gen::element(LeaseState::kReserved, LeaseState::kAttached);
  lease.reserved_unix_ms = *rc::gen::arbitrary<std::int64_t>();
  Attachment& attachment = lease.attachment;
  for (std::string* text :
       {&lease.network, &lease.identity, &attachment.container_id, &attachment.interface_name,
        &attachment.name_space, &attachment.pod_name, &attachment.pod_uid, &attachment.node,
        &attachment.netns_path, &attachment.host_interface, &attachment.mac})
    *text = random_text();
  int addresses = *rc::gen::inRange(0, 5);
  for (int i = 0; i < addresses; ++i) {
    lease.pools.push_back(*rc::gen::element<std::string>("node", "storage", ""));
    auto high = uint128{*rc::gen::arbitrary<std::uint64_t>()};
    attachment.ips.push_back(*rc::gen::arbitrary<bool>()
                                 ? Ip::v4(*rc::gen::arbitrary<std::uint32_t>())
                                 : Ip::v6(high << 64 | *rc::gen::arbitrary<std::uint64_t>()));
  }
  return lease;
}

TEST_CASE("every lease comes back as it was") {
  REQUIRE(rc::check("codec", [] {
    Lease lease = random_lease();
    RC_ASSERT(unpack_lease(pack_lease(lease)).value() == lease);
    NameTable names;
    std::string packed = pack_lease(lease, names);
    RC_ASSERT(unpack_lease(packed, names) == lease);
    Repacked repacked;
    RC_ASSERT(repack_lease(pack_lease(lease), lease.state, names, repacked).has_value());
    RC_ASSERT(repacked.bytes == packed);
    RC_ASSERT(repacked.addresses == lease.addresses());
    RC_ASSERT(repacked.sequence == lease.sequence);
    LeasedAddresses leased = unpack_addresses(packed, names);
    RC_ASSERT(leased.sequence == lease.sequence && leased.addresses == lease.addresses());
    Lease other = lease;
    other.state =
        lease.state == LeaseState::kAttached ? LeaseState::kReserved : LeaseState::kAttached;
    set_packed_state({packed.data(), packed.size()}, other.state, names);
    RC_ASSERT(unpack_lease(packed, names) == other);
  }));
}

TEST_CASE("the table is a map") {
  REQUIRE(rc::check("table", [] {
    LeaseTable table;
    std::map<std::string, Lease> model;
    auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
        rc::gen::pair(rc::gen::inRange(0, 4), rc::gen::inRange(0, 10)));
    for (auto [operation, number] : steps) {
      Lease lease = typical();
      lease.attachment.container_id = "c" + std::to_string(number);
      lease.attachment.name_space = "n" + std::to_string(number % 3);
      lease.sequence = model.size();
      std::string key = lease.key();
      if (operation < 2) {
        RC_ASSERT(table.insert(lease) == model.emplace(key, lease).second);
      } else if (operation == 2) {
        RC_ASSERT(table.erase(key) == (model.erase(key) == 1));
      } else if (model.contains(key)) {
        lease.state = LeaseState::kReserved;
        table.replace(lease);
        model.at(key) = lease;
      }
      RC_ASSERT(table.contains(key) == model.contains(key));
    }
    std::map<std::string, Lease> seen;
    for (const auto& [key, lease] : table) RC_ASSERT(seen.emplace(key, lease).second);
    RC_ASSERT(seen == model);
    RC_ASSERT(table.size() == model.size());
  }));
}

}  // namespace
}  // namespace tombolo
