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

// Who holds what, as the lease book keeps it above an allocator.
struct Grant {
  std::vector<Ip> ips;
  std::vector<PooledIp> addresses;
};

class Holders {
 public:
  Result<void> set_blocks(std::string_view pool, const std::vector<Prefix>& blocks) {
    return allocator_.set_blocks(pool, blocks);
  }
  const AddressPool* pool(std::string_view name) const { return allocator_.pool(name); }
  Result<Grant> allocate(const std::string& owner, std::string_view pool,
                         const std::vector<Family>& families) {
    TRY(wishes, allocator_.wishes(pool, families));
    TRY(addresses, allocator_.take(wishes, now_ms));
    Grant grant{{}, std::move(addresses)};
    for (const PooledIp& address : grant.addresses) grant.ips.push_back(address.ip);
    RC_ASSERT(grants_.emplace(owner, grant).second);
    return grant;
  }
  void release(const std::string& owner) {
    allocator_.give_back(grants_.at(owner).addresses, now_ms);
    grants_.erase(owner);
  }
  const std::map<std::string, Grant>& grants() const { return grants_; }
  Allocator& allocator() { return allocator_; }
  std::int64_t now_ms = 0;

 private:
  Allocator allocator_;
  std::map<std::string, Grant> grants_;
};

Holders with_blocks(const std::vector<Prefix>& blocks) {
  Holders allocator;
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
  Holders allocator = with_blocks({prefix(test.block.c_str())});
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
  Holders allocator = with_blocks({prefix("10.0.0.0/29")});
  for (int i = 0; i < 6; ++i) REQUIRE(allocator.allocate("c" + std::to_string(i), kNodePool, {}));
  for (int i : {4, 1, 3}) allocator.release("c" + std::to_string(i));
  REQUIRE(allocator.allocate("x", kNodePool, {})->ips.at(0) == ip("10.0.0.5"));
  REQUIRE(allocator.allocate("y", kNodePool, {})->ips.at(0) == ip("10.0.0.2"));
  REQUIRE(allocator.allocate("z", kNodePool, {})->ips.at(0) == ip("10.0.0.4"));
}

TEST_CASE("both families or nothing") {
  Holders allocator = with_blocks({prefix("10.0.0.0/24"), prefix("fd00::/127")});
  REQUIRE(allocator.allocate("a", kNodePool, {})->ips == std::vector{ip("10.0.0.1"), ip("fd00::")});
  REQUIRE(allocator.allocate("b", kNodePool, {})->ips.size() == 2);
  auto third = allocator.allocate("c", kNodePool, {});
  REQUIRE(third.error().code == Code::kResourceExhausted);
  REQUIRE(third.error().what == "pool node: no free IPv6 address: 2 of 2 are in use");
  REQUIRE(allocator.pool(kNodePool)->usage(Family::kV4).in_use == 2);
  REQUIRE(allocator.allocate("d", kNodePool, {Family::kV4})->ips.size() == 1);

  Holders only_v4 = with_blocks({prefix("10.0.0.0/24")});
  auto wanted = only_v4.allocate("a", kNodePool, {Family::kV4, Family::kV6});
  REQUIRE(wanted.error().code == Code::kFailedPrecondition);
  REQUIRE(wanted.error().what == "pool node: no block of IPv6 addresses yet");
  REQUIRE(only_v4.pool(kNodePool)->usage(Family::kV4).in_use == 0);
  Holders empty;
  REQUIRE(empty.allocate("a", kNodePool, {}).error().code == Code::kFailedPrecondition);
}

TEST_CASE(
    "what is in use in a block that left stays in use; when it is back nothing is given twice") {
  Holders allocator = with_blocks({prefix("10.0.0.0/30"), prefix("10.0.1.0/30")});
  Grant a = allocator.allocate("a", kNodePool, {}).value();
  Grant b = allocator.allocate("b", kNodePool, {}).value();
  allocator.release("a");
  REQUIRE(allocator.set_blocks(kNodePool, {prefix("10.0.1.0/30")}));
  REQUIRE(allocator.pool(kNodePool)->usage(Family::kV4).in_use == 0);
  REQUIRE(allocator.allocate("c", kNodePool, {})->ips.at(0) == ip("10.0.1.1"));
  REQUIRE(allocator.set_blocks(kNodePool, {prefix("10.0.0.0/30"), prefix("10.0.1.0/30")}));
  REQUIRE(allocator.pool(kNodePool)->usage(Family::kV4).in_use == 2);
  REQUIRE(allocator.allocate("d", kNodePool, {})->ips.at(0) == a.ips.at(0));
  REQUIRE(allocator.allocate("e", kNodePool, {})->ips.at(0) == ip("10.0.1.2"));
  REQUIRE(!allocator.allocate("f", kNodePool, {}));
  allocator.release("b");
  REQUIRE(allocator.allocate("f", kNodePool, {})->ips == b.ips);
  auto overlap = allocator.set_blocks(kNodePool, {prefix("10.0.0.0/24"), prefix("10.0.0.0/30")});
  REQUIRE(overlap.error().what == "the blocks 10.0.0.0/24 and 10.0.0.0/30 overlap");
}

