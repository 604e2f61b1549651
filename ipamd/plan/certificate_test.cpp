// Certificates: what they claim is so, an independent checker (tests/plan/check_certificate.py)
// finds a plan right and a spoilt one wrong; conflicts are as small as brute force finds them.
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>

#include "ipamd/plan/random_fleets.h"

namespace tombolo {
namespace {

// IPv4, three regions, one root; clusters of a few nodes.
Fleet small_fleet(std::uint32_t clusters, int root_length) {
  Fleet fleet;
  fleet.name = "f";
  fleet.place = "f.yaml";
  fleet.families = {Family::kV4};
  for (int i = 0; i < 3; ++i)
    fleet.regions.push_back({fmt::format("r{}", i), Cloud::kOnPrem, "f.yaml"});
  fleet.roots.push_back({Prefix(*Ip::parse("10.0.0.0"), root_length), {}, {}, "f.yaml"});
  fleet.clusterset_services = 12;
  for (std::uint32_t i = number(0, 2); i > 0; --i)
    fleet.reserved.push_back(
        {Prefix(Ip::v4(0x0a000000 + number(0, 0xffff)), static_cast<int>(number(22, 26))), "",
         "f.yaml"});
  for (std::uint32_t id = 1; id <= clusters; ++id) {
    FleetCluster cluster;
    cluster.name = fmt::format("c{}", id);
    cluster.id = id;
    cluster.region = fleet.regions[number(0, 2)].name;
    cluster.families = fleet.families;
    cluster.nodes = number(1, 12);
    cluster.pods_per_node = number(10, 60);
    cluster.services = number(10, 250);
    cluster.growth_percent = 100;
    if (number(0, 2) == 0) cluster.load_balancer_services = number(1, 60);
    if (number(0, 2) == 0) cluster.zones = {"a", "b", "c"};
    if (number(0, 4) == 0) cluster.public_percent = 50;
    if (number(0, 4) == 0) cluster.pod_addresses = PodAddresses::kUnderlay;
    if (number(0, 2) == 0) cluster.tunnels_per_node = number(1, 2);
    cluster.place = fmt::format("f.yaml:{}", id);
    fleet.clusters.push_back(std::move(cluster));
  }
  return fleet;
}

TEST_CASE("a plan from nothing has as few routes as its certificate's bound") {
  REQUIRE(rc::check("certificate", [] {
    Fleet fleet = small_fleet(number(1, 10), 18);
    auto plan = make_plan(fleet, nullptr);
    if (!plan) return;
    RC_ASSERT(plan->certificate.size() == 1U);
    RC_ASSERT(plan->certificate[0].routes == plan->certificate[0].bound);
    RC_ASSERT(plan->certificate[0].addresses == plan->certificate[0].least_addresses);
    std::size_t routes = 0;
    for (const RegionSummary& region : region_summaries(*plan)) routes += region.prefixes.size();
    RC_ASSERT(routes == plan->certificate[0].routes);
  }));
}

int checker_says(const std::string& text) {
  auto path = std::filesystem::temp_directory_path() / fmt::format("certificate-{}", ::getpid());
  std::ofstream(path) << text;
  std::string command = fmt::format("python3 {}/../plan/check_certificate.py {} >/dev/null",
                                    TOMBOLO_TEST_DATA, path.string());
  int status = std::system(command.c_str());
  std::filesystem::remove(path);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("the independent checker accepts plans and refuses spoilt ones") {
  auto document = read_yaml_file(std::string(TOMBOLO_TEST_DATA) + "/plan/three-clouds.yaml");
  REQUIRE(document.has_value());
  auto fleet = parse_fleet(*document);
  REQUIRE(fleet.has_value());
  auto plan = make_plan(*fleet, nullptr);
  REQUIRE(plan.has_value());
  REQUIRE(checker_says(to_json(plan_to_json(*plan))) == 0);

  Plan overlapping = *plan;
  overlapping.clusters[0].ranges[0].prefix = overlapping.clusters[1].ranges[0].prefix;
  REQUIRE(checker_says(to_json(plan_to_json(overlapping))) == 1);
  Plan boasting = *plan;
  --boasting.certificate[0].routes;
  REQUIRE(checker_says(to_json(plan_to_json(boasting))) == 1);
  json::value incomplete = plan_to_json(*plan);
  incomplete.as_object()["certificate"].as_object()["ranges"].as_array().pop_back();
  REQUIRE(checker_says(to_json(incomplete)) == 1);
  json::value unrouted = plan_to_json(*plan);
  unrouted.as_object()["certificate"].as_object()["summaries"].as_array().pop_back();
  REQUIRE(checker_says(to_json(unrouted)) == 1);
}

bool has_room(const Fleet& fleet) {
  FamilyDemand demand = demand_of(fleet, Family::kV4);
  Sizes all = demand.shared;
  for (const RegionDemand& region : demand.regions) {
    all.add(region.routed);
    all.add(region.unrouted);
  }
  return fits(all, supply_of(fleet, Family::kV4));
}

TEST_CASE("a conflict is the smallest there is, and needs each of its entries") {
  int conflicts = 0;
  REQUIRE(rc::check("conflict", [&conflicts] {
    Fleet fleet = small_fleet(number(1, 7), static_cast<int>(number(20, 23)));
    Conflict conflict = smallest_conflict(fleet, Family::kV4);
    RC_ASSERT(conflict.clusters.empty() == has_room(fleet));
    if (conflict.clusters.empty()) return;
    ++conflicts;
    // The clusterset is given outside the address space, so that only clusters count.
    Fleet given = fleet;
    given.clusterset_given.push_back({BlockUse::kClusterset, prefix("172.20.0.0/28"), 0, ""});
    if (has_room(given)) return;
    conflict = smallest_conflict(given, Family::kV4);
    auto only = [&](unsigned mask) {
      Fleet some = given;
      some.clusters.clear();
      for (std::size_t i = 0; i < given.clusters.size(); ++i)
        if ((mask >> i & 1) != 0) some.clusters.push_back(given.clusters[i]);
      return some;
    };
    std::size_t smallest = given.clusters.size();
    for (unsigned mask = 0; mask < 1U << given.clusters.size(); ++mask)
      if (!has_room(only(mask)))
        smallest = std::min(smallest, static_cast<std::size_t>(std::popcount(mask)));
    RC_ASSERT(conflict.clusters.size() == smallest);
    unsigned chosen = 0;
    for (std::size_t index : conflict.clusters) chosen |= 1U << index;
    Fleet together = only(chosen);
    together.reserved = conflict.reserved;
    RC_ASSERT(!has_room(together));
    for (std::size_t i = 0; i < together.reserved.size(); ++i) {
      Fleet fewer = together;
      fewer.reserved.erase(fewer.reserved.begin() + static_cast<long>(i));
      RC_ASSERT(has_room(fewer));
    }
  }));
  REQUIRE(conflicts > 0);
}

TEST_CASE("a cluster that joins a plan at hand gets what a new plan would give, and moves nobody") {
  REQUIRE(rc::check("join", [] {
    Fleet fleet = small_fleet(number(2, 9), 18);
    FleetCluster last = fleet.clusters.back();
    fleet.clusters.pop_back();
    auto planner = FleetPlanner::start(fleet, nullptr);
    RC_PRE(planner.has_value());
    Plan before = (*planner)->plan();
    auto joined = (*planner)->join(last);
    fleet.clusters.push_back(last);
    auto planned = make_plan(fleet, &before);
    RC_ASSERT(joined.has_value() == planned.has_value());
    if (!joined) {
      RC_ASSERT((*planner)->plan() == before);
      return;
    }
    RC_ASSERT(check_plan((*planner)->plan(), fleet).has_value());
    for (const PlannedRange& range : (*joined)->ranges) {
      const PlannedRange* same =
          find_range(*find_cluster(*planned, last.name), range.use, Family::kV4);
      RC_ASSERT(same != nullptr && same->prefix == range.prefix);
    }
    last.name = "again";
    RC_ASSERT(!(*planner)->join(last).has_value());
  }));
}

}  // namespace
}  // namespace tombolo
