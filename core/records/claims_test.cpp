// Claims of shared pools round-trip, and what is broken is refused with its key and field.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/records/records.h"
#include "schema/state/v1/state.pb.h"

namespace tombolo {
namespace {

AddressClaim sample() {
  AddressClaim claim;
  claim.pool = "campus";
  claim.ip = Ip::parse("10.9.0.7").value();
  claim.identity = "StatefulSet/shop/db/0/eth0";
  claim.holder = "c1/eth0";
  claim.node = "n1";
  claim.pod = "shop/db-0";
  claim.since_unix_ms = 1'000;
  claim.released_unix_ms = 900;
  claim.sequence = 17;
  return claim;
}

KeyValue pair_of(const AddressClaim& claim) {
  return {records::claim_key(claim), records::encode(claim), 3, claim.sequence, 1, 0};
}

TEST_CASE("claims, claimants and blocks survive the store") {
  AddressClaim claim = sample();
  REQUIRE(pair_of(claim).key == "tombolo/v1/claims/campus/10.9.0.7");
  REQUIRE(records::decode_claim(pair_of(claim)).value() == claim);

  Claimant claimant{claim.identity, {{"campus", claim.ip}, {"other", claim.ip}}};
  KeyValue claimant_kv{records::claimant_key(claimant), records::encode(claimant)};
  REQUIRE(claimant_kv.key == "tombolo/v1/claimants/StatefulSet/shop/db/0/eth0");
  REQUIRE(records::decode_claimant(claimant_kv).value() == claimant);

  PoolBlock block{"overlay", Prefix::parse("fd00:9::/120").value(), "n1", 5, 0, 4};
  KeyValue block_kv{records::pool_block_key(block), records::encode(block), 0, 4};
  REQUIRE(block_kv.key == "tombolo/v1/poolblocks/overlay/fd00:9::/120");
  REQUIRE(records::decode_pool_block(block_kv).value() == block);
}

TEST_CASE("a claim that is held, kept or free says so") {
  AddressClaim claim = sample();
  REQUIRE((claim.held() && !claim.kept() && !claim.free()));
  claim.holder.clear();
  REQUIRE((!claim.held() && claim.kept() && !claim.free()));
  claim.identity.clear();
  REQUIRE((!claim.held() && !claim.kept() && claim.free()));
}

TEST_CASE("broken claims are refused with key and field") {
  struct Case {
    std::string name;
    std::function<void(state::v1::AddressClaim&)> breaks;
    std::string says;
  };
  auto [name, breaks, says] = GENERATE(values<Case>({
      {"address", [](auto& m) { m.set_ip("abc"); }, "address"},
      {"another address", [](auto& m) { m.set_ip(std::string("\x0a\x09\x00\x08", 4)); },
       "holds the record of another key, tombolo/v1/claims/campus/10.9.0.8"},
      {"pool", [](auto& m) { m.set_pool("a/b"); }, "pool: 'a/b' is no name of a pool"},
      {"no pool", [](auto& m) { m.set_pool(""); }, "pool: '' is no name of a pool"},
      {"another pool", [](auto& m) { m.set_pool("b"); }, "of another key"},
      {"holder alone", [](auto& m) { m.set_node(""); }, "holder 'c1/eth0' and node '': both"},
      {"node alone", [](auto& m) { m.set_holder(""); }, "holder '' and node 'n1': both or none"},
      {"time", [](auto& m) { m.set_released_unix_ms(-1); }, "released_unix_ms -1: before 1970"},
  }));
  INFO(name);
  KeyValue kv = pair_of(sample());
  state::v1::AddressClaim message;
  REQUIRE(message.ParseFromString(kv.value));
  breaks(message);
  kv.value = message.SerializeAsString();
  auto refused = records::decode_claim(kv);
  REQUIRE_FALSE(refused);
  INFO(refused.error().what);
  REQUIRE(refused.error().what.starts_with(kv.key + ": "));
  REQUIRE(refused.error().what.find(says) != std::string::npos);
}

TEST_CASE("broken claimants and blocks are refused with key and field") {
  Ip ip = Ip::parse("10.9.0.7").value();
  Claimant unsorted{"Pod/a/b/eth0", {{"z", ip}, {"a", ip}}};
  KeyValue kv{records::claimant_key(unsorted), records::encode(unsorted)};
  REQUIRE(records::decode_claimant(kv).error().what == kv.key + ": addresses: not ascending");
  Claimant twice{"Pod/a/b/eth0", {{"a", ip}, {"a", ip}}};
  REQUIRE_FALSE(records::decode_claimant({kv.key, records::encode(twice)}));
  Claimant nobody{"", {}};
  kv = {records::claimant_key(nobody), records::encode(nobody)};
  REQUIRE(records::decode_claimant(kv).error().what == kv.key + ": identity: is empty");
  PoolBlock block{"overlay", Prefix::parse("10.4.0.0/26").value(), "n1", -5, 0, 0};
  kv = {records::pool_block_key(block), records::encode(block)};
  REQUIRE(records::decode_pool_block(kv).error().what.find("since_unix_ms -5") !=
          std::string::npos);
}

TEST_CASE("any claim survives the store") {
  REQUIRE(rc::check("claim -> record -> claim", [] {
    AddressClaim claim;
    claim.pool = "p" + std::to_string(*rc::gen::arbitrary<unsigned>());
    claim.ip = *rc::gen::arbitrary<bool>() ? Ip::v4(*rc::gen::arbitrary<std::uint32_t>())
                                           : Ip::v6(*rc::gen::arbitrary<std::uint64_t>());
    claim.identity = *rc::gen::string<std::string>();
    if (*rc::gen::arbitrary<bool>()) {
      claim.holder = "h" + *rc::gen::container<std::string>(rc::gen::inRange('a', 'z'));
      claim.node = "n";
    }
    claim.released_unix_ms = *rc::gen::inRange<std::int64_t>(0, 1LL << 50);
    claim.sequence = *rc::gen::inRange<std::int64_t>(0, 1LL << 50);
    // Texts of records are UTF-8: protobuf refuses others when it reads.
    for (char& byte : claim.identity) byte &= 0x7f;
    RC_ASSERT(records::decode_claim(pair_of(claim)).value() == claim);
  }));
}

}  // namespace
}  // namespace tombolo