TEST_CASE("an earlier life is restored") {
  Holders holders;
  Allocator& allocator = holders.allocator();
  std::vector<PooledIp> a{{"node", ip("10.0.0.2")}};
  std::vector<PooledIp> b{{"node", ip("fd00::1")}, {"node", ip("10.0.0.2")}};
  REQUIRE(allocator.restore(a));
  REQUIRE(allocator.restore(b).error().code == Code::kAlreadyExists);
  REQUIRE(!allocator.pool("node")->in_use(ip("fd00::1")));
  REQUIRE(allocator.set_blocks("node", {prefix("10.0.0.0/29")}));
  for (auto freed : {"10.0.0.5", "10.0.0.1", "10.0.0.2", "10.9.0.1", "10.0.0.7"})
    allocator.restore_freed("node", ip(freed));
  allocator.restore_sequence(40);
  allocator.restore_sequence(7);
  REQUIRE(allocator.next_sequence() == 41);
  std::vector<std::string> given;
  while (auto grant = holders.allocate(std::to_string(given.size()), "node", {}))
    given.push_back(grant->ips.at(0).str());
  // Fresh ones first, then by the time of release; .2 is in use, .7 is the broadcast address.
  REQUIRE(given ==
          std::vector<std::string>{"10.0.0.3", "10.0.0.4", "10.0.0.6", "10.0.0.5", "10.0.0.1"});
}

TEST_CASE("several interfaces of a pod get all or nothing") {
  Holders holders = with_blocks({prefix("10.0.0.0/24"), prefix("fd00::/64")});
  Allocator& allocator = holders.allocator();
  REQUIRE(allocator.set_ranges("storage", {{ip("10.1.0.5"), ip("10.1.0.6")}}));
  auto wish = [](Family family, std::vector<std::string> pools) {
    return AddressWish{family, std::move(pools), std::nullopt};
  };
  std::vector<AddressWish> wishes{wish(Family::kV4, {"node"}), wish(Family::kV6, {"node"}),
                                  wish(Family::kV4, {"storage"}),
                                  wish(Family::kV4, {"storage", "node"})};
  auto first = allocator.take(wishes);
  REQUIRE(first);
  REQUIRE(*first == std::vector<PooledIp>{{"node", ip("10.0.0.1")},
                                          {"node", ip("fd00::1")},
                                          {"storage", ip("10.1.0.5")},
                                          {"storage", ip("10.1.0.6")}});
  auto second = allocator.take(wishes);
  REQUIRE(second.error().code == Code::kResourceExhausted);
  REQUIRE(second.error().what == "pool storage: no free IPv4 address: 2 of 2 are in use");
  REQUIRE(allocator.pool("node")->usage(Family::kV4).in_use == 1);
  REQUIRE(allocator.pool("node")->usage(Family::kV6).in_use == 1);
  wishes[2].pools = {"node"};
  auto third = allocator.take(wishes);
  REQUIRE(third);
  REQUIRE(third->at(3).pool == "node");
  REQUIRE(allocator.pool("node")->usage(Family::kV4).in_use == 4);
}

TEST_CASE("one address and no other") {
  Holders holders = with_blocks({prefix("10.0.0.0/29")});
  Allocator& allocator = holders.allocator();
  auto take = [&](const char* text) {
    std::vector<AddressWish> wishes{{Family::kV4, {"node"}, ip(text)}};
    return allocator.take(wishes);
  };
  REQUIRE(take("10.0.0.3")->at(0).ip == ip("10.0.0.3"));
  REQUIRE(take("10.0.0.3").error().code == Code::kAlreadyExists);
  REQUIRE(take("10.0.0.7").error().code == Code::kOutOfRange);
  REQUIRE(take("10.0.0.0").error().what == "pool node: 10.0.0.0 is in no range of the pool");
  // Freed and taken again out of its turn, many times: nothing is given twice.
  for (int i = 0; i < 3000; ++i) {
    allocator.give_back(std::vector<PooledIp>{{"node", ip("10.0.0.3")}});
    REQUIRE(take("10.0.0.3"));
  }
  std::vector<std::string> given;
  while (auto grant = holders.allocate(std::to_string(given.size()), "node", {}))
    given.push_back(grant->ips.at(0).str());
  REQUIRE(given ==
          std::vector<std::string>{"10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"});
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
    Holders allocator;
    Model model;
    auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
        rc::gen::pair(rc::gen::inRange(0, 23), rc::gen::inRange(0, 12)));
    model.blocks = kBlockSets[0];
    RC_ASSERT(allocator.set_blocks(kNodePool, model.blocks).has_value());
    for (auto [operation, number] : steps) {
      std::string owner = "c" + std::to_string(number);
      bool holds = allocator.grants().contains(owner);
      model.grants = allocator.grants();
      if (operation < 11 && !holds) {
        bool possible = model.any_free(Family::kV4) && model.any_free(Family::kV6);
        auto grant = allocator.allocate(owner, kNodePool, {});
        RC_ASSERT(grant.has_value() == possible);
        if (!grant) continue;
        RC_ASSERT(grant->ips.size() == 2U);
        for (Ip address : grant->ips) {
          RC_ASSERT(!model.taken(address));
          RC_ASSERT(std::ranges::any_of(
              model.blocks, [&](const Prefix& block) { return block.contains(address); }));
        }
      } else if (operation < 19) {
        if (holds) allocator.release(owner);
      } else if (operation < 22) {
        // Out of turn: the address of this number, for a moment or for good.
        std::vector<AddressWish> exact{
            {Family::kV4, {"node"}, ip(("10.0.0." + std::to_string(number % 8)).c_str())}};
        bool free =
            !model.taken(*exact[0].exact) && allocator.pool(kNodePool)->contains(*exact[0].exact);
        auto taken = allocator.allocator().take(exact);
        RC_ASSERT(taken.has_value() == free);
        if (taken) allocator.allocator().give_back(*taken);
      } else {
        model.blocks = kBlockSets[static_cast<std::size_t>(number) % kBlockSets.size()];
        RC_ASSERT(allocator.set_blocks(kNodePool, model.blocks).has_value());
      }
    }
  }));
}

}  // namespace
}  // namespace tombolo
