// Questions to a plan: what a merge of two fleets, a freed prefix or a dropped route would cost in
// clusters that have to be renumbered.
#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

bool meet(const PlannedCluster& a, const PlannedCluster& b) {
  for (const PlannedRange& left : a.ranges)
    for (const PlannedRange& right : b.ranges)
      if (left.prefix.overlaps(right.prefix)) return true;
  return false;
}

// The fewest clusters that take part in every conflict: by König's theorem as many as the largest
// matching of conflicting pairs; those of b that an alternating path reaches from a free one of a,
// and those of a that none reaches.
class Cover {
 public:
  Cover(const Plan& a, const Plan& b)
      : edges_(a.clusters.size()), match_(b.clusters.size(), kNone) {
    for (std::size_t i = 0; i < a.clusters.size(); ++i)
      for (std::size_t j = 0; j < b.clusters.size(); ++j)
        if (meet(a.clusters[i], b.clusters[j])) edges_[i].push_back(j);
  }
  void find(std::set<std::size_t>& of_a, std::set<std::size_t>& of_b) {
    std::vector<bool> matched(edges_.size(), false);
    for (std::size_t i = 0; i < edges_.size(); ++i) {
      seen_.assign(match_.size(), false);
      matched[i] = augment(i);
    }
    seen_.assign(match_.size(), false);
    std::vector<bool> reached(edges_.size(), false);
    std::function<void(std::size_t)> walk = [&](std::size_t i) {
      reached[i] = true;
      for (std::size_t j : edges_[i]) {
        if (seen_[j]) continue;
        seen_[j] = true;
        if (match_[j] != kNone && !reached[match_[j]]) walk(match_[j]);
      }
    };
    for (std::size_t i = 0; i < edges_.size(); ++i)
      if (!matched[i] && !reached[i]) walk(i);
    for (std::size_t i = 0; i < edges_.size(); ++i)
      if (!edges_[i].empty() && !reached[i]) of_a.insert(i);
    for (std::size_t j = 0; j < match_.size(); ++j)
      if (seen_[j]) of_b.insert(j);
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  bool augment(std::size_t i) {
    for (std::size_t j : edges_[i]) {
      if (seen_[j]) continue;
      seen_[j] = true;
      if (match_[j] != kNone && !augment(match_[j])) continue;
      match_[j] = i;
      return true;
    }
    return false;
  }

  std::vector<std::vector<std::size_t>> edges_;
  std::vector<std::size_t> match_;
  std::vector<bool> seen_;
};

// A cluster that is renumbered gives up what it has, given ranges as well.
void forget(Fleet& fleet, Plan& plan, const std::set<std::string>& names) {
  for (FleetCluster& cluster : fleet.clusters)
    if (names.contains(cluster.name)) {
      cluster.given.clear();
      cluster.given_subnets.clear();
      cluster.entry_ips.clear();
    }
  std::erase_if(plan.clusters, [&](const PlannedCluster& c) { return names.contains(c.name); });
}

Result<Renumbering> renumbered(Fleet fleet, Plan plan, const std::set<std::string>& names) {
  forget(fleet, plan, names);
  TRY(after, make_plan(fleet, &plan));
  return Renumbering{{names.begin(), names.end()}, std::move(fleet), std::move(after)};
}

}  // namespace

Result<Renumbering> merge_fleets(const Fleet& a, const Plan& plan_a, const Fleet& b,
                                 const Plan& plan_b) {
  Fleet fleet = a;
  Plan plan = plan_a;
  std::set<std::uint32_t> ids;
  for (const FleetCluster& cluster : a.clusters) ids.insert(cluster.id);
  for (const FleetRegion& region : b.regions) {
    const FleetRegion* same = find_region(a, region.name);
    if (same != nullptr && same->cloud != region.cloud)
      return fail(Code::kFailedPrecondition, "{}: the region {} is in another cloud in {}",
                  region.place, region.name, same->place);
    if (same == nullptr) fleet.regions.push_back(region);
  }
  for (const FleetRoot& root : b.roots) {
    bool there = std::ranges::any_of(
        a.roots, [&](const FleetRoot& r) { return r.prefix.contains(root.prefix); });
    if (there) continue;
    std::erase_if(fleet.roots, [&](const FleetRoot& r) { return root.prefix.contains(r.prefix); });
    fleet.roots.push_back(root);
  }
  fleet.reserved.insert(fleet.reserved.end(), b.reserved.begin(), b.reserved.end());
  std::set<std::string> taken;
  for (const FleetCluster& cluster : a.clusters) taken.insert(cluster.name);
  for (FleetCluster cluster : b.clusters) {
    if (taken.contains(cluster.name))
      return fail(Code::kFailedPrecondition, "{}: both fleets have a cluster '{}'", cluster.place,
                  cluster.name);
    if (cluster.id != 0 && ids.contains(cluster.id)) {
      cluster.id = 1;
      while (ids.contains(cluster.id)) ++cluster.id;
    }
    ids.insert(cluster.id);
    fleet.clusters.push_back(std::move(cluster));
  }
  plan.clusters.insert(plan.clusters.end(), plan_b.clusters.begin(), plan_b.clusters.end());
  std::set<std::size_t> of_a;
  std::set<std::size_t> of_b;
  Cover(plan_a, plan_b).find(of_a, of_b);
  std::set<std::string> names;
  for (std::size_t i : of_a) names.insert(plan_a.clusters[i].name);
  for (std::size_t j : of_b) names.insert(plan_b.clusters[j].name);
  // What the other fleet reserves, or has for the clusterset, is in nobody's way.
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges) {
      for (const FleetReserved& reserved : fleet.reserved)
        if (reserved.prefix.overlaps(range.prefix)) names.insert(cluster.name);
      for (const PlannedRange& shared : plan_a.clusterset)
        if (shared.prefix.overlaps(range.prefix)) names.insert(cluster.name);
    }
  return renumbered(std::move(fleet), std::move(plan), names);
}

