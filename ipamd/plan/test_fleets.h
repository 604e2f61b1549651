// Fleets and plans from texts, for the tests of this folder and of those that use plans. Only tests
// include this.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "ipamd/plan/plan.h"

namespace tombolo {

inline Fleet fleet_of_text(const std::string& text, const std::string& name = "f.yaml") {
  auto documents = parse_yaml(text, name);
  INFO((documents ? std::string() : documents.error().what));
  REQUIRE(documents.has_value());
  auto fleet = parse_fleet(documents->front());
  INFO((fleet ? std::string() : fleet.error().what));
  REQUIRE(fleet.has_value());
  return *fleet;
}

// Of the repository: "deploy/story/fleet.yaml".
inline std::string repository_text(const std::string& path) {
  auto text = read_file(std::string(TOMBOLO_TEST_DATA) + "/../../" + path);
  REQUIRE(text.has_value());
  return *text;
}

inline Plan plan_of(const Fleet& fleet, const Plan* previous = nullptr) {
  auto plan = make_plan(fleet, previous);
  INFO((plan ? std::string() : plan.error().what));
  REQUIRE(plan.has_value());
  return *plan;
}

inline Plan plan_of_text(const std::string& text) {
  return plan_of(fleet_of_text(text, "fleet.yaml"));
}

// IPv4 only, one region, a clusterset that is out of the way.
inline std::string small_fleet(const std::string& root, const std::string& clusters,
                               const std::string& cloud = "on-prem") {
  return "fleet: f\nfamilies: [ipv4]\nregions:\n  - {name: r, cloud: " + cloud +
         "}\naddress_space:\n  - cidr: " + root +
         "\nclusterset: {services: 12, ipv4: 172.20.0.0/28}\nclusters:\n" + clusters;
}

// "10.0.8.0/24 25 assigned": prefix, length of a node's part, origin.
inline std::string range_text(const Plan& plan, std::string_view name, BlockUse use,
                              Family family = Family::kV4) {
  const PlannedCluster* cluster = find_cluster(plan, name);
  REQUIRE(cluster != nullptr);
  const PlannedRange* range = find_range(*cluster, use, family);
  if (range == nullptr) return "none";
  return fmt::format("{} {} {}", range->prefix, range->node_prefix_length,
                     to_string(range->origin));
}

}  // namespace tombolo
