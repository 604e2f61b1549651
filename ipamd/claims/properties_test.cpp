// The decisions, against naive models: any order of takes, releases and lost answers.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>

#include "ipamd/claims/internal.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

// The store: pairs, one revision per transaction.
struct Store {
  std::map<std::string, KeyValue> pairs;
  std::int64_t revision = 1;

  bool run(const TxnRequest& request) {
    for (const Compare& compare : request.compares) {
      auto at = pairs.find(compare.key);
      if ((at == pairs.end() ? 0 : at->second.mod_revision) != compare.number) return false;
    }
    ++revision;
    std::set<std::string> keys;
    for (const Operation& operation : request.then) {
      if (const auto* put = std::get_if<Put>(&operation)) {
        RC_ASSERT(keys.insert(put->key).second);
        pairs[put->key] = {put->key, put->value, 0, revision, 0, 0};
      } else {
        const auto& erase = std::get<Delete>(operation);
        RC_ASSERT(keys.insert(erase.key).second);
        pairs.erase(erase.key);
      }
    }
    return true;
  }
  // A view that knows everything.
  void show(ClaimView& view) const {
    std::set<std::string> keys;
    for (const auto& [key, pair] : pairs) {
      RC_ASSERT(view.put(pair, 1'000'000).has_value());
      keys.insert(key);
    }
    view.keep_only(keys, revision);
  }
  std::vector<AddressClaim> claims() const {
    std::vector<AddressClaim> all;
    for (const auto& [key, pair] : pairs)
      if (key.starts_with(records::kClaimsPrefix))
        all.push_back(records::decode_claim(pair).value());
    return all;
  }
};

void set_pools(ClaimView& view) {
  RC_ASSERT(view.set_pools({{"campus", {range("10.9.0.1", "10.9.0.6")}, 0, {0, 0}},
                            {"annex", {range("10.8.0.1", "10.8.0.3")}, 0, {0, 0}}})
                .has_value());
}

TEST_CASE("claims: no order of takes and releases gives an address or a room away twice") {
  REQUIRE(rc::check("plan_take over views that may be stale", [] {
    Store store;
    std::vector<std::unique_ptr<ClaimView>> views;
    for (const char* node : {"n1", "n2", "n3"}) {
      views.push_back(std::make_unique<ClaimView>(node));
      set_pools(*views.back());
    }
    const std::map<std::string, std::size_t> rooms{
        {"", 1}, {"Pod/a/a/eth0", 1}, {"Deployment/a/b/eth0", 2}};
    std::map<std::string, std::vector<PooledIp>> acknowledged;  // by holder
    int steps = *rc::gen::inRange(1, 40);
    for (int step = 0; step < steps; ++step) {
      ClaimView& view = *views[*rc::gen::inRange<std::size_t>(0, views.size())];
      // Often, not always: a stale view must do no harm.
      if (*rc::gen::inRange(0, 3) > 0) store.show(view);
      // Some records alone, as a lost comparison reads them.
      for (const auto& [key, pair] : store.pairs)
        if (*rc::gen::inRange(0, 3) == 0) RC_ASSERT(view.put(pair, 1'000'000).has_value());
      if (*rc::gen::inRange(0, 3) == 0) {
        auto mine = view.claims_of_node();
        if (mine.empty()) continue;
        AddressClaim claim = *rc::gen::elementOf(mine);
        ComparedWrites writes;
        for (const AddressClaim& each : view.claims_of(claim.holder))
          writes.put(view, released(each, step));
        if (store.run(writes.take())) acknowledged.erase(claim.holder);
        continue;
      }
      auto [identity, room] = *rc::gen::elementOf(
          std::vector<std::pair<std::string, std::size_t>>(rooms.begin(), rooms.end()));
      ClaimWanted one = fixed(fmt::format("h{}", step), identity, room,
                              *rc::gen::elementOf(std::vector<std::string>{"campus", "annex"}));
      auto plan = plan_take(view, {one}, step, 0);
      if (!plan) {
        RC_ASSERT(
            (plan.error().code == Code::kResourceExhausted || plan.error().code == Code::kAborted));
        continue;
      }
      if (!plan->behind.empty()) continue;  // it would read, and look again
      if (store.run(plan->request))
        for (const AddressClaim& claim : plan->claims[0])
          acknowledged[one.holder].push_back({claim.pool, claim.ip});
      for (const PooledIp& address : plan->chosen) view.end_pending(address);
    }
    // What was acknowledged is in the store with its holder, and nothing else is held.
    std::size_t held = 0;
    std::map<std::string, std::size_t> owned;
    for (const AddressClaim& claim : store.claims()) {
      if (!claim.identity.empty()) ++owned[claim.identity];
      if (!claim.held()) continue;
      ++held;
      auto at = acknowledged.find(claim.holder);
      RC_ASSERT(at != acknowledged.end());
      RC_ASSERT(std::ranges::count(at->second, PooledIp{claim.pool, claim.ip}) == 1);
    }
    std::size_t expected = 0;
    for (const auto& [holder, addresses] : acknowledged) expected += addresses.size();
    RC_ASSERT(held == expected);
    for (const auto& [identity, count] : owned) RC_ASSERT(count <= rooms.at(identity));
    // The claimants know exactly these.
    for (const auto& [key, pair] : store.pairs)
      if (key.starts_with(records::kClaimantsPrefix)) {
        Claimant claimant = records::decode_claimant(pair).value();
        RC_ASSERT(claimant.addresses.size() == owned[claimant.identity]);
        owned.erase(claimant.identity);
      }
    for (const auto& [identity, count] : owned) RC_ASSERT(count == 0U);
  }));
}

