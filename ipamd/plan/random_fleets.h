// Random fleets for the properties of plans. Only tests include this.
#pragma once

#include <rapidcheck.h>

#include "ipamd/plan/internal.h"

namespace tombolo {

inline Prefix prefix(std::string_view text) {
  auto parsed = Prefix::parse(text);
  ENSURE(parsed.has_value(), "{}", text);
  return *parsed;
}

// Whatever RapidCheck's size is: a property of few clusters would hardly test anything.
inline std::uint32_t number(std::uint32_t low, std::uint32_t high) {
  return *rc::gen::resize(100, rc::gen::inRange(low, high + 1));
}

inline FleetCluster random_cluster(const Fleet& fleet, std::uint32_t id) {
  FleetCluster cluster;
  cluster.name = fmt::format("c{}", id);
  cluster.id = id;
  cluster.region =
      fleet.regions[number(0, static_cast<std::uint32_t>(fleet.regions.size()) - 1)].name;
  cluster.families = fleet.families;
  cluster.nodes = number(1, 1U << number(0, 9));
  cluster.pods_per_node = number(1, 1U << number(1, 8));
  cluster.services = number(1, 1U << number(2, 12));
  cluster.growth_percent = *rc::gen::element(100U, 100U, 150U, 200U, 400U);
  if (number(0, 2) == 0) cluster.load_balancer_services = number(1, 300);
  if (number(0, 2) == 0) cluster.tunnels_per_node = number(1, 3);
  const std::vector<std::string> zones{"a", "b", "c"};
  if (number(0, 3) == 0) cluster.zones.assign(zones.begin(), zones.begin() + number(1, 3));
  if (number(0, 4) == 0) cluster.public_hosts = number(1, 60);
  if (number(0, 8) == 0) cluster.public_percent = number(1, 100);
  // As many pods as a network of AWS can hold.
  if (number(0, 4) == 0 && cluster.nodes * (cluster.pods_per_node + 17) < 2000)
    cluster.pod_addresses =
        find_region(fleet, cluster.region)->cloud == Cloud::kAws
            ? *rc::gen::element(PodAddresses::kUnderlay, PodAddresses::kUnderlayPrefixes)
            : PodAddresses::kUnderlay;
  cluster.place = fmt::format("f.yaml:{}", id);
  return cluster;
}

inline Fleet random_fleet() {
  Fleet fleet;
  fleet.name = "f";
  fleet.place = "f.yaml";
  fleet.families = *rc::gen::element(std::vector{Family::kV4}, std::vector{Family::kV6},
                                     std::vector{Family::kV4, Family::kV6});
  for (std::uint32_t i = number(1, 4); i > 0; --i)
    fleet.regions.push_back(
        {fmt::format("r{}", i),
         *rc::gen::element(Cloud::kAws, Cloud::kAzure, Cloud::kGcp, Cloud::kOnPrem), "f.yaml"});
  if (has_family(fleet.families, Family::kV4)) {
    fleet.roots.push_back(
        {Prefix(*Ip::parse("10.0.0.0"), static_cast<int>(number(8, 20))), {}, {}, "f.yaml"});
    if (number(0, 1) == 1) fleet.roots.push_back({prefix("172.16.0.0/12"), {}, {}, "f.yaml"});
    if (number(0, 3) == 0)
      fleet.roots.push_back(
          {prefix("192.168.0.0/16"), {BlockUse::kUnderlay, BlockUse::kService}, {}, "f.yaml"});
    if (number(0, 3) == 0)
      fleet.roots.push_back({prefix("11.0.0.0/12"), {}, {fleet.regions[0].name}, "f.yaml"});
    for (std::uint32_t i = number(0, 4); i > 0; --i)
      fleet.reserved.push_back(
          {Prefix(Ip::v4(0x0a000000 + number(0, 0xffffff)), static_cast<int>(number(12, 28))),
           "office", "f.yaml"});
  }
  if (has_family(fleet.families, Family::kV6)) {
    fleet.roots.push_back({prefix("fd00:1::/40"), {}, {}, "f.yaml"});
    fleet.reserved.push_back({prefix("fd00:1:0:ff00::/56"), "", "f.yaml"});
  }
  for (std::uint32_t id = number(1, 12); id > 0; --id)
    fleet.clusters.push_back(random_cluster(fleet, id));
  return fleet;
}

}  // namespace tombolo
