// Properties of plans over random fleets: every plan is right, a second one changes nothing, a new
// cluster moves nobody, and in one root of one family a fresh plan fails only when no plan exists.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "ipamd/plan/random_fleets.h"

namespace tombolo {
namespace {

bool same_ranges(const Plan& a, const Plan& b, std::string_view cluster) {
  const PlannedCluster* left = find_cluster(a, cluster);
  const PlannedCluster* right = find_cluster(b, cluster);
  if (left == nullptr || right == nullptr || left->ranges.size() != right->ranges.size())
    return false;
  for (std::size_t i = 0; i < left->ranges.size(); ++i)
    if (left->ranges[i].prefix != right->ranges[i].prefix ||
        left->ranges[i].node_prefix_length != right->ranges[i].node_prefix_length)
      return false;
  return true;
}

TEST_CASE("every plan passes the checker, and planning again changes nothing") {
  REQUIRE(rc::check("plan", [] {
    Fleet fleet = random_fleet();
    auto plan = make_plan(fleet, nullptr);
    RC_CLASSIFY(plan.has_value());
    if (!plan) {
      RC_LOG() << plan.error().what << '\n';
      // Never the checker's complaint (kInternal).
      RC_ASSERT(plan.error().code == Code::kResourceExhausted);
      return;
    }
    RC_ASSERT(check_plan(*plan, fleet).has_value());
    auto again = make_plan(fleet, &*plan);
    RC_ASSERT(again.has_value());
    RC_ASSERT(diff_plans(*plan, *again).empty());
    auto third = make_plan(fleet, &*again);
    RC_ASSERT(third.has_value());
    RC_ASSERT(*third == *again);
  }));
}

TEST_CASE("the order of the fleet file does not matter") {
  REQUIRE(rc::check("order", [] {
    Fleet fleet = random_fleet();
    auto plan = make_plan(fleet, nullptr);
    std::ranges::reverse(fleet.clusters);
    auto reversed = make_plan(fleet, nullptr);
    RC_ASSERT(plan.has_value() == reversed.has_value());
    if (plan) RC_ASSERT(*plan == *reversed);
  }));
}

TEST_CASE("a cluster that joins moves nobody; one that leaves neither") {
  REQUIRE(rc::check("join and leave", [] {
    Fleet fleet = random_fleet();
    auto plan = make_plan(fleet, nullptr);
    RC_PRE(plan.has_value());
    Fleet larger = fleet;
    larger.clusters.push_back(random_cluster(fleet, 200));
    auto joined = make_plan(larger, &*plan);
    if (joined) {
      for (const FleetCluster& cluster : fleet.clusters)
        RC_ASSERT(same_ranges(*plan, *joined, cluster.name));
      RC_ASSERT(check_plan(*joined, larger).has_value());
    }
    fleet.clusters.erase(fleet.clusters.begin());
    auto left = make_plan(fleet, &*plan);
    RC_ASSERT(left.has_value());
    for (const FleetCluster& cluster : fleet.clusters)
      RC_ASSERT(same_ranges(*plan, *left, cluster.name));
  }));
}

TEST_CASE("a change of any kind gives a right plan or a refusal") {
  REQUIRE(rc::check("churn", [] {
    Fleet fleet = random_fleet();
    std::optional<Plan> plan;
    for (int step = 0; step < 6; ++step) {
      auto next = make_plan(fleet, plan ? &*plan : nullptr);
      if (next) {
        RC_ASSERT(check_plan(*next, fleet).has_value());
        // Who was big enough stays, whatever happened to others.
        plan = std::move(*next);
      } else {
        RC_LOG() << next.error().what << '\n';
        RC_ASSERT(next.error().code == Code::kResourceExhausted);
      }
      auto& cluster =
          fleet.clusters[number(0, static_cast<std::uint32_t>(fleet.clusters.size()) - 1)];
      const bool own_range = cluster.pod_addresses == PodAddresses::kPodRange;
      cluster.nodes = number(1, own_range ? 600 : 20);
      cluster.pods_per_node = number(1, own_range ? 250 : 60);
      cluster.services = number(1, 5000);
    }
  }));
}

// Requests of powers of two into free aligned blocks fit exactly when, for every size, the requests
// of at least that size need no more than the blocks of at least that size have.
bool fits_somehow(const std::vector<int>& requests, const std::vector<Prefix>& blocks) {
  for (int length = 1; length <= 32; ++length) {
    std::uint64_t wanted = 0;
    std::uint64_t there = 0;
    for (int request : requests)
      if (request <= length) wanted += std::uint64_t{1} << (32 - request);
    for (const Prefix& block : blocks)
      if (block.length() <= length) there += static_cast<std::uint64_t>(block.size());
    if (wanted > there) return false;
  }
  return true;
}

// The free part of a root as maximal aligned blocks, by halving.
void free_blocks(const Prefix& root, const std::vector<FleetReserved>& reserved,
                 std::vector<Prefix>& blocks) {
  bool touched = false;
  for (const FleetReserved& each : reserved) {
    if (each.prefix.contains(root)) return;
    touched = touched || each.prefix.overlaps(root);
  }
  if (!touched) {
    blocks.push_back(root);
    return;
  }
  Prefix low(root.base(), root.length() + 1);
  free_blocks(low, reserved, blocks);
  free_blocks(Prefix(low.last().plus(1).value(), low.length()), reserved, blocks);
}

TEST_CASE("in one root of one family a fresh plan is found whenever there is one") {
  int refused = 0;
  REQUIRE(rc::check("offline bound", [&refused] {
    Fleet fleet;
    fleet.name = "f";
    fleet.place = "f.yaml";
    fleet.families = {Family::kV4};
    for (int i = 0; i < 3; ++i)
      fleet.regions.push_back({fmt::format("r{}", i), Cloud::kOnPrem, "f.yaml"});
    fleet.roots.push_back({prefix("10.0.0.0/16"), {}, {}, "f.yaml"});
    fleet.clusterset_services = number(1, 1000);
    for (std::uint32_t i = number(0, 5); i > 0; --i)
      fleet.reserved.push_back(
          {Prefix(Ip::v4(0x0a000000 + number(0, 0xffff)), static_cast<int>(number(18, 26))), "",
           "f.yaml"});
    std::vector<int> requests{clusterset_size(fleet.clusterset_services, Family::kV4).length};
    std::uint64_t wanted = std::uint64_t{1} << (32 - requests[0]);
    std::vector<Prefix> blocks;
    free_blocks(fleet.roots[0].prefix, fleet.reserved, blocks);
    // Clusters until the demand is about what there is, so that both outcomes are common.
    for (std::uint32_t id = 1; id < 200 && wanted < 60'000; ++id) {
      FleetCluster cluster = random_cluster(fleet, id);
      cluster.nodes = number(1, 40);
      for (BlockUse use : kClusterUses) {
        if (!wants(cluster, use, Family::kV4)) continue;
        requests.push_back(size_of(fleet, cluster, use, Family::kV4, 0)->length);
        wanted += std::uint64_t{1} << (32 - requests.back());
      }
      fleet.clusters.push_back(std::move(cluster));
    }
    auto plan = make_plan(fleet, nullptr);
    RC_LOG() << (plan ? std::string() : plan.error().what) << '\n';
    RC_ASSERT(plan.has_value() == fits_somehow(requests, blocks));
    if (!plan) ++refused;
    RC_CLASSIFY(plan.has_value());
  }));
  REQUIRE(refused > 0);
}

TEST_CASE("a plan survives the store") {
  REQUIRE(rc::check("round trip", [] {
    Fleet fleet = random_fleet();
    auto plan = make_plan(fleet, nullptr);
    RC_PRE(plan.has_value());
    json::value written = plan_to_json(*plan);
    auto parsed = parse_json(to_json(written));
    RC_ASSERT(parsed.has_value());
    DocumentPlace place{"tombolo/v1/plan", {}};
    for (const json::value& value : {written, *parsed}) {
      auto back = plan_from_json(Cursor(value, place));
      RC_ASSERT(back.has_value());
      RC_ASSERT(*back == *plan);
    }
  }));
}

// FreeSpace against a bitmap of 256 addresses.
TEST_CASE("free space agrees with a bitmap") {
  REQUIRE(rc::check("free space", [] {
    const Prefix root = prefix("10.0.0.0/24");
    FreeSpace space(Family::kV4, 24);
    space.add(root);
    std::array<bool, 256> is_free{};
    is_free.fill(true);
    auto span_of = [&](const Prefix& block) {
      auto first = static_cast<std::size_t>(block.base().value() - root.base().value());
      return std::pair(first, first + static_cast<std::size_t>(block.size()));
    };
    auto all_free = [&](const Prefix& block) {
      auto [first, end] = span_of(block);
      return std::all_of(is_free.begin() + static_cast<long>(first),
                         is_free.begin() + static_cast<long>(end), [](bool f) { return f; });
    };
    for (int step = 0; step < 40; ++step) {
      Prefix block(Ip::v4(0x0a000000 + number(0, 255)), static_cast<int>(number(24, 32)));
      auto [first, end] = span_of(block);
      RC_ASSERT(space.contains(block) == all_free(block));
      bool none_free =
          std::none_of(is_free.begin() + static_cast<long>(first),
                       is_free.begin() + static_cast<long>(end), [](bool f) { return f; });
      bool give = none_free && number(0, 1) == 1;
      if (give)
        space.add(block);
      else
        space.remove(block);
      for (std::size_t i = first; i < end; ++i) is_free.at(i) = give;
      RC_ASSERT(space.addresses() == static_cast<uint128>(std::ranges::count(is_free, true)));
      int length = static_cast<int>(number(24, 32));
      bool any = false;
      for (std::uint32_t at = 0; at < 256; at += 1U << (32 - length))
        any = any || all_free(Prefix(Ip::v4(0x0a000000 + at), length));
      auto fit = space.best_fit(length);
      RC_ASSERT(fit.has_value() == any);
      if (fit) RC_ASSERT(all_free(*fit));
    }
  }));
}

}  // namespace
}  // namespace tombolo
