// The routes that follow from a plan.
#include <algorithm>
#include <map>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

struct Owned {
  Prefix prefix;
  std::string region;  // empty: nobody may summarise across it
  bool routed;
};

std::vector<Owned> owned_ranges(const Plan& plan) {
  std::vector<Owned> result;
  for (const PlannedReserve& range : plan.reserved) result.push_back({range.prefix, {}, false});
  for (const PlannedRange& range : plan.clusterset) result.push_back({range.prefix, {}, false});
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges)
      result.push_back({range.prefix, cluster.region, is_routed(range.use)});
  return result;
}

// Ranges in order of address, with the ends of runs of one owner, so that the widest prefix around
// each is found without looking at the others.
class Neighbours {
 public:
  Neighbours(const Plan& plan, std::vector<Owned> all) : plan_(plan), all_(std::move(all)) {
    std::ranges::sort(all_, {}, &Owned::prefix);
    run_ends_.resize(all_.size());
    for (std::size_t i = all_.size(); i > 0; --i) {
      bool same = i < all_.size() && all_[i].region == all_[i - 1].region &&
                  !all_[i].region.empty() && same_family(i, i - 1);
      run_ends_[i - 1] = same ? run_ends_[i] : i;
    }
  }

  const std::vector<Owned>& all() const { return all_; }

  // The widest prefix around a range, inside its root, that touches nothing of another owner.
  Prefix widest_around(const Owned& own) const {
    int shortest = own.prefix.length();
    for (const Prefix& root : plan_.roots)
      if (root.contains(own.prefix)) shortest = root.length();
    Prefix widest = own.prefix;
    while (widest.length() > shortest) {
      Prefix next(widest.base(), widest.length() - 1);
      if (foreign_inside(next, own.region)) break;
      widest = next;
    }
    return widest;
  }

 private:
  bool same_family(std::size_t a, std::size_t b) const {
    return all_[a].prefix.family() == all_[b].prefix.family();
  }
  bool foreign_inside(const Prefix& cover, const std::string& region) const {
    auto begin = std::ranges::lower_bound(all_, cover.base(), {},
                                          [](const Owned& each) { return each.prefix.base(); });
    if (begin == all_.end() || cover.last() < begin->prefix.base()) return false;
    if (begin->region != region) return true;
    std::size_t end = run_ends_[static_cast<std::size_t>(begin - all_.begin())];
    return end < all_.size() && !(cover.last() < all_[end].prefix.base());
  }

  const Plan& plan_;
  std::vector<Owned> all_;
  std::vector<std::size_t> run_ends_;  // of each: the first that is not of its run
};

bool has_subnets(const PlannedCluster& cluster, Family family) {
  return std::ranges::count_if(cluster.subnets, [&](const Subnet& subnet) {
           return subnet.prefix.family() == family;
         }) > 1;
}

}  // namespace

std::vector<RouteEntry> plan_routes(const Plan& plan) {
  std::vector<RouteEntry> routes;
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges) {
      if (range.use != BlockUse::kPod && range.use != BlockUse::kLoadBalancer) continue;
      RouteEntry route{cluster.name, range.use, range.prefix, {}};
      for (Ip ip : cluster.entry)
        if (ip.family() == range.prefix.family()) route.next_hops.push_back(ip);
      routes.push_back(std::move(route));
    }
  return routes;
}

Result<std::vector<RouteEntry>> plan_routes_of(const Plan& plan, std::string_view name,
                                               unsigned node) {
  const PlannedCluster* self = find_cluster(plan, name);
  if (self == nullptr)
    return fail(Code::kNotFound, "the plan has no cluster '{}'", name.substr(0, 64));
  std::vector<RouteEntry> routes;
  for (const PlannedCluster& cluster : plan.clusters) {
    for (const PlannedRange& range : cluster.ranges) {
      if (!is_routed(range.use)) continue;
      // Of the own ranges only an underlay of several subnets has parts beyond the gateway.
      const Family family = range.prefix.family();
      if (&cluster == self && (range.use != BlockUse::kUnderlay || !has_subnets(*self, family)))
        continue;
      // A cluster without this family cannot reach the range at all.
      auto gateway = gateway_address(*self, family, node);
      if (!gateway && gateway.error().code == Code::kOutOfRange)
        return std::unexpected(std::move(gateway).error());
      if (gateway) routes.push_back({cluster.name, range.use, range.prefix, {*gateway}});
    }
  }
  return routes;
}

std::string route_command(const RouteEntry& route) {
  std::string text =
      fmt::format("ip {}route replace {}", route.destination.family() == Family::kV6 ? "-6 " : "",
                  route.destination);
  for (Ip next_hop : route.next_hops)
    text += fmt::format("{} via {}", route.next_hops.size() > 1 ? " nexthop" : "", next_hop);
  return text;
}

// Two ranges can share a summary exactly when the prefix that covers both touches nothing foreign;
// the widest such prefixes are disjoint, so their number is the least there is.
std::vector<RegionSummary> region_summaries(const Plan& plan) {
  const Neighbours neighbours(plan, owned_ranges(plan));
  std::map<std::pair<std::string, Family>, std::map<Prefix, Prefix>> found;
  for (const Owned& own : neighbours.all()) {
    if (!own.routed) continue;
    auto& summaries = found[{own.region, own.prefix.family()}];
    Prefix widest = neighbours.widest_around(own);
    auto [entry, added] = summaries.emplace(widest, own.prefix);
    if (!added) entry->second = cover_of(entry->second, own.prefix);
  }
  std::vector<RegionSummary> result;
  for (const auto& [key, summaries] : found) {
    RegionSummary summary{key.first, key.second, {}};
    for (const auto& [widest, cover] : summaries) summary.prefixes.push_back(cover);
    result.push_back(std::move(summary));
  }
  return result;
}

}  // namespace tombolo
