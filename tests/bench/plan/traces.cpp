// Traces: regions over three clouds and data centres, clusters of mixed sizes, reserved holes.
#include "tests/bench/plan/traces.h"

#include <algorithm>
#include <array>

#include "ipamd/plan/internal.h"

namespace tombolo::bench {
namespace {

constexpr std::array kClouds{Cloud::kAws, Cloud::kAzure, Cloud::kGcp, Cloud::kOnPrem};

Prefix prefix(std::string_view text) {
  auto parsed = Prefix::parse(text);
  ENSURE(parsed.has_value(), "{}", text);
  return *parsed;
}

Fleet empty_fleet(unsigned regions, std::string_view root) {
  Fleet fleet;
  fleet.name = "bench";
  fleet.families = {Family::kV4};
  for (unsigned i = 0; i < regions; ++i)
    fleet.regions.push_back({fmt::format("r{}", i), kClouds.at(i % kClouds.size()), ""});
  fleet.roots.push_back({prefix(root), {}, {}, ""});
  fleet.clusterset_services = 1000;
  return fleet;
}

// What data centres keep of the private address space: a large piece and two smaller ones.
void add_holes(Fleet& fleet, Rng& rng) {
  const Prefix root = fleet.roots[0].prefix;
  auto add = [&](int length) {
    Ip base = root.at(rng.below(static_cast<std::uint64_t>(root.size())));
    fleet.reserved.push_back({Prefix(base, length), "on-prem", ""});
  };
  add(root.length() + 3);
  for (int i = 0; i < 2; ++i) add(root.length() + 5 + static_cast<int>(rng.below(2)));
}

FleetCluster random_cluster(const Fleet& fleet, Rng& rng, std::uint32_t id) {
  FleetCluster cluster;
  cluster.name = fmt::format("c{}", id);
  cluster.id = id;
  cluster.region = fleet.regions[rng.below(fleet.regions.size())].name;
  cluster.families = fleet.families;
  cluster.nodes = 2 + static_cast<std::uint32_t>(rng.below(std::uint64_t{2} << rng.below(8)));
  cluster.pods_per_node = rng.below(2) == 0 ? 110 : 30;
  cluster.services = 50 + static_cast<std::uint32_t>(rng.below(std::uint64_t{200} << rng.below(4)));
  return cluster;
}

uint128 demand_of(const Fleet& fleet, const FleetCluster& cluster) {
  uint128 sum = 0;
  for (BlockUse use : {BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService}) {
    auto size = size_of(fleet, cluster, use, Family::kV4, 0);
    ENSURE(size.has_value(), "{}", cluster.name);
    sum += uint128{1} << (32 - size->length);
  }
  return sum;
}

uint128 free_space(const Fleet& fleet) {
  FreeSpace space(Family::kV4, fleet.roots[0].prefix.length());
  space.add(fleet.roots[0].prefix);
  for (const FleetReserved& range : fleet.reserved) space.remove(range.prefix);
  return space.addresses();
}

// Joins until the demand reaches the load; returns what is left of it.
uint128 fill(Trace& trace, Rng& rng, std::uint32_t& id, uint128 budget) {
  for (int misses = 0; misses < 20;) {
    FleetCluster cluster = random_cluster(trace.fleet, rng, id);
    uint128 demand = demand_of(trace.fleet, cluster);
    if (demand > budget) {
      ++misses;
      continue;
    }
    budget -= demand;
    ++id;
    trace.steps.push_back({Change::kJoin, std::move(cluster)});
  }
  return budget;
}

std::string name_of(unsigned regions, unsigned load_percent, bool holes, std::uint64_t seed) {
  return fmt::format("{} regions, {} %{}, seed {}", regions, load_percent, holes ? ", holes" : "",
                     seed);
}

}  // namespace

Trace offline_trace(std::uint64_t seed, unsigned regions, unsigned load_percent, bool holes) {
  auto rng = make_seeded_rng(seed);
  Trace trace{name_of(regions, load_percent, holes, seed), empty_fleet(regions, "10.0.0.0/12"), {}};
  if (holes) add_holes(trace.fleet, *rng);
  std::uint32_t id = 1;
  int clusterset = clusterset_size(trace.fleet.clusterset_services, Family::kV4).length;
  uint128 budget = free_space(trace.fleet) * load_percent / 100 - (uint128{1} << (32 - clusterset));
  fill(trace, *rng, id, budget);
  return trace;
}

Trace online_trace(std::uint64_t seed, unsigned regions, unsigned load_percent, bool holes,
                   unsigned steps) {
  Trace trace = offline_trace(seed, regions, load_percent, holes);
  auto rng = make_seeded_rng(seed + 1000);
  std::vector<FleetCluster> live;
  for (const Step& step : trace.steps) live.push_back(step.cluster);
  auto id = static_cast<std::uint32_t>(live.size() + 1);
  uint128 limit = free_space(trace.fleet) * load_percent / 100;
  auto demand = [&] {
    uint128 sum = 0;
    for (const FleetCluster& cluster : live) sum += demand_of(trace.fleet, cluster);
    return sum;
  };
  for (unsigned i = 0; i < steps; ++i) {
    auto kind = static_cast<Change>(rng->below(4));
    if (live.size() < 4 || kind == Change::kJoin) {
      FleetCluster cluster = random_cluster(trace.fleet, *rng, id);
      if (demand() + demand_of(trace.fleet, cluster) > limit) continue;
      ++id;
      live.push_back(cluster);
      trace.steps.push_back({Change::kJoin, std::move(cluster)});
      continue;
    }
    std::size_t at = rng->below(live.size());
    FleetCluster changed = live[at];
    if (kind == Change::kLeave) {
      live.erase(live.begin() + static_cast<long>(at));
    } else if (kind == Change::kGrow) {
      changed.nodes = std::min(changed.nodes * 2, 1000U);
      changed.services = std::min(changed.services * 2, 100'000U);
      FleetCluster before = std::exchange(live[at], changed);
      if (demand() > limit) {
        live[at] = before;
        continue;
      }
    } else {
      changed.nodes = std::max(1U, changed.nodes / 2);
      live[at] = changed;
    }
    trace.steps.push_back({kind, std::move(changed)});
  }
  return trace;
}

Fleet large_fleet(std::uint64_t seed, unsigned clusters) {
  auto rng = make_seeded_rng(seed);
  Fleet fleet = empty_fleet(12, "10.0.0.0/8");
  fleet.families = {Family::kV4, Family::kV6};
  fleet.roots.push_back({prefix("fd00:7a00::/24"), {}, {}, ""});
  fleet.reserved.push_back({prefix("10.0.0.0/12"), "offices", ""});
  for (unsigned id = 1; id <= clusters; ++id) {
    FleetCluster cluster = random_cluster(fleet, *rng, id);
    cluster.nodes = 2 + static_cast<std::uint32_t>(rng->below(7));
    cluster.pods_per_node = 30;
    cluster.services = 50 + static_cast<std::uint32_t>(rng->below(150));
    fleet.clusters.push_back(std::move(cluster));
  }
  return fleet;
}

}  // namespace tombolo::bench
