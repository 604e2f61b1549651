// Fleets that the tests of this folder export. Only tests include this.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "ipamd/export/export.h"
#include "ipamd/plan/test_fleets.h"

namespace tombolo {

inline Plan plan_of_file(const std::string& path) {
  return plan_of_text(repository_text(path));
}

inline Plan demo_plan() {
  return plan_of_file("deploy/story/fleet.yaml");
}
inline Plan clouds_plan() {
  return plan_of_file("tests/data/plan/three-clouds.yaml");
}
// IPv4 alone, two clusters in two regions with all their ranges given: the same plan whatever the
// planner prefers.
inline Plan given_plan() {
  return plan_of_file("tests/data/plan/given.yaml");
}
// IPv6 alone, and a range that lies outside the address space.
inline Plan six_plan() {
  return plan_of_text(R"(
fleet: six
families: [ipv6]
regions: [{name: here, cloud: on-prem}, {name: there, cloud: gcp}]
address_space: [{cidr: "fd00:6::/40"}]
clusters:
  - {name: one, id: 1, region: here, nodes: 3}
  - name: two
    id: 255
    region: there
    nodes: 2
    cidrs: {pod: {ipv6: {cidr: "fd77:1::/56", node_prefix_length: 64}}}
)");
}

// Subnets per zone, pods in the underlay, ranges for load balancers and tunnels.
inline Plan zoned_plan() {
  return plan_of_text(R"(
fleet: zoned
families: [ipv4]
regions: [{name: sea, cloud: on-prem}, {name: sky, cloud: aws, zones: [a, b]}]
address_space: [{cidr: 10.64.0.0/12}]
clusters:
  - {name: east, id: 1, region: sea, nodes: 3, load_balancer_services: 20, tunnels_per_node: 1}
  - name: west
    id: 2
    region: sky
    nodes: 6
    pods_per_node: 30
    pod_addresses: underlay
    subnets: {public: 10}
)");
}

inline std::string exported(const Plan& plan, const std::string& format,
                            const std::string& cluster = "", unsigned node = 1) {
  auto text = export_plan(plan, {format, cluster, node});
  CAPTURE(format, cluster);
  INFO((text ? std::string() : text.error().what));
  REQUIRE(text.has_value());
  return *text;
}

}  // namespace tombolo
