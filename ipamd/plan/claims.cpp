// What occupies the address space before the search starts, and the words for a search that failed:
// which range had no room, how much space there was, and what stood in the way.
#include <algorithm>
#include <cmath>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostNamed = 8;  // entries that an explanation lists

std::string described(const Claim& claim) {
  return fmt::format("{} {}{}", claim.text, claim.prefix,
                     claim.place.empty() ? "" : fmt::format(" ({})", claim.place));
}

void add_given(std::vector<Claim>& claims, const std::vector<GivenRange>& given,
               std::string_view whose, int region, Family family) {
  for (const GivenRange& range : given)
    if (range.prefix.family() == family)
      claims.push_back({range.prefix, fmt::format("{}{}", whose, to_string(range.use)), range.place,
                        region, is_routed(range.use)});
}

// Whether a given range meets another claim: in order of address, what overlaps a range lies in the
// one that reaches furthest before it.
bool any_overlap(const std::vector<Claim>& claims, std::size_t first_given) {
  std::vector<std::pair<Prefix, bool>> sorted;
  for (std::size_t i = 0; i < claims.size(); ++i)
    sorted.emplace_back(claims[i].prefix, i >= first_given);
  std::ranges::sort(sorted);
  std::vector<std::pair<Prefix, bool>> around;
  for (const auto& each : sorted) {
    while (!around.empty() && !around.back().first.contains(each.first)) around.pop_back();
    for (const auto& outer : around)
      if (outer.second || each.second) return true;
    around.push_back(each);
  }
  return false;
}

}  // namespace

std::string count_text(uint128 count) {
  auto low = static_cast<std::uint64_t>(count);
  if (count <= (uint128{1} << 32)) return fmt::format("{}", low);
  int bits = 127;
  while (count >> bits == 0) --bits;
  if (count == uint128{1} << bits) return fmt::format("2^{}", bits);
  double mantissa = static_cast<double>(count) / std::ldexp(1.0, bits);
  return fmt::format("about 2^{:.2f}", bits + std::log2(mantissa));
}

Result<std::vector<Claim>> fixed_claims(const Fleet& fleet, Family family) {
  std::vector<Claim> claims;
  for (const FleetReserved& range : fleet.reserved)
    if (range.prefix.family() == family)
      claims.push_back(
          {range.prefix,
           range.note.empty() ? std::string("reserved") : fmt::format("reserved ({})", range.note),
           range.place});
  for (const Forbidden& range : forbidden_ranges(fleet))
    if (range.prefix.family() == family)
      claims.push_back({range.prefix, fmt::format("forbidden ({})", range.reason), {}});
  std::size_t given = claims.size();
  add_given(claims, fleet.clusterset_given, "", kNobody, family);
  std::unordered_map<std::string_view, int> regions;
  for (const FleetRegion& region : fleet.regions)
    regions.emplace(region.name, static_cast<int>(&region - fleet.regions.data()));
  for (const FleetCluster& cluster : fleet.clusters) {
    auto region = regions.find(cluster.region);
    add_given(claims, cluster.given, fmt::format("cluster {}, given ", cluster.name),
              region == regions.end() ? kNobody : region->second, family);
  }
  if (!any_overlap(claims, given)) return claims;
  for (std::size_t i = given; i < claims.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (claims[i].prefix.overlaps(claims[j].prefix))
        return fail(Code::kFailedPrecondition, "{}: {} {} overlaps {}", claims[i].place,
                    claims[i].text, claims[i].prefix, described(claims[j]));
  return claims;
}

std::string FamilyPlanner::request_text(const Request& request) const {
  if (request.cluster == kNoCluster) return "clusterset";
  return fmt::format("cluster {}, {}", fleet_.clusters[request.cluster].name,
                     to_string(request.use));
}

std::string FamilyPlanner::former_text(const Request& request) const {
  if (request.cluster == kNoCluster) return "former clusterset";
  return fmt::format("cluster {}, former {}", fleet_.clusters[request.cluster].name,
                     to_string(request.use));
}

std::string FamilyPlanner::place_of(std::size_t cluster) const {
  return cluster == kNoCluster ? fleet_.place : fleet_.clusters[cluster].place;
}

// "fleet.yaml:14: cluster east, pod: no room for a /16 of IPv4 (65536 addresses): 10.0.0.0/16 has
// 16384 of 65536 addresses free, the largest free block is a /18; in the way: …"
Error FamilyPlanner::explain(const Request& request) const {
  const auto tiers = tiers_of(request);
  std::string what =
      fmt::format("{}: {}: no room for a /{} of {} ({} addresses): ", place_of(request.cluster),
                  request_text(request), request.size.length, to_string(family_),
                  count_text(uint128{1} << (bits_of(family_) - request.size.length)));
  if (tiers.empty()) {
    what += fmt::format("the fleet file has no {} address space for {} ranges", to_string(family_),
                        to_string(request.use));
    if (int region = region_of(request.cluster); region != kNobody)
      what += fmt::format(" in region {}", fleet_.regions[static_cast<std::size_t>(region)].name);
    return Error{Code::kResourceExhausted, std::move(what)};
  }
  std::vector<Claim> claims;
  std::string separator;
  for (const auto& tier : tiers)
    for (std::size_t index : tier) {
      const Pool& pool = pools_[index];
      auto blocks = pool.free.blocks();
      what += fmt::format("{}{} has {} of {} addresses free", separator, pool.root->prefix,
                          count_text(pool.free.addresses()), count_text(pool.root->prefix.size()));
      if (!blocks.empty())
        what += fmt::format(", the largest free block is a /{}", blocks.front().length());
      separator = "; ";
      for (const auto& [base, claim] : pool.claims) claims.push_back(claim);
    }
  std::ranges::sort(claims, {}, [](const Claim& claim) {
    return std::tuple(claim.prefix.length(), claim.prefix.base(), claim.text);
  });
  for (std::size_t i = 0; i < claims.size() && i < kMostNamed; ++i)
    what += fmt::format("{}{}", i == 0 ? "; in the way: " : ", ", described(claims[i]));
  if (claims.size() > kMostNamed) what += fmt::format(" and {} more", claims.size() - kMostNamed);
  return Error{Code::kResourceExhausted, std::move(what)};
}

}  // namespace tombolo
