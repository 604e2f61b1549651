// Merges, freed prefixes, dropped routes and forecasts by example; the fewest renumbered clusters
// of a merge against brute force.
#include <rapidcheck.h>

#include <bit>
#include <catch2/catch_test_macros.hpp>

#include "ipamd/plan/internal.h"
#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

Fleet fleet_of(const std::string& name, const std::string& root, int clusters, int nodes) {
  std::string text = "fleet: " + name +
                     "\nfamilies: [ipv4]\nregions:\n  - {name: r, cloud: on-prem}\naddress_space:\n"
                     "  - cidr: " +
                     root +
                     "\nclusterset: {services: 12, ipv4: 172.20.0.0/28}\n"
                     "clusters:\n";
  for (int i = 1; i <= clusters; ++i)
    text += fmt::format("  - {{name: {}{}, id: {}, region: r, nodes: {}, services: 250}}\n", name,
                        i, i, nodes);
  return fleet_of_text(text, name + ".yaml");
}

Prefix pod_of(const Plan& plan, std::string_view name) {
  return find_range(*find_cluster(plan, name), BlockUse::kPod, Family::kV4)->prefix;
}

TEST_CASE("a merge renumbers the fewest clusters and leaves the others alone") {
  Fleet a = fleet_of("a", "10.0.0.0/16", 3, 2);
  Fleet b = fleet_of("b", "10.0.0.0/16", 2, 2);
  Plan plan_a = plan_of(a);
  Plan plan_b = plan_of(b);
  auto merged = merge_fleets(a, plan_a, b, plan_b);
  REQUIRE(merged.has_value());
  REQUIRE(merged->clusters.size() <= 2);
  REQUIRE_FALSE(merged->clusters.empty());
  REQUIRE(check_plan(merged->plan, merged->fleet).has_value());
  REQUIRE(find_cluster(merged->plan, "b1")->id == 4);
  for (const std::string name : {"a1", "a2", "a3"})
    if (std::ranges::count(merged->clusters, name) == 0)
      REQUIRE(pod_of(merged->plan, name) == pod_of(plan_a, name));
  auto refused = merge_fleets(a, plan_a, a, plan_a);
  REQUIRE(refused.error().what == "a.yaml:9: both fleets have a cluster 'a1'");
}

TEST_CASE("the clusters that a merge renumbers are as few as brute force finds") {
  REQUIRE(rc::check("merge", [] {
    auto number = [](int low, int high) {
      return *rc::gen::resize(100, rc::gen::inRange(low, high + 1));
    };
    Fleet a = fleet_of("a", "10.0.0.0/16", 0 + 1, 2);
    Fleet b = fleet_of("b", "10.0.0.0/16", 1, 2);
    // Clusters with a given pod range each, anywhere; overlaps within a fleet do not occur.
    auto fill = [&](Fleet& fleet, int count) {
      FleetCluster model = fleet.clusters[0];
      fleet.clusters.clear();
      std::uint32_t at = 0x0a000000;
      for (int i = 0; i < count; ++i) {
        model.name = fmt::format("{}{}", fleet.name, i);
        model.id = static_cast<std::uint32_t>(i + 1);
        at += static_cast<std::uint32_t>(number(0, 3)) << 8U;
        int length = number(22, 24);
        std::uint32_t size = 1U << (32 - length);
        at = (at + size - 1) / size * size;
        model.given = {{BlockUse::kPod, Prefix(Ip::v4(at), length), 25, ""}};
        at += size;
        fleet.clusters.push_back(model);
      }
    };
    fill(a, number(1, 4));
    fill(b, number(1, 4));
    auto plan_a = make_plan(a, nullptr);
    auto plan_b = make_plan(b, nullptr);
    RC_PRE(plan_a.has_value() && plan_b.has_value());
    auto merged = merge_fleets(a, *plan_a, b, *plan_b);
    RC_ASSERT(merged.has_value());
    RC_ASSERT(check_plan(merged->plan, merged->fleet).has_value());
    std::vector<const PlannedCluster*> all;
    for (const PlannedCluster& cluster : plan_a->clusters) all.push_back(&cluster);
    for (const PlannedCluster& cluster : plan_b->clusters) all.push_back(&cluster);
    int fewest = 100;
    for (unsigned mask = 0; mask < 1U << all.size(); ++mask) {
      bool conflict = false;
      for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
          if ((mask >> i & 1U) == 0 && (mask >> j & 1U) == 0)
            for (const PlannedRange& x : all[i]->ranges)
              for (const PlannedRange& y : all[j]->ranges)
                conflict = conflict || x.prefix.overlaps(y.prefix);
      if (!conflict) fewest = std::min(fewest, std::popcount(mask));
    }
    RC_ASSERT(static_cast<int>(merged->clusters.size()) == fewest);
  }));
}

