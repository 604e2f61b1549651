// Rings, room and plans: the pure parts of load balancing.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <numeric>

#include "bpf/internal.h"

namespace tombolo::bpf {
namespace {

using Catch::Generators::values;

RingMember member(std::uint32_t number, std::uint16_t weight) {
  return {to_abi(Ip::v4(0x0a000000 + number), 8080, Protocol::kTcp), weight};
}

std::vector<RingMember> members_of(const std::vector<std::uint16_t>& weights) {
  std::vector<RingMember> members;
  for (std::uint32_t i = 0; i < weights.size(); ++i) members.push_back(member(i, weights[i]));
  return members;
}

std::map<abi::lb_endpoint, std::uint32_t> counts(const std::vector<RingMember>& members,
                                                 const std::vector<std::uint32_t>& slots) {
  std::map<abi::lb_endpoint, std::uint32_t> found;
  for (std::uint32_t slot : slots) ++found[members.at(slot).endpoint];
  return found;
}

std::vector<std::uint16_t> some_weights() {
  auto size = *rc::gen::inRange<std::size_t>(1, 40);
  return *rc::gen::container<std::vector<std::uint16_t>>(size,
                                                         rc::gen::inRange<std::uint16_t>(1, 500));
}

TEST_CASE("random rings have whole shares") {
  struct Case {
    std::string name;
    std::vector<std::uint16_t> weights;
    std::vector<std::uint32_t> slots;
  };
  auto c = GENERATE(values<Case>({
      {"nobody", {}, {}},
      {"one", {100}, {0}},
      {"equal", {100, 100, 100}, {0, 1, 2}},
      {"half", {100, 50}, {0, 0, 1}},
      {"third and more", {2, 3}, {0, 0, 1, 1, 1}},
  }));
  INFO(c.name);
  REQUIRE(random_ring(members_of(c.weights)) == c.slots);
}

TEST_CASE("a random ring that is too large is scaled and still true to the weights") {
  std::vector<std::uint16_t> weights(1000, 65521);
  weights[0] = 1;
  weights[1] = 32749;
  auto slots = random_ring(members_of(weights));
  REQUIRE(slots.size() == kMaxRandomSlots);
  auto found = counts(members_of(weights), slots);
  REQUIRE(found.at(member(0, 1).endpoint) == 1);
  REQUIRE(found.at(member(1, 1).endpoint) <= 3);
  REQUIRE(found.at(member(2, 1).endpoint) >= 4);
  auto crowd = random_ring(members_of(std::vector<std::uint16_t>(4096, 7)));
  REQUIRE(crowd.size() == 4096);
}

TEST_CASE("random rings: everybody in proportion") {
  REQUIRE(rc::check("share is the weight within a slot, and what the lightest need", [] {
    auto weights = some_weights();
    auto members = members_of(weights);
    auto slots = random_ring(members);
    RC_ASSERT(slots.size() <= kMaxRandomSlots);
    auto found = counts(members, slots);
    double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    auto exact = [&](const RingMember& one) {
      return one.weight / total * static_cast<double>(slots.size());
    };
    auto light = std::ranges::count_if(members, [&](const auto& one) { return exact(one) < 1; });
    for (const RingMember& one : members) {
      RC_ASSERT(found[one.endpoint] >= 1U);
      RC_ASSERT(std::abs(found[one.endpoint] - exact(one)) <= 1.0 + static_cast<double>(light));
    }
  }));
}

TEST_CASE("maglev sizes are primes with room for 100 slots each") {
  for (std::size_t members : {1U, 2U, 3U, 10U, 163U, 164U, 1310U, 4096U}) {
    std::uint32_t size = maglev_size(members);
    REQUIRE((size >= members * 100 || size == abi::kMaxSlotsPerRing));
    for (std::uint32_t divisor = 2; divisor * divisor <= size; ++divisor)
      REQUIRE(size % divisor != 0);
  }
}

TEST_CASE("maglev: proportional, order independent, minimally disrupted") {
  REQUIRE(rc::check("shares are the weights within 2 % of the table", [] {
    auto weights = some_weights();
    auto members = members_of(weights);
    std::uint32_t size = maglev_size(members.size());
    auto slots = maglev_ring(members, size);
    RC_ASSERT(slots.size() == size);
    auto found = counts(members, slots);
    double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (const RingMember& one : members) {
      double off = std::abs(found[one.endpoint] / static_cast<double>(size) - one.weight / total);
      RC_ASSERT(off < 0.02);
    }
  }));
  REQUIRE(rc::check("the order of the members does not matter", [] {
    auto members = members_of(some_weights());
    auto shuffled = members;
    std::ranges::reverse(shuffled);
    std::ranges::rotate(shuffled,
                        shuffled.begin() + static_cast<std::ptrdiff_t>(
                                               *rc::gen::inRange<std::size_t>(0, members.size())));
    auto one = maglev_ring(members, 1021);
    auto other = maglev_ring(shuffled, 1021);
    for (std::size_t i = 0; i < one.size(); ++i)
      RC_ASSERT(members[one[i]].endpoint == shuffled[other[i]].endpoint);
  }));
}

TEST_CASE("maglev: a member that leaves moves little but its own slots") {
  auto count = GENERATE(2U, 3U, 10U, 50U);
  auto members = members_of(std::vector<std::uint16_t>(count, 100));
  constexpr std::uint32_t kSize = 16381;
  auto before = maglev_ring(members, kSize);
  auto rest = members;
  rest.erase(rest.begin() + 1);
  auto after = maglev_ring(rest, kSize);
  std::size_t moved = 0;
  for (std::size_t i = 0; i < kSize; ++i)
    if (before[i] != 1 && !(members[before[i]].endpoint == rest[after[i]].endpoint)) ++moved;
  INFO(count << " members, " << moved << " other slots moved");
  REQUIRE(moved < kSize * 4 / 100);
}

TEST_CASE("extents: never twice, merged when given back") {
  REQUIRE(rc::check("agrees with a naive model", [] {
    constexpr std::uint32_t kSize = 64;
    Extents extents(kSize);
    std::vector<Extent> held;
    std::vector<bool> taken(kSize, false);
    auto steps =
        *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(0, 1000));
    for (std::uint32_t step : steps) {
      if (step % 3 != 0 || held.empty()) {
        auto got = extents.take(step % 9 + 1);
        if (!got) continue;
        for (std::uint32_t i = 0; i < got->count; ++i) {
          RC_ASSERT(!taken.at(got->offset + i));
          taken[got->offset + i] = true;
        }
        held.push_back(*got);
      } else {
        Extent back = held[step % held.size()];
        held.erase(held.begin() + step % held.size());
        for (std::uint32_t i = 0; i < back.count; ++i) taken[back.offset + i] = false;
        extents.retire(back);
        if (step % 2 == 0) extents.settle();
      }
    }
    for (Extent extent : held) extents.give_back(extent);
    extents.settle();
    RC_ASSERT(extents.used() == 0U);
    RC_ASSERT(extents.take(kSize).has_value());
  }));
}

TEST_CASE("extents found in use are kept out") {
  Extents extents(100);
  REQUIRE(extents.reserve({10, 20}));
  REQUIRE_FALSE(extents.reserve({29, 2}));
  REQUIRE_FALSE(extents.reserve({90, 11}));
  REQUIRE_FALSE(extents.reserve({UINT32_MAX, 2}));
  REQUIRE(extents.reserve({30, 70}));
  REQUIRE(extents.take(10)->offset == 0);
  REQUIRE_FALSE(extents.take(1));
}

TEST_CASE("ids rest until readers are gone") {
  IdPool ids(4);
  ids.reserve(2);
  REQUIRE(ids.take() == 1);
  REQUIRE(ids.take() == 3);
  REQUIRE_FALSE(ids.take());
  ids.retire(2);
  REQUIRE_FALSE(ids.take());
  ids.settle();
  REQUIRE(ids.take() == 2);
}

Backend backend(const char* ip, BackendState state = BackendState::kActive,
                std::uint16_t weight = 100) {
  Backend made;
  made.ip = Ip::parse(ip).value();
  made.port = 8080;
  made.port_name = "http";
  made.state = state;
  made.weight = weight;
  return made;
}

TEST_CASE("who takes new connections") {
  struct Case {
    std::string name;
    std::vector<Backend> backends;
    std::vector<std::string> chosen;
  };
  using enum BackendState;
  auto c = GENERATE(values<Case>({
      {"active ones", {backend("10.0.0.1"), backend("10.0.0.2")}, {"10.0.0.1", "10.0.0.2"}},
      {"not the terminating",
       {backend("10.0.0.1"), backend("10.0.0.2", kTerminating)},
       {"10.0.0.1"}},
      {"but the terminating, when there is nobody else",
       {backend("10.0.0.1", kTerminating), backend("10.0.0.2", kQuarantined)},
       {"10.0.0.1"}},
      {"never the quarantined", {backend("10.0.0.2", kQuarantined)}, {}},
      {"never weight 0", {backend("10.0.0.1"), backend("10.0.0.2", kActive, 0)}, {"10.0.0.1"}},
      {"no other family", {backend("10.0.0.1"), backend("fd00::1")}, {"10.0.0.1"}},
      {"each once", {backend("10.0.0.1"), backend("10.0.0.1", kActive, 7)}, {"10.0.0.1"}},
  }));
  INFO(c.name);
  Frontend row;
  row.name_space = "default";
  row.name = "web";
  row.cluster_ips = {Ip::parse("10.96.0.1").value()};
  row.ports = {{"http", Protocol::kTcp, 80}, {"sctp", Protocol::kSctp, 81}};
  row.backends = c.backends;
  auto rings = plan_rings(row);
  REQUIRE(rings.size() == 1);
  std::vector<std::string> chosen;
  for (const RingMember& one : rings[0].members) chosen.push_back(ip_of(one.endpoint).str());
  REQUIRE(chosen == c.chosen);
  row.headless = true;
  REQUIRE(plan_rings(row).empty());
}

TEST_CASE("every address of a family shares a ring; ports and families do not") {
  Frontend row;
  row.cluster_ips = {Ip::parse("10.96.0.1").value(), Ip::parse("fd96::1").value()};
  row.clusterset_ips = {Ip::parse("10.200.0.1").value(), Ip::parse("10.96.0.1").value()};
  row.ports = {{"a", Protocol::kTcp, 80}, {"b", Protocol::kUdp, 80}, {"twice", Protocol::kTcp, 80}};
  auto rings = plan_rings(row);
  REQUIRE(rings.size() == 4);
  for (const WantedRing& ring : rings)
    REQUIRE(ring.addresses.size() == (ring.key.family == Family::kV4 ? 2 : 1));
}

TEST_CASE("load balancer addresses are for all or for nobody at the socket") {
  struct Case {
    std::string name;
    std::vector<std::string> ranges;
    std::size_t addresses = 0;  // of both families, beside the cluster address
  };
  auto given = GENERATE(values<Case>({
      {"everybody", {}, 2},
      {"some", {"10.0.0.0/8", "fd00::/8"}, 0},
      {"some of one family", {"10.0.0.0/8"}, 1},
      {"everybody, said at length", {"10.0.0.0/8", "0.0.0.0/0", "::/0"}, 2},
  }));
  INFO(given.name);
  Frontend row;
  row.name_space = "default";
  row.name = "web";
  row.cluster_ips = {*Ip::parse("10.96.0.1")};
  row.load_balancer_ips = {*Ip::parse("203.0.113.7"), *Ip::parse("2001:db8::7")};
  row.external_traffic_local = GENERATE(false, true);  // says nothing to clients inside
  for (const std::string& range : given.ranges) row.source_ranges.push_back(*Prefix::parse(range));
  row.ports = {{"", Protocol::kTcp, 80}};
  std::size_t addresses = 0;
  for (const WantedRing& ring : plan_rings(row)) addresses += ring.addresses.size();
  REQUIRE(addresses == 1 + given.addresses);
}

TEST_CASE("endpoints keep their value on the way to the kernel and back") {
  REQUIRE(rc::check("round trip", [] {
    auto raw = *rc::gen::arbitrary<std::uint64_t>();
    auto port = *rc::gen::arbitrary<Port>();
    Ip ip = raw % 2 == 0 ? Ip::v4(static_cast<std::uint32_t>(raw >> 1))
                         : Ip::v6(uint128{raw} << 64 | raw);
    auto endpoint = to_abi(ip, port, Protocol::kUdp);
    RC_ASSERT(ip_of(endpoint) == ip);
    RC_ASSERT(port_of(endpoint) == port);
  }));
}

}  // namespace
}  // namespace tombolo::bpf
