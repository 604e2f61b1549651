// When a fleet does not fit: the smallest set of its entries that cannot be together. By Kraft's
// inequality a set is too large when for some size its ranges of at least that size exceed the
// space in free blocks of at least that size, so the fewest clusters are those that take most of
// it. Then the reserved ranges without which they would fit are named, and no others.
#include <algorithm>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostNamed = 12;

struct Entry {
  std::size_t cluster;  // past the end: the clusterset
  Sizes sizes;
};

uint128 at_least(const Sizes& sizes, int exponent) {
  uint128 sum = 0;
  for (std::size_t at = static_cast<std::size_t>(exponent); at < sizes.count.size(); ++at)
    sum += uint128{sizes.count[at]} << at;
  return sum;
}

std::vector<Entry> entries_of(const Fleet& fleet, Family family) {
  Fleet one = fleet;
  std::vector<Entry> entries;
  one.clusters.clear();
  entries.push_back({fleet.clusters.size(), demand_of(one, family).shared});
  one.clusterset_given.push_back({BlockUse::kClusterset, Prefix(Ip(family, 0), 1), 0, {}});
  one.regions.clear();
  for (std::size_t i = 0; i < fleet.clusters.size(); ++i) {
    const FleetRegion* region = find_region(fleet, fleet.clusters[i].region);
    if (region == nullptr) continue;
    one.regions = {*region};
    one.clusters = {fleet.clusters[i]};
    FamilyDemand demand = demand_of(one, family);
    Sizes sizes = demand.regions[0].routed;
    sizes.add(demand.regions[0].unrouted);
    if (!sizes.empty()) entries.push_back({i, sizes});
  }
  return entries;
}

bool do_fit(const std::vector<Entry>& entries, const Sizes& supply) {
  Sizes all;
  for (const Entry& entry : entries) all.add(entry.sizes);
  return fits(all, supply);
}

// The fewest entries that exceed the space of some size.
std::vector<Entry> fewest_entries(std::vector<Entry> entries, const Sizes& supply) {
  std::vector<Entry> best;
  for (int exponent = 0; exponent < 128; ++exponent) {
    uint128 room = at_least(supply, exponent);
    std::ranges::sort(entries, [&](const Entry& a, const Entry& b) {
      return std::pair(at_least(b.sizes, exponent), a.cluster) <
             std::pair(at_least(a.sizes, exponent), b.cluster);
    });
    uint128 sum = 0;
    std::size_t count = 0;
    while (count < entries.size() && sum <= room) sum += at_least(entries[count++].sizes, exponent);
    if (sum <= room || (!best.empty() && count >= best.size())) continue;
    best.assign(entries.begin(), entries.begin() + static_cast<long>(count));
  }
  return best;
}

}  // namespace

Conflict smallest_conflict(const Fleet& fleet, Family family) {
  Conflict conflict;
  for (const FleetRoot& root : fleet.roots)
    if (!root.uses.empty() || !root.regions.empty()) return conflict;
  const Sizes supply = supply_of(fleet, family);
  bool any = std::ranges::any_of(
      fleet.roots, [&](const FleetRoot& root) { return root.prefix.family() == family; });
  if (!any) return conflict;
  auto entries = fewest_entries(entries_of(fleet, family), supply);
  if (entries.empty()) return conflict;
  Fleet without = fleet;
  for (const FleetReserved& range : fleet.reserved) {
    if (range.prefix.family() != family) continue;
    auto kept = without.reserved;
    std::erase_if(without.reserved,
                  [&](const FleetReserved& r) { return r.prefix == range.prefix; });
    if (!do_fit(entries, supply_of(without, family))) continue;
    without.reserved = std::move(kept);
    conflict.reserved.push_back(range);
  }
  for (const Entry& entry : entries) {
    if (entry.cluster == fleet.clusters.size())
      conflict.clusterset = true;
    else
      conflict.clusters.push_back(entry.cluster);
  }
  std::ranges::sort(conflict.clusters);
  return conflict;
}

// "; the smallest set that does not fit: cluster two (fleet.yaml:12), …"
std::string conflict_text(const Fleet& fleet, Family family) {
  Conflict conflict = smallest_conflict(fleet, family);
  std::vector<std::string> names;
  for (std::size_t index : conflict.clusters)
    names.push_back(
        fmt::format("cluster {} ({})", fleet.clusters[index].name, fleet.clusters[index].place));
  if (conflict.clusterset) names.emplace_back("the clusterset");
  for (const FleetReserved& range : conflict.reserved)
    names.push_back(fmt::format("reserved {} ({})", range.prefix, range.place));
  if (names.empty()) return {};
  std::string text = "; the smallest set that cannot be together:";
  for (std::size_t i = 0; i < names.size() && i < kMostNamed; ++i)
    text += fmt::format("{} {}", i == 0 ? "" : ",", names[i]);
  if (names.size() > kMostNamed) text += fmt::format(" and {} more", names.size() - kMostNamed);
  return text;
}

}  // namespace tombolo
