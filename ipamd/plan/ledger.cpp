// What is taken of the address space, and what is kept open for ranges that grow. The room of a
// range is its sibling, as long as all of that is free: into it the range doubles in place. New
// ranges go elsewhere while there is space elsewhere. Where one has to go into a room, the rest of
// it is nobody's room any more and open to all.
#include <algorithm>

#include "ipamd/plan/planner.h"

namespace tombolo {

void FamilyPlanner::hold(const Request& request) {
  if (request.previous == nullptr) return;
  const Prefix& prefix = request.previous->prefix;
  for (const Pool& pool : pools_)
    if (pool.root->prefix.contains(prefix) && pool.free.contains(prefix)) {
      claim({prefix, former_text(request), {}, region_of(request.cluster), is_routed(request.use)});
      return;
    }
}

void FamilyPlanner::claim(const Claim& claim) {
  for (Pool& pool : pools_) {
    if (!pool.root->prefix.overlaps(claim.prefix)) continue;
    for (FreeSpace* space : {&pool.free, &pool.open, &pool.outside}) space->remove(claim.prefix);
    auto at = pool.claims.emplace(claim.prefix.base().value(), claim);
    if (mapped_) keep_rooms_right(pool, claim.prefix);
    auto next = std::next(at);
    if (at == pool.claims.begin() || std::prev(at)->second.owner != claim.owner)
      pool.turns[at->first] = claim.owner;
    if (next == pool.claims.end()) continue;
    if (next->second.owner == claim.owner)
      pool.turns.erase(next->first);
    else
      pool.turns[next->first] = next->second.owner;
  }
}

void FamilyPlanner::unclaim(Pool& pool, std::multimap<uint128, Claim>::iterator claim) {
  const Prefix prefix = claim->second.prefix;
  const bool grows = claim->second.grows;
  auto next = pool.claims.erase(claim);
  pool.turns.erase(prefix.base().value());
  if (next != pool.claims.end()) {
    bool turns = next == pool.claims.begin() || std::prev(next)->second.owner != next->second.owner;
    if (turns)
      pool.turns[next->first] = next->second.owner;
    else
      pool.turns.erase(next->first);
  }
  for (FreeSpace* space : {&pool.free, &pool.open, &pool.outside})
    if (!space->contains(prefix)) {
      space->remove(prefix);
      space->add(prefix);
    }
  if (!mapped_) return;
  if (grows && pool.root->prefix.length() < prefix.length()) reopen(pool, sibling_of(prefix));
  keep_rooms_right(pool, prefix);
}

void FamilyPlanner::assign(std::size_t cluster, PlannedRange range, bool grows) {
  std::string text = request_text({cluster, range.use, {}, nullptr});
  Claim made{range.prefix,       std::move(text),      place_of(cluster),
             region_of(cluster), is_routed(range.use), grows};
  claim(made);
  keep_tracts_right(made);
  assignments_.push_back({cluster, range});
}

void FamilyPlanner::remove(std::size_t cluster, const std::vector<PlannedRange>& ranges) {
  for (const PlannedRange& range : ranges) {
    if (range.prefix.family() != family_) continue;
    for (Pool& pool : pools_) {
      auto [begin, end] = pool.claims.equal_range(range.prefix.base().value());
      auto held = std::find_if(
          begin, end, [&](const auto& entry) { return entry.second.prefix == range.prefix; });
      if (held != end) unclaim(pool, held);
    }
  }
  if (region_of(cluster) != kNobody) find_tracts_of(region_of(cluster));
}

// Whether a range that may grow lies at exactly this place.
bool FamilyPlanner::grows_at(const Pool& pool, const Prefix& prefix) {
  auto [begin, end] = pool.claims.equal_range(prefix.base().value());
  return std::any_of(begin, end, [&](const auto& entry) {
    return entry.second.grows && entry.second.prefix == prefix;
  });
}

void FamilyPlanner::reopen(Pool& pool, const Prefix& part) {
  if (!pool.free.contains(part) || pool.open.contains(part)) return;
  pool.open.remove(part);
  pool.open.add(part);
}

void FamilyPlanner::find_rooms() {
  mapped_ = true;
  for (Pool& pool : pools_)
    for (const auto& [base, claim] : pool.claims)
      if (claim.grows) keep_rooms_right(pool, claim.prefix);
}

// After something at `changed` was taken or given back: its own room, and that which it lies in.
void FamilyPlanner::keep_rooms_right(Pool& pool, const Prefix& changed) {
  const int root = pool.root->prefix.length();
  if (changed.length() <= root) return;
  // The nearest claim tells: what is wider than the block around both has it inside.
  int around = -1;
  auto look = [&](const Claim& other) {
    if (!other.prefix.overlaps(changed))
      around = std::max(around, cover_of(other.prefix, changed).length());
  };
  auto at = pool.claims.lower_bound(changed.base().value());
  if (at != pool.claims.begin()) look(std::prev(at)->second);
  while (at != pool.claims.end() && at->second.prefix == changed) ++at;
  if (at != pool.claims.end()) look(at->second);
  const Prefix room(changed.base(), std::max(around, root - 1) + 1);
  if (around >= root && grows_at(pool, sibling_of(room))) {
    if (pool.free.contains(room)) {
      pool.open.remove(room);
    } else {
      for (int below = room.length() + 1; below <= changed.length(); ++below)
        reopen(pool, sibling_of(Prefix(changed.base(), below)));
    }
  }
  const Prefix own = sibling_of(changed);
  if (pool.free.contains(own) && grows_at(pool, changed)) pool.open.remove(own);
}

}  // namespace tombolo