Result<Renumbering> free_prefix(const Fleet& fleet, const Plan& plan, const Prefix& prefix) {
  std::set<std::string> names;
  for (const PlannedCluster& cluster : plan.clusters)
    for (const PlannedRange& range : cluster.ranges)
      if (range.prefix.overlaps(prefix)) names.insert(cluster.name);
  Fleet without = fleet;
  without.reserved.push_back({prefix, "to be freed", ""});
  return renumbered(std::move(without), plan, names);
}

Result<Renumbering> free_any(const Fleet& fleet, const Plan& plan, Family family, int length) {
  std::optional<Renumbering> best;
  for (const FleetRoot& root : fleet.roots) {
    if (root.prefix.family() != family || root.prefix.length() > length) continue;
    if (length - root.prefix.length() > 16)
      return fail(Code::kInvalidArgument, "a /{} is too small a part of {} to search for", length,
                  root.prefix);
    // By the number of clusters inside, so that the first that can be freed is the cheapest.
    std::vector<std::pair<std::size_t, Prefix>> candidates;
    for (std::uint32_t i = 0; i < 1U << (length - root.prefix.length()); ++i) {
      Prefix candidate(root.prefix.at(uint128{i} << (bits_of(family) - length)), length);
      bool never = std::ranges::any_of(fleet.reserved, [&](const FleetReserved& reserved) {
        return reserved.prefix.overlaps(candidate);
      });
      std::size_t inside = 0;
      for (const PlannedCluster& cluster : plan.clusters)
        inside += std::ranges::any_of(cluster.ranges, [&](const PlannedRange& range) {
          return range.prefix.overlaps(candidate);
        });
      if (!never) candidates.emplace_back(inside, candidate);
    }
    std::ranges::sort(candidates);
    for (const auto& [inside, candidate] : candidates) {
      if (best && inside >= best->clusters.size()) break;
      if (auto found = free_prefix(fleet, plan, candidate)) best = std::move(*found);
    }
  }
  if (!best)
    return fail(Code::kResourceExhausted, "no /{} of {} can be freed by renumbering clusters",
                length, to_string(family));
  return std::move(*best);
}

Result<Renumbering> drop_route(const Fleet& fleet, const Plan& plan, std::string_view region,
                               Family family) {
  std::optional<Renumbering> best;
  std::size_t routes = 0;
  for (const RegionSummary& summary : region_summaries(plan)) {
    if (summary.region != region || summary.family != family) continue;
    routes = summary.prefixes.size();
    for (const Prefix& prefix : summary.prefixes) {
      std::set<std::string> names;
      for (const PlannedCluster& cluster : plan.clusters)
        for (const PlannedRange& range : cluster.ranges)
          if (cluster.region == region && is_routed(range.use) && prefix.contains(range.prefix))
            names.insert(cluster.name);
      if (best && names.size() >= best->clusters.size()) continue;
      auto moved = renumbered(fleet, plan, names);
      if (!moved) continue;
      for (const RegionSummary& after : region_summaries(moved->plan))
        if (after.region == region && after.family == family && after.prefixes.size() < routes)
          best = *moved;
    }
  }
  if (routes == 0)
    return fail(Code::kNotFound, "region {} has no {} route", region, to_string(family));
  if (!best)
    return fail(Code::kResourceExhausted,
                "region {}: moving the clusters of one of its {} {} routes drops none", region,
                routes, to_string(family));
  return std::move(*best);
}

}  // namespace tombolo