TEST_CASE("claims: an address that can be chosen is chosen, fresh ones first") {
  REQUIRE(rc::check("PoolOrder::choose", [] {
    PoolOrder order;
    RC_ASSERT(order.set_ranges({range("10.9.0.1", "10.9.0.9"), range("10.9.1.0", "10.9.1.3")})
                  .has_value());
    order.set_rest({600, 300});
    std::map<Ip, std::optional<std::int64_t>> used;  // free since, or occupied
    int steps = *rc::gen::inRange(0, 60);
    for (int step = 0; step < steps; ++step) {
      int index = *rc::gen::inRange(0, 13);
      Ip ip = index < 9 ? Ip::v4(0x0a090001U + static_cast<std::uint32_t>(index))
                        : Ip::v4(0x0a090100U + static_cast<std::uint32_t>(index - 9));
      switch (*rc::gen::inRange(0, 3)) {
        case 0:
          order.occupy(ip);
          used[ip] = std::nullopt;
          break;
        case 1: {
          std::int64_t since = *rc::gen::inRange(0, 1000);
          order.set_free(ip, since);
          used[ip] = since;
          break;
        }
        default:
          order.set_fresh(ip);
          used.erase(ip);
      }
    }
    std::uint64_t occupied = 0;
    bool rested = false;
    for (const auto& [ip, since] : used) {
      if (!since) ++occupied;
      if (since && 1000 - *since >= 300) rested = true;
    }
    RC_ASSERT(order.usage(Family::kV4).in_use == occupied);
    RC_ASSERT(order.usage(Family::kV4).total == 13U);
    auto place = *rc::gen::arbitrary<std::uint64_t>();
    auto ip = order.choose(Family::kV4, 1000, AddressPool::Patience::kNone, place);
    RC_ASSERT(ip.has_value() == (used.size() < 13 || rested));
    if (!ip) return;
    RC_ASSERT(order.contains(*ip));
    auto at = used.find(*ip);
    RC_ASSERT((at == used.end()) == (used.size() < 13));
    if (at != used.end()) RC_ASSERT((at->second && 1000 - *at->second >= 300));
  }));
}

TEST_CASE("claims: when the clock goes back, freed addresses and blocks rest from then on") {
  constexpr auto kNone = AddressPool::Patience::kNone;
  PoolOrder order;
  REQUIRE(order.set_ranges({range("10.9.0.1", "10.9.0.1")}));
  order.set_rest({600, 300});
  order.set_free(Ip::v4(0x0a090001U), 7'200'000);
  auto early = order.choose(Family::kV4, 1000, kNone, 0);
  REQUIRE_FALSE(early.has_value());
  REQUIRE(early.error().what.ends_with("the next one will have in 300 ms"));
  REQUIRE(order.choose(Family::kV4, 1300, kNone, 0).has_value());

  BlockView view("n1");
  PoolBlock block{"wide", Prefix::parse("10.4.0.0/26").value(), "", 0, 7'200'000, 0};
  KeyValue kv;
  kv.key = records::pool_block_key(block);
  kv.value = records::encode(block);
  kv.mod_revision = 1;
  REQUIRE(view.put(kv, 7'200'000));
  view.rest_from_now("wide", 1000);
  REQUIRE(view.blocks("wide").begin()->second.released_unix_ms == 1000);
}

TEST_CASE("claims: nodes begin at places of their own") {
  std::set<Ip> chosen;
  for (int node = 0; node < 100; ++node) {
    PoolOrder order;
    REQUIRE(order.set_ranges({range("10.9.0.0", "10.9.255.255")}));
    chosen.insert(order
                      .choose(Family::kV4, 0, AddressPool::Patience::kNone,
                              place_of_name(fmt::format("node-{}", node)))
                      .value());
  }
  REQUIRE(chosen.size() >= 95);
}

}  // namespace
}  // namespace tombolo
