// Zones: where the ranges of a region lie so that one summary route covers them. A zone is the
// widest block around routed ranges of one region that touches nothing foreign; those of different
// regions are disjoint. What a region has already is looked up here in logarithmic time, so that a
// cluster that joins costs the same in a large fleet.
#include "ipamd/plan/planner.h"

namespace tombolo {

// Claims change their owner only at `turns`, so one look tells whether anything foreign starts
// inside. What starts before `cover` does not reach into it: it would contain all of it.
bool FamilyPlanner::foreign_inside(const Pool& pool, const Prefix& cover, int region) const {
  uint128 last = cover.last().value();
  auto first = pool.claims.lower_bound(cover.base().value());
  if (first == pool.claims.end() || first->first > last) return false;
  if (first->second.owner != region || region == kNobody) return true;
  auto turn = pool.turns.upper_bound(first->first);
  return turn != pool.turns.end() && turn->first <= last;
}

void FamilyPlanner::add_to_zones(const Claim& claim, std::size_t pool, bool close) {
  auto& zones = zones_[static_cast<std::size_t>(claim.owner)];
  for (Zone& zone : zones) {
    if (zone.pool != pool || !zone.wide.contains(claim.prefix)) continue;
    if (zone.tight.contains(claim.prefix)) return;
    zone.tight = cover_of(zone.tight, claim.prefix);
    if (close) pools_[pool].outside.remove(zone.tight);
    return;
  }
  const Prefix& root = pools_[pool].root->prefix;
  Zone zone{pool, claim.prefix, claim.prefix};
  while (zone.wide.length() > root.length()) {
    Prefix wider(zone.wide.base(), zone.wide.length() - 1);
    if (foreign_inside(pools_[pool], wider, claim.owner)) break;
    zone.wide = wider;
  }
  if (close) pools_[pool].outside.remove(zone.tight);
  zones.push_back(zone);
}

void FamilyPlanner::find_zones() {
  zoned_ = true;
  for (auto& zones : zones_) zones.clear();
  for (std::size_t i = 0; i < pools_.size(); ++i)
    for (const auto& [base, claim] : pools_[i].claims)
      if (claim.owner != kNobody && claim.routed && pools_[i].root->prefix.contains(claim.prefix))
        add_to_zones(claim, i, false);
  for (const auto& zones : zones_)
    for (const Zone& zone : zones) pools_[zone.pool].outside.remove(zone.tight);
}

void FamilyPlanner::find_zones_of(int region) {
  auto& zones = zones_[static_cast<std::size_t>(region)];
  zones.clear();
  for (std::size_t i = 0; i < pools_.size(); ++i)
    for (const auto& [base, claim] : pools_[i].claims)
      if (claim.owner == region && claim.routed && pools_[i].root->prefix.contains(claim.prefix))
        add_to_zones(claim, i, true);
}

// After a new claim: its own region's zones take it in, those of others that it lies in become
// narrower. Where it lies between ranges of another region, that one's zones are found anew.
void FamilyPlanner::keep_zones_right(const Claim& claim) {
  if (!zoned_) return;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (!pools_[i].root->prefix.contains(claim.prefix)) continue;
    for (std::size_t region = 0; region < zones_.size(); ++region) {
      if (static_cast<int>(region) == claim.owner) continue;
      bool split = false;
      for (Zone& zone : zones_[region]) {
        if (zone.pool != i || !zone.wide.contains(claim.prefix)) continue;
        split = zone.tight.overlaps(claim.prefix);
        while (!split && zone.wide.contains(claim.prefix))
          zone.wide = Prefix(zone.tight.base(), zone.wide.length() + 1);
      }
      if (split) find_zones_of(static_cast<int>(region));
    }
    if (claim.owner != kNobody && claim.routed) add_to_zones(claim, i, true);
  }
}

}  // namespace tombolo
