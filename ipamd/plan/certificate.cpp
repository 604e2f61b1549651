// The certificate of a plan: how many summary routes and addresses it takes beside what no plan of
// the same fleet file can undercut, and the list of all ranges in order of address, in which
// anybody sees that no two overlap (tests/plan/check_certificate.py does).
#include <algorithm>
#include <map>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

struct Listed {
  Prefix prefix;
  std::string cluster;
  std::string use;
};

std::vector<Listed> listed_ranges(const Plan& plan) {
  std::vector<Listed> all;
  for (const PlanBlock& block : blocks_of(plan))
    all.push_back({block.prefix, block.cluster, std::string(to_string(block.use))});
  for (const PlannedReserve& range : plan.reserved) all.push_back({range.prefix, "", "reserved"});
  std::ranges::sort(all, {}, [](const Listed& each) { return std::pair(each.prefix, each.use); });
  return all;
}

// Routes that the given ranges alone need, by region: no other range can save one of them.
std::map<std::string, std::uint32_t> routes_of_given(const Fleet& fleet, Family family) {
  Plan given;
  for (const FleetRoot& root : fleet.roots) given.roots.push_back(root.prefix);
  for (const FleetReserved& range : fleet.reserved) given.reserved.push_back({range.prefix, ""});
  for (const FleetCluster& cluster : fleet.clusters) {
    PlannedCluster planned;
    planned.region = cluster.region;
    for (const GivenRange& range : cluster.given)
      planned.ranges.push_back({range.use, range.prefix, 0, RangeOrigin::kGiven});
    given.clusters.push_back(std::move(planned));
  }
  std::map<std::string, std::uint32_t> routes;
  for (const RegionSummary& region : region_summaries(given))
    if (region.family == family)
      routes[region.region] = static_cast<std::uint32_t>(region.prefixes.size());
  return routes;
}

bool is_given(const std::vector<GivenRange>& given, BlockUse use, Family family) {
  return std::ranges::any_of(given, [&](const GivenRange& range) {
    return range.use == use && range.prefix.family() == family;
  });
}

}  // namespace

FamilyDemand demand_of(const Fleet& fleet, Family family) {
  FamilyDemand demand;
  std::map<std::string_view, std::size_t> regions;
  for (const FleetRegion& region : fleet.regions) regions.emplace(region.name, regions.size());
  demand.regions.resize(fleet.regions.size());
  const int bits = bits_of(family);
  if (!is_given(fleet.clusterset_given, BlockUse::kClusterset, family))
    demand.shared.add(bits - clusterset_size(fleet.clusterset_services, family).length);
  for (const FleetCluster& cluster : fleet.clusters) {
    for (BlockUse use : kClusterUses) {
      if (!wants(cluster, use, family) || is_given(cluster.given, use, family)) continue;
      auto size = size_of(fleet, cluster, use, family, 0);
      auto region = regions.find(cluster.region);
      if (!size || region == regions.end()) continue;
      RegionDemand& of_region = demand.regions[region->second];
      (is_routed(use) ? of_region.routed : of_region.unrouted).add(bits - size->length);
    }
  }
  return demand;
}

Sizes supply_of(const Fleet& fleet, Family family) {
  Sizes supply;
  std::vector<Prefix> taken;
  for (const FleetReserved& range : fleet.reserved) taken.push_back(range.prefix);
  for (const Forbidden& range : forbidden_ranges(fleet)) taken.push_back(range.prefix);
  for (const GivenRange& range : fleet.clusterset_given) taken.push_back(range.prefix);
  for (const FleetCluster& cluster : fleet.clusters)
    for (const GivenRange& range : cluster.given) taken.push_back(range.prefix);
  for (const FleetRoot& root : fleet.roots) {
    if (root.prefix.family() != family) continue;
    FreeSpace space(family, root.prefix.length());
    space.add(root.prefix);
    for (const Prefix& hole : taken) space.remove(hole);
    supply.add(space.sizes());
  }
  return supply;
}

std::vector<Certificate> certify(const Plan& plan, const Fleet& fleet) {
  std::vector<Certificate> result;
  const auto summaries = region_summaries(plan);
  for (Family family : fleet.families) {
    Certificate certificate;
    certificate.family = family;
    for (const RegionSummary& region : summaries)
      if (region.family == family)
        certificate.routes += static_cast<std::uint32_t>(region.prefixes.size());
    // Regions that bring ranges have the routes of those; to the others their ranges are space.
    FamilyDemand demand = demand_of(fleet, family);
    std::uint32_t of_given = 0;
    for (const auto& [name, routes] : routes_of_given(fleet, family)) {
      auto index = static_cast<std::size_t>(find_region(fleet, name) - fleet.regions.data());
      demand.shared.add(demand.regions[index].routed);
      demand.shared.add(demand.regions[index].unrouted);
      demand.regions[index] = {};
      of_given += routes;
    }
    Sizes least = demand.shared;
    for (const RegionDemand& region : demand.regions) {
      least.add(region.routed);
      least.add(region.unrouted);
    }
    certificate.least_addresses = count_text(least.total());
    Optimum best = fewest_routes(demand.regions, demand.shared, supply_of(fleet, family));
    certificate.bound = of_given + best.bound;
    certificate.reason = best.reason;
    if (of_given > 0)
      certificate.reason = fmt::format("the given ranges need {}, and {}", of_given, best.reason);
    uint128 used = 0;
    auto add = [&](const PlannedRange& range) {
      if (range.prefix.family() == family && range.origin != RangeOrigin::kGiven)
        used += range.prefix.size();
    };
    std::ranges::for_each(plan.clusterset, add);
    for (const PlannedCluster& cluster : plan.clusters) std::ranges::for_each(cluster.ranges, add);
    certificate.addresses = count_text(used);
    result.push_back(std::move(certificate));
  }
  return result;
}

std::string text_of(const Certificate& certificate) {
  std::string text = fmt::format("certificate {}: {} route{}, ", to_string(certificate.family),
                                 certificate.routes, certificate.routes == 1 ? "" : "s");
  if (certificate.routes == certificate.bound)
    text += "no plan has fewer";
  else
    text += fmt::format("planned from nothing no plan has fewer than {}", certificate.bound);
  return text + fmt::format(" ({}); {} addresses assigned, {} are the least", certificate.reason,
                            certificate.addresses, certificate.least_addresses);
}

json::value certificate_to_json(const Plan& plan) {
  json::array families;
  for (const Certificate& each : plan.certificate)
    families.push_back(json::object{{"family", to_string(each.family)},
                                    {"routes", std::int64_t{each.routes}},
                                    {"bound", std::int64_t{each.bound}},
                                    {"reason", each.reason},
                                    {"addresses", each.addresses},
                                    {"least_addresses", each.least_addresses}});
  json::array ranges;
  for (const Listed& each : listed_ranges(plan))
    ranges.push_back(
        json::object{{"cidr", each.prefix.str()}, {"cluster", each.cluster}, {"use", each.use}});
  json::array summaries;
  for (const RegionSummary& region : region_summaries(plan))
    for (const Prefix& prefix : region.prefixes)
      summaries.push_back(json::object{{"region", region.region}, {"cidr", prefix.str()}});
  return json::object{{"families", std::move(families)},
                      {"summaries", std::move(summaries)},
                      {"ranges", std::move(ranges)}};
}

}  // namespace tombolo
