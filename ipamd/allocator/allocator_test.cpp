// The allocator: tables for its rules, random operations against a naive model.
#include "ipamd/allocator/allocator.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <set>

namespace tombolo {
namespace {

Prefix prefix(const char* text) {
  return Prefix::parse(text).value();
}
Ip ip(const char* text) {
  return Ip::parse(text).value();
}

Allocator with_blocks(const std::vector<Prefix>& blocks) {
  Allocator allocator;
  REQUIRE(allocator.set_blocks(kNodePool, blocks));
  return allocator;
}

TEST_CASE("which addresses of a block are given out, and in which order") {
  struct Case {
    std::string name;
    std::string block;
    std::vector<std::string> given;
  };
  auto test = GENERATE(values<Case>({
      {"IPv4 without network and broadcast address",
       "10.0.0.0/29",
       {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}},
      {"a pair is used whole", "10.0.0.8/31", {"10.0.0.8", "10.0.0.9"}},
      {"a single address", "10.0.0.7/32", {"10.0.0.7"}},
      {"IPv6 without the anycast address", "fd00::/126", {"fd00::1", "fd00::2", "fd00::3"}},
      {"the end of the address space",
       "255.255.255.252/30",
       {"255.255.255.253", "255.255.255.254"}},
      {"the end of the IPv6 space",
       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
       {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
  }));
  INFO(test.name);
  Allocator allocator = with_blocks({prefix(test.block.c_str())});
  std::vector<std::string> given;
  for (int i = 0; i < 20; ++i)
    if (auto grant = allocator.allocate("c/" + std::to_string(i), kNodePool, {}))
      given.push_back(grant->ips.at(0).str());
  REQUIRE(given == test.given);
  auto full = allocator.allocate("one more", kNodePool, {});
  REQUIRE(full.error().code == Code::kResourceExhausted);
  REQUIRE(allocator.pool(kNodePool)->usage(prefix(test.block.c_str()).family()).free() == 0);
}

TEST_CASE("the longest free address is used first") {
  Allocator allocator = with_blocks({prefix("10.0.0.0/29")});
  std::vector<Grant> grants;
  for (int i = 0; i < 6; ++i)
    grants.push_back(allocator.allocate("c" + std::to_string(i), kNodePool, {}).value());
  for (int i : {4, 1, 3})
    REQUIRE(allocator.release("c" + std::to_string(i),
                              grants.at(static_cast<std::size_t>(i)).sequence));
  REQUIRE(allocator.allocate("x", kNodePool, {})->ips.at(0) == ip("10.0.0.5"));
  REQUIRE(allocator.allocate("y", kNodePool, {})->ips.at(0) == ip("10.0.0.2"));
  REQUIRE(allocator.allocate("z", kNodePool, {})->ips.at(0) == ip("10.0.0.4"));
}

TEST_CASE("both families or nothing") {
  Allocator allocator = with_blocks({prefix("10.0.0.0/24"), prefix("fd00::/127")});
  REQUIRE(allocator.allocate("a", kNodePool, {})->ips == std::vector{ip("10.0.0.1"), ip("fd00::")});
  REQUIRE(allocator.allocate("b", kNodePool, {})->ips.size() == 2);
  auto third = allocator.allocate("c", kNodePool, {});
  REQUIRE(third.error().code == Code::kResourceExhausted);
  REQUIRE(third.error().what == "pool node: no free IPv6 address: 2 of 2 are in use");
  REQUIRE(allocator.pool(kNodePool)->usage(Family::kV4).in_use == 2);
  REQUIRE(allocator.allocate("d", kNodePool, {Family::kV4})->ips.size() == 1);

  Allocator only_v4 = with_blocks({prefix("10.0.0.0/24")});
  auto wanted = only_v4.allocate("a", kNodePool, {Family::kV4, Family::kV6});
  REQUIRE(wanted.error().code == Code::kFailedPrecondition);
  REQUIRE(wanted.error().what == "pool node: no block of IPv6 addresses yet");
  REQUIRE(only_v4.pool(kNodePool)->usage(Family::kV4).in_use == 0);
  Allocator empty;
  REQUIRE(empty.allocate("a", kNodePool, {}).error().code == Code::kFailedPrecondition);
}

TEST_CASE("a stale release frees nothing") {
  Allocator allocator = with_blocks({prefix("10.0.0.0/30")});
  Grant first = allocator.allocate("a", kNodePool, {}).value();
  REQUIRE(allocator.allocate("a", kNodePool, {}).error().code == Code::kAlreadyExists);
  REQUIRE(allocator.release("a", first.sequence));
  REQUIRE(allocator.release("a", first.sequence).error().code == Code::kNotFound);
  Grant second = allocator.allocate("a", kNodePool, {}).value();
  REQUIRE(second.sequence > first.sequence);
  REQUIRE(allocator.release("a", first.sequence).error().code == Code::kAborted);
  REQUIRE(*allocator.find("a") == second);
}

TEST_CASE(
    "what is in use in a block that left stays in use; when it is back nothing is given twice") {
  Allocator allocator = with_blocks({prefix("10.0.0.0/30"), prefix("10.0.1.0/30")});
  Grant a = allocator.allocate("a", kNodePool, {}).value();
  Grant b = allocator.allocate("b", kNodePool, {}).value();
  REQUIRE(allocator.release("a", a.sequence));
  REQUIRE(allocator.set_blocks(kNodePool, {prefix("10.0.1.0/30")}));
  REQUIRE(allocator.pool(kNodePool)->usage(Family::kV4).in_use == 0);
  REQUIRE(allocator.allocate("c", kNodePool, {})->ips.at(0) == ip("10.0.1.1"));
  REQUIRE(allocator.set_blocks(kNodePool, {prefix("10.0.0.0/30"), prefix("10.0.1.0/30")}));
  REQUIRE(allocator.pool(kNodePool)->usage(Family::kV4).in_use == 2);
  REQUIRE(allocator.allocate("d", kNodePool, {})->ips.at(0) == a.ips.at(0));
  REQUIRE(allocator.allocate("e", kNodePool, {})->ips.at(0) == ip("10.0.1.2"));
  REQUIRE(!allocator.allocate("f", kNodePool, {}));
  REQUIRE(allocator.release("b", b.sequence));
  REQUIRE(allocator.allocate("f", kNodePool, {})->ips == b.ips);
  auto overlap = allocator.set_blocks(kNodePool, {prefix("10.0.0.0/24"), prefix("10.0.0.0/30")});
  REQUIRE(overlap.error().what == "the blocks 10.0.0.0/24 and 10.0.0.0/30 overlap");
}

TEST_CASE("an earlier life is restored") {
  Allocator allocator;
  REQUIRE(allocator.restore("a", {7, "node", {ip("10.0.0.2")}}));
  REQUIRE(allocator.restore("a", {8, "node", {ip("10.0.0.9")}}).error().code ==
          Code::kAlreadyExists);
  REQUIRE(allocator.restore("b", {8, "node", {ip("fd00::1"), ip("10.0.0.2")}}).error().code ==
          Code::kAlreadyExists);
  REQUIRE(allocator.set_blocks("node", {prefix("10.0.0.0/29")}));
  for (auto freed : {"10.0.0.5", "10.0.0.1", "10.0.0.2", "10.9.0.1", "10.0.0.7"})
    allocator.restore_freed("node", ip(freed));
  allocator.restore_sequence(40);
  std::vector<std::string> given;
  while (auto grant = allocator.allocate(std::to_string(given.size()), "node", {})) {
    given.push_back(grant->ips.at(0).str());
    REQUIRE(grant->sequence == 40 + given.size());
  }
  // Fresh ones first, then by the time of release; .2 is in use, .7 is the broadcast address.
  REQUIRE(given ==
          std::vector<std::string>{"10.0.0.3", "10.0.0.4", "10.0.0.6", "10.0.0.5", "10.0.0.1"});
}

// The model: a set of free addresses searched from end to end.
struct Model {
  std::map<std::string, Grant> grants;
  std::vector<Prefix> blocks;

  bool taken(Ip address) const {
    return std::ranges::any_of(grants, [&](const auto& entry) {
      return std::ranges::count(entry.second.ips, address) > 0;
    });
  }
  bool any_free(Family family) const {
    for (const auto& block : blocks)
      if (block.family() == family)
        for (uint128 i = 0; i < block.size(); ++i) {
          bool edge = i == 0 || (family == Family::kV4 && i + 1 == block.size());
          if (!(block.host_bits() >= 2 && edge) && !taken(block.at(i))) return true;
        }
    return false;
  }
};

const std::vector<std::vector<Prefix>> kBlockSets{
    {prefix("10.0.0.0/29"), prefix("fd00::/125")},
    {prefix("10.0.0.0/29"), prefix("10.0.1.0/30"), prefix("fd00::/125")},
    {prefix("10.0.1.0/30"), prefix("fd00::/126"), prefix("fd01::/127")},
};

TEST_CASE("random operations agree with a naive model") {
  REQUIRE(rc::check("allocator", [] {
    Allocator allocator;
    Model model;
    auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
        rc::gen::pair(rc::gen::inRange(0, 20), rc::gen::inRange(0, 12)));
    model.blocks = kBlockSets[0];
    RC_ASSERT(allocator.set_blocks(kNodePool, model.blocks).has_value());
    std::uint64_t last = 0;
    for (auto [operation, number] : steps) {
      std::string owner = "c" + std::to_string(number);
      if (operation < 11) {
        bool possible = !model.grants.contains(owner) && model.any_free(Family::kV4) &&
                        model.any_free(Family::kV6);
        auto grant = allocator.allocate(owner, kNodePool, {});
        RC_ASSERT(grant.has_value() == possible);
        if (!grant) continue;
        RC_ASSERT(grant->ips.size() == 2U);
        RC_ASSERT(grant->sequence > last);
        last = grant->sequence;
        for (Ip address : grant->ips) {
          RC_ASSERT(!model.taken(address));
          RC_ASSERT(std::ranges::any_of(
              model.blocks, [&](const Prefix& block) { return block.contains(address); }));
        }
        model.grants[owner] = *grant;
      } else if (operation < 19) {
        bool stale = operation == 18;
        auto held = model.grants.find(owner);
        std::uint64_t sequence = held == model.grants.end() ? 1 : held->second.sequence;
        auto freed = allocator.release(owner, sequence - (stale ? 1 : 0));
        RC_ASSERT(freed.has_value() == (held != model.grants.end() && !stale));
        if (freed) model.grants.erase(held);
      } else {
        model.blocks = kBlockSets[static_cast<std::size_t>(number) % kBlockSets.size()];
        RC_ASSERT(allocator.set_blocks(kNodePool, model.blocks).has_value());
      }
      RC_ASSERT(allocator.size() == model.grants.size());
    }
  }));
}

}  // namespace
}  // namespace tombolo