TEST_CASE("a prefix is freed by moving the clusters in it, the cheapest one is found") {
  Fleet fleet = fleet_of("a", "10.0.0.0/20", 4, 2);
  Plan plan = plan_of(fleet);
  Prefix of_a1 = pod_of(plan, "a1");
  auto freed = free_prefix(fleet, plan, of_a1);
  REQUIRE(freed.has_value());
  REQUIRE(freed->clusters == std::vector<std::string>{"a1"});
  for (const PlanBlock& block : blocks_of(freed->plan)) REQUIRE_FALSE(block.prefix.overlaps(of_a1));
  REQUIRE(pod_of(freed->plan, "a2") == pod_of(plan, "a2"));
  auto any = free_any(fleet, plan, Family::kV4, 24);
  REQUIRE(any.has_value());
  REQUIRE(any->clusters.empty());
  REQUIRE(free_any(fleet, plan, Family::kV4, 20).error().code == Code::kResourceExhausted);
}

TEST_CASE("a route is dropped by moving the clusters of the smallest one") {
  Fleet fleet = fleet_of("a", "10.0.0.0/20", 3, 2);
  fleet.regions.push_back({"other", Cloud::kOnPrem, ""});
  auto give = [&](std::size_t cluster, std::string_view pod, std::string_view underlay) {
    fleet.clusters[cluster].given = {{BlockUse::kPod, *Prefix::parse(pod), 25, ""},
                                     {BlockUse::kUnderlay, *Prefix::parse(underlay), 0, ""}};
  };
  give(0, "10.0.0.0/24", "10.0.1.0/29");
  give(1, "10.0.8.0/24", "10.0.9.0/29");
  give(2, "10.0.4.0/24", "10.0.5.0/29");
  fleet.clusters[1].region = "other";
  fleet.clusters[2].region = "other";
  fleet.clusters.push_back(fleet.clusters[0]);
  fleet.clusters.back().name = "a4";
  fleet.clusters.back().id = 4;
  give(3, "10.0.12.0/24", "10.0.13.0/29");
  Plan plan = plan_of(fleet);
  auto routes = [](const Plan& of) {
    for (const RegionSummary& region : region_summaries(of))
      if (region.region == "r") return region.prefixes.size();
    return std::size_t{0};
  };
  REQUIRE(routes(plan) == 2);
  auto dropped = drop_route(fleet, plan, "r", Family::kV4);
  REQUIRE(dropped.has_value());
  REQUIRE(dropped->clusters.size() == 1);
  REQUIRE(routes(dropped->plan) == 1);
  REQUIRE(drop_route(fleet, plan, "s", Family::kV4).error().code == Code::kNotFound);
  REQUIRE(drop_route(dropped->fleet, dropped->plan, "r", Family::kV4).error().code ==
          Code::kResourceExhausted);
}

TEST_CASE("a forecast says how long each range lasts") {
  Fleet fleet = fleet_of("a", "10.0.0.0/16", 1, 3);
  Plan plan = plan_of(fleet);
  auto forecasts = forecast(plan, fleet, 2);
  REQUIRE(forecasts.size() == 3);
  // 250 services in a /24 are the first to be short of room; 3 nodes have 4 blocks, and 5
  // addresses.
  REQUIRE(forecasts[0].use == BlockUse::kService);
  REQUIRE(forecasts[0].room == 252);
  REQUIRE(forecasts[1].use == BlockUse::kPod);
  REQUIRE(std::abs(*forecasts[1].years - 0.415) < 0.001);
  REQUIRE(forecasts[2].room == 5);
  REQUIRE_FALSE(forecast(plan, fleet, 1)[0].years.has_value());
}

TEST_CASE("a forecast takes each cluster's own growth when none is given for all") {
  Fleet fleet = fleet_of("a", "10.0.0.0/16", 1, 3);
  Plan plan = plan_of(fleet);
  for (const Forecast& each : forecast(plan, fleet, {})) {
    REQUIRE(each.yearly_growth == 1);
    REQUIRE_FALSE(each.years.has_value());
  }
  fleet.clusters[0].yearly_growth_percent = 100;
  auto own = forecast(plan, fleet, {});
  REQUIRE(own[1].use == BlockUse::kPod);
  REQUIRE(std::abs(*own[1].years - 0.415) < 0.001);
  REQUIRE(std::abs(*forecast(plan, fleet, 4)[1].years - 0.2075) < 0.001);
}

}  // namespace
}  // namespace tombolo
