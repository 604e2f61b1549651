// Scores. The table of ORTC is found on the tree of prefixes that are not uniform, bottom up.
#include "tests/bench/plan/score.h"

#include <algorithm>
#include <map>

#include "ipamd/plan/internal.h"

namespace tombolo::bench {
namespace {

using Labels = std::uint64_t;  // bit 0: nowhere; bit n: region n

struct Labelled {
  Prefix prefix;
  Labels labels;  // any of these is right for the addresses
};

struct Node {
  Labels labels = 0;
  std::unique_ptr<Node> low;
  std::unique_ptr<Node> high;
};

Node tree_of(const Prefix& at, const std::vector<Labelled>& inside) {
  Node node;
  if (inside.empty()) {
    node.labels = ~Labels{0};
    return node;
  }
  if (inside.size() == 1 && inside[0].prefix.contains(at)) {
    node.labels = inside[0].labels;
    return node;
  }
  Prefix low(at.base(), at.length() + 1);
  Prefix high(Ip(at.family(), low.last().value() + 1), at.length() + 1);
  std::vector<Labelled> in_low;
  std::vector<Labelled> in_high;
  for (const Labelled& each : inside) {
    if (each.prefix.overlaps(low)) in_low.push_back(each);
    if (each.prefix.overlaps(high)) in_high.push_back(each);
  }
  node.low = std::make_unique<Node>(tree_of(low, in_low));
  node.high = std::make_unique<Node>(tree_of(high, in_high));
  Labels both = node.low->labels & node.high->labels;
  node.labels = both != 0 ? both : node.low->labels | node.high->labels;
  return node;
}

std::uint32_t entries(const Node& node, Labels inherited) {
  std::uint32_t count = 0;
  if ((node.labels & inherited) == 0) {
    inherited = node.labels & (~node.labels + 1);
    count = 1;
  }
  if (!node.low) return count;
  return count + entries(*node.low, inherited) + entries(*node.high, inherited);
}

}  // namespace

bool Instance::feasible() const {
  Sizes all = shared;
  for (const RegionDemand& region : regions) {
    all.add(region.routed);
    all.add(region.unrouted);
  }
  return fits(all, supply);
}

Instance instance_of(const Fleet& fleet, Family family) {
  Instance instance;
  instance.regions.resize(fleet.regions.size());
  instance.shared.add(bits_of(family) - clusterset_size(fleet.clusterset_services, family).length);
  for (const FleetCluster& cluster : fleet.clusters) {
    auto index = static_cast<std::size_t>(find_region(fleet, cluster.region) - &fleet.regions[0]);
    for (BlockUse use : {BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService}) {
      auto size = size_of(fleet, cluster, use, family, 0);
      ENSURE(size.has_value(), "{}", cluster.name);
      RegionDemand& region = instance.regions[index];
      (is_routed(use) ? region.routed : region.unrouted).add(bits_of(family) - size->length);
    }
  }
  for (const FleetRoot& root : fleet.roots) {
    if (root.prefix.family() != family) continue;
    FreeSpace space(family, root.prefix.length());
    space.add(root.prefix);
    for (const FleetReserved& range : fleet.reserved) space.remove(range.prefix);
    for (const Forbidden& range : forbidden_ranges(fleet)) space.remove(range.prefix);
    for (const Prefix& block : space.blocks()) instance.supply.add(block.host_bits());
  }
  return instance;
}

std::uint32_t routes_of(const Plan& plan) {
  std::size_t sum = 0;
  for (const RegionSummary& region : region_summaries(plan)) sum += region.prefixes.size();
  return static_cast<std::uint32_t>(sum);
}

double space_over_bound(const Plan& plan) {
  std::map<std::pair<std::string, Family>, uint128> demand;
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges)
      if (is_routed(range.use))
        demand[{cluster.region, range.prefix.family()}] += range.prefix.size();
  double covered = 0;
  double bound = 0;
  for (const RegionSummary& region : region_summaries(plan)) {
    for (const Prefix& prefix : region.prefixes) covered += static_cast<double>(prefix.size());
    Sizes least = split_demand(demand[{region.region, region.family}],
                               static_cast<int>(region.prefixes.size()), 120);
    bound += static_cast<double>(least.total());
  }
  return covered / bound;
}

std::uint32_t smallest_table(const Plan& plan) {
  std::map<std::string, unsigned> regions;
  std::vector<Labelled> all;
  auto add = [&](const Prefix& prefix, Labels labels) {
    if (prefix.family() == Family::kV4) all.push_back({prefix, labels});
  };
  for (const PlannedCluster& cluster : plan.clusters) {
    unsigned bit = regions.emplace(cluster.region, regions.size() + 1).first->second;
    ENSURE(bit < 64, "{} regions", bit);
    for (const PlannedRange& range : cluster.ranges)
      add(range.prefix, Labels{1} << bit | (is_routed(range.use) ? 0 : 1));
  }
  for (const PlannedRange& range : plan.clusterset) add(range.prefix, 1);
  // Reserved ranges may overlap each other; the wider one speaks for both.
  for (const PlannedReserve& range : plan.reserved) {
    bool inside = std::ranges::any_of(plan.reserved, [&](const PlannedReserve& other) {
      return other.prefix.contains(range.prefix) && &other != &range &&
             (other.prefix != range.prefix || &other < &range);
    });
    if (!inside) add(range.prefix, 1);
  }
  return entries(tree_of(Prefix(Ip::v4(0), 0), all), 1);
}

}  // namespace tombolo::bench
