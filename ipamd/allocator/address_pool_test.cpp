// One pool against a model that is a list: which address comes next, how long it rested, and that
// a restart changes neither. The bits and the queue under it.
#include "ipamd/allocator/address_pool.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <deque>
#include <set>

namespace tombolo {
namespace {

using Patience = AddressPool::Patience;

struct Model {
  std::set<Ip> fresh;
  std::deque<FreedQueue::Freed> freed;
  std::vector<Ip> in_use;
};

constexpr std::uint32_t kFirst = 0x0a000001;
constexpr std::uint32_t kSize = 14;

AddressPool new_pool(Rest rest) {
  AddressPool pool;
  RC_ASSERT(pool.set_blocks({Prefix::parse("10.0.0.0/28").value()}).has_value());
  pool.set_rest(rest);
  return pool;
}

// As the lease store keeps it.
AddressPool restarted(const Model& model, Rest rest) {
  AddressPool pool = new_pool(rest);
  for (Ip ip : model.in_use) RC_ASSERT(pool.restore_in_use(ip).has_value());
  for (const auto& freed : model.freed) pool.restore_freed(freed.ip, freed.released_ms);
  return pool;
}

// What the pool has to answer: the address, or nothing.
std::optional<Ip> expected(Model& model, const Rest& rest, std::int64_t now, Patience patience) {
  if (!model.fresh.empty()) {
    Ip ip = *model.fresh.begin();
    model.fresh.erase(model.fresh.begin());
    return ip;
  }
  if (model.freed.empty()) return std::nullopt;
  FamilyUsage usage{kSize, model.in_use.size()};
  std::int64_t wanted = patience == Patience::kRested ? rest.wanted_at(usage) : rest.least_ms;
  auto oldest = model.freed.front();
  if (now - std::min(now, oldest.released_ms) < wanted) return std::nullopt;
  model.freed.pop_front();
  return oldest.ip;
}

TEST_CASE("the longest-free address, when it has rested, also over restarts") {
  REQUIRE(rc::check("pool", [] {
    Rest rest{*rc::gen::inRange(0, 10) * 1000, 0};
    rest.least_ms = *rc::gen::inRange<std::int64_t>(0, rest.wanted_ms / 2 + 1);
    AddressPool pool = new_pool(rest);
    Model model;
    for (std::uint32_t i = 0; i < kSize; ++i) model.fresh.insert(Ip::v4(kFirst + i));
    std::int64_t now = 1'790'000'000'000;
    auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
        rc::gen::pair(rc::gen::inRange(0, 12), rc::gen::inRange(0, 4000)));
    for (auto [operation, number] : steps) {
      if (operation < 6) {
        Patience patience = operation < 3 ? Patience::kRested : Patience::kNone;
        auto want = expected(model, rest, now, patience);
        auto got = pool.take(Family::kV4, now, patience);
        RC_ASSERT(got.has_value() == want.has_value());
        if (!want) continue;
        RC_ASSERT(*got == *want);
        model.in_use.push_back(*want);
      } else if (operation < 9 && !model.in_use.empty()) {
        auto at = model.in_use.begin() + number % std::ssize(model.in_use);
        pool.give_back(*at, now);
        // Rounded up, so that it never rests shorter.
        model.freed.push_back({*at, (now + 999) / 1000 * 1000});
        model.in_use.erase(at);
      } else if (operation == 9) {
        pool = restarted(model, rest);
      } else {
        now += number;
      }
      RC_ASSERT(pool.usage(Family::kV4).in_use == model.in_use.size());
    }
  }));
}

TEST_CASE("the wanted rest shrinks with the pool, and starves nobody") {
  REQUIRE(rc::check("rest", [] {
    Rest rest{*rc::gen::inRange(0, 1'000'000), 0};
    rest.least_ms = *rc::gen::inRange<std::int64_t>(0, rest.wanted_ms + 1);
    auto total = *rc::gen::inRange<std::uint64_t>(1, 100'000);
    auto in_use = *rc::gen::inRange<std::uint64_t>(0, total);
    std::int64_t wanted = rest.wanted_at({total, in_use});
    RC_ASSERT(wanted >= rest.least_ms);
    RC_ASSERT(wanted <= rest.wanted_ms);
    RC_ASSERT(wanted >= rest.wanted_at({total, in_use + 1}));
    if (4 * in_use <= 3 * total) RC_ASSERT(wanted == rest.wanted_ms);
    RC_ASSERT(rest.wanted_at({total, total}) == rest.least_ms);
  }));
  // Everything was given back this very moment: the next pods get addresses all the same.
  AddressPool pool = new_pool({});
  std::vector<Ip> taken;
  for (std::uint32_t i = 0; i < kSize; ++i) taken.push_back(pool.take(Family::kV4, 1000).value());
  for (Ip ip : taken) pool.give_back(ip, 1000);
  REQUIRE(!pool.take(Family::kV4, 1000, Patience::kRested));
  for (Ip ip : taken) REQUIRE(pool.take(Family::kV4, 1000).value() == ip);
}

TEST_CASE("a least rest is kept, and the error says how long it takes") {
  AddressPool pool = new_pool({5000, 2000});
  std::vector<Ip> taken;
  for (std::uint32_t i = 0; i < kSize; ++i) taken.push_back(pool.take(Family::kV4, 0).value());
  pool.give_back(taken.front(), 10'000);
  auto early = pool.take(Family::kV4, 11'500);
  REQUIRE(early.error().code == Code::kResourceExhausted);
  REQUIRE(early.error().what ==
          "1 free IPv4 addresses, of which none has rested for 2000 ms: the next one will have in "
          "500 ms");
  // The clock was set back by a day: it rests from now on, not for a day.
  REQUIRE(!pool.take(Family::kV4, -86'000'000));
  REQUIRE(pool.take(Family::kV4, -86'000'000 + 2000));
}

TEST_CASE("what an earlier life has freed rests, also when the ranges come later") {
  AddressPool pool;
  pool.set_rest({300'000, 300'000});
  Ip freed = Ip::parse("10.0.0.1").value();
  pool.restore_freed(freed, 1'000'000);
  REQUIRE(pool.set_blocks({Prefix::parse("10.0.0.0/30").value()}));
  auto fresh = pool.take(Family::kV4, 1'000'100);
  REQUIRE(fresh.value().str() == "10.0.0.2");
  auto too_early = pool.take(Family::kV4, 1'000'100);
  REQUIRE(too_early.error().code == Code::kResourceExhausted);
  REQUIRE(pool.take(Family::kV4, 1'300'000).value() == freed);
}

TEST_CASE("of too many freed addresses the longest-free count as never used") {
  AddressPool pool(3);
  REQUIRE(pool.set_blocks({Prefix::parse("10.1.0.0/28").value()}));
  auto ip = [](int last) { return Ip::parse(fmt::format("10.1.0.{}", last)).value(); };
  for (int last = 1; last <= 14; ++last) REQUIRE(pool.take(Family::kV4).value() == ip(last));
  for (int last : {9, 4, 12, 2, 7}) pool.give_back(ip(last), 1000);
  // 9 and 4 were forgotten: lowest first, then the others, longest free first.
  for (int last : {4, 9, 12, 2, 7}) REQUIRE(pool.take(Family::kV4, 2000).value() == ip(last));
  REQUIRE(pool.take(Family::kV4, 2000).error().code == Code::kResourceExhausted);
}

TEST_CASE("runs of freed addresses are one entry, and withdrawn ones are cleared away") {
  FreedQueue queue(Family::kV4);
  for (std::uint32_t i = 0; i < 10'000; ++i) queue.push(Ip::v4(kFirst + i), 500);
  REQUIRE(queue.runs() == 1);
  for (std::uint32_t i = 0; i < 9'000; ++i) queue.withdraw(Ip::v4(kFirst + i));
  REQUIRE(queue.size() == 1'000);
  REQUIRE(queue.front(1000)->ip == Ip::v4(kFirst + 9'000));
  // The same address again and again: its entries do not pile up.
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    queue.push(Ip::v4(kFirst), 1000 * i);
    queue.withdraw(Ip::v4(kFirst));
  }
  REQUIRE(queue.size() == 1'000);
  REQUIRE(queue.runs() < 3 * FreedQueue::kStaleLimit);
}

TEST_CASE("unused addresses are found across chunks, and at the ends of the space") {
  AddressBits bits;
  Ip found;
  Ip last = Ip::v4(0xffffffff);
  for (std::uint32_t i = 0; i < 700; ++i) REQUIRE(bits.take(Ip::v4(i)));
  REQUIRE(bits.first_unused(Ip::v4(3), last, found));
  REQUIRE(found == Ip::v4(700));
  REQUIRE(!bits.first_unused(Ip::v4(3), Ip::v4(699), found));
  for (std::uint32_t i = 0; i < 10; ++i) REQUIRE(bits.take(Ip::v4(0xffffffff - i)));
  REQUIRE(!bits.first_unused(Ip::v4(0xffffffff - 5), last, found));
  REQUIRE(bits.count_in_use(Family::kV4, [](Ip) { return true; }) == 710);
  REQUIRE(bits.give_back(Ip::v4(5)));
  REQUIRE(!bits.give_back(Ip::v4(5)));
  REQUIRE(bits.used(Ip::v4(5)));
  bits.forget_used([](Ip) { return false; });
  REQUIRE(!bits.used(Ip::v4(5)));
  REQUIRE(bits.in_use(Ip::v4(6)));
}

}  // namespace
}  // namespace tombolo
