// Tracts: where the ranges of a region lie so that one summary route covers them. A tract is the
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

void FamilyPlanner::add_to_tracts(const Claim& claim, std::size_t pool, bool close) {
  auto& tracts = tracts_[static_cast<std::size_t>(claim.owner)];
  for (Tract& tract : tracts) {
    if (tract.pool != pool || !tract.wide.contains(claim.prefix)) continue;
    if (tract.tight.contains(claim.prefix)) return;
    tract.tight = cover_of(tract.tight, claim.prefix);
    if (close) pools_[pool].outside.remove(tract.tight);
    return;
  }
  const Prefix& root = pools_[pool].root->prefix;
  Tract tract{pool, claim.prefix, claim.prefix};
  while (tract.wide.length() > root.length()) {
    Prefix wider(tract.wide.base(), tract.wide.length() - 1);
    if (foreign_inside(pools_[pool], wider, claim.owner)) break;
    tract.wide = wider;
  }
  if (close) pools_[pool].outside.remove(tract.tight);
  tracts.push_back(tract);
}

void FamilyPlanner::find_tracts() {
  for (auto& tracts : tracts_) tracts.clear();
  for (std::size_t i = 0; i < pools_.size(); ++i)
    for (const auto& [base, claim] : pools_[i].claims)
      if (claim.owner != kNobody && claim.routed && pools_[i].root->prefix.contains(claim.prefix))
        add_to_tracts(claim, i, false);
  for (const auto& tracts : tracts_)
    for (const Tract& tract : tracts) pools_[tract.pool].outside.remove(tract.tight);
}

void FamilyPlanner::find_tracts_of(int region) {
  auto& tracts = tracts_[static_cast<std::size_t>(region)];
  tracts.clear();
  for (std::size_t i = 0; i < pools_.size(); ++i)
    for (const auto& [base, claim] : pools_[i].claims)
      if (claim.owner == region && claim.routed && pools_[i].root->prefix.contains(claim.prefix))
        add_to_tracts(claim, i, true);
}

// After a new claim: its own region's tracts take it in, those of others that it lies in become
// narrower. Where it lies between ranges of another region, that one's tracts are found anew.
void FamilyPlanner::keep_tracts_right(const Claim& claim) {
  if (!mapped_) return;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (!pools_[i].root->prefix.contains(claim.prefix)) continue;
    for (std::size_t region = 0; region < tracts_.size(); ++region) {
      if (static_cast<int>(region) == claim.owner) continue;
      bool split = false;
      for (Tract& tract : tracts_[region]) {
        if (tract.pool != i || !tract.wide.contains(claim.prefix)) continue;
        split = tract.tight.overlaps(claim.prefix);
        while (!split && tract.wide.contains(claim.prefix))
          tract.wide = Prefix(tract.tight.base(), tract.wide.length() + 1);
      }
      if (split) find_tracts_of(static_cast<int>(region));
    }
    if (claim.owner != kNobody && claim.routed) add_to_tracts(claim, i, true);
  }
}

}  // namespace tombolo
