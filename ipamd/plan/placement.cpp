// Where new ranges go. They are placed largest first: with power-of-two requests and blocks any
// such order finds a place for all whenever one exists, so the choice among free blocks can serve
// summary routes and keep large blocks whole.
#include <algorithm>
#include <set>

#include "ipamd/plan/planner.h"

namespace tombolo {
namespace {

// Lengths of the fewest blocks, at most `pieces`, that hold `demand` addresses: the binary digits
// of the demand, the last block rounded up. Negative when a block is larger than the family.
std::vector<int> split_demand(uint128 demand, int pieces, int family_bits) {
  std::vector<int> bits;
  for (int bit = 127; bit >= 0 && demand != 0; --bit) {
    uint128 block = uint128{1} << bit;
    if (demand < block) continue;
    demand -= block;
    bits.push_back(bit);
    if (static_cast<int>(bits.size()) < pieces || demand == 0) continue;
    demand = 0;
    ++bits.back();
    // Two equal blocks are one of twice the size.
    while (bits.size() > 1 && bits[bits.size() - 2] == bits.back()) {
      bits.pop_back();
      ++bits.back();
    }
  }
  for (int& bit : bits) bit = family_bits - bit;
  return bits;
}

}  // namespace

// Keeps new ranges of others out of what a region could summarise: from its ranges that are there
// already, and what lies between them as long as nothing foreign does. It is a preference only,
// see take.
void FamilyPlanner::close_regions() {
  for (Pool& pool : pools_) {
    std::map<std::string, Prefix> current;  // by region, while walking up the addresses
    for (const auto& [base, claim] : pool.claims) {
      if (claim.owner.empty() || !pool.root->prefix.contains(claim.prefix)) continue;
      auto [entry, first] = current.emplace(claim.owner, claim.prefix);
      if (first) continue;
      Prefix cover = entry->second;
      while (!cover.contains(claim.prefix)) cover = Prefix(cover.base(), cover.length() - 1);
      if (foreign_inside(pool, cover, claim.owner)) {
        pool.open.remove(entry->second);
        cover = claim.prefix;
      }
      entry->second = cover;
    }
    for (const auto& [region, cover] : current) pool.open.remove(cover);
  }
}

std::vector<FamilyPlanner::Group> FamilyPlanner::groups() const {
  std::vector<Group> result;
  for (const Request& request : requests_) {
    std::string region = region_of(request.cluster);
    bool routed = request.use == BlockUse::kUnderlay || request.use == BlockUse::kPod;
    auto tiers = tiers_of(request.use, region);
    auto group = std::ranges::find_if(result, [&](const Group& each) {
      return each.region == region && each.routed == routed && each.tiers == tiers;
    });
    if (group == result.end()) {
      result.push_back({region, routed, std::move(tiers), {}});
      group = result.end() - 1;
    }
    group->requests.push_back(request);
  }
  return result;
}

std::optional<FamilyPlanner::Missing> FamilyPlanner::place(const std::vector<Group>& all,
                                                           int pieces) {
  // Not merged: neighbours may come from two roots.
  std::vector<FreeSpace> blocks(all.size(), FreeSpace(family_, bits_of(family_)));
  if (auto missing = place_blocks(all, pieces, blocks)) return missing;
  for (std::size_t i = 0; i < all.size(); ++i) fill(all[i], blocks[i]);
  return std::nullopt;
}

// Takes each group's blocks from the pools, the largest of all groups first.
std::optional<FamilyPlanner::Missing> FamilyPlanner::place_blocks(const std::vector<Group>& all,
                                                                  int pieces,
                                                                  std::vector<FreeSpace>& blocks) {
  struct Block {
    int length;
    std::size_t group;
    Request request;  // the largest of the group when the block is for several
  };
  std::vector<Block> wanted;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& requests = all[i].requests;
    if (pieces == 0) {
      for (const Request& request : requests) wanted.push_back({request.size.length, i, request});
      continue;
    }
    uint128 demand = 0;
    for (const Request& request : requests)
      demand += uint128{1} << (bits_of(family_) - request.size.length);
    auto largest = std::ranges::min_element(requests, {}, [](auto& r) { return r.size.length; });
    for (int length : split_demand(demand, pieces, bits_of(family_)))
      wanted.push_back({length, i, *largest});
  }
  std::ranges::sort(wanted, {}, [this](const Block& block) {
    return std::tuple(block.length, block.group, order_of(block.request));
  });
  std::vector<Claim> placed;
  for (const Block& block : wanted) {
    auto taken = block.length < 0 ? std::nullopt : take(all[block.group], block.length);
    if (!taken) return Missing{block.request, all[block.group].tiers, std::move(placed)};
    blocks[block.group].add(*taken);
    placed.push_back({*taken, request_text(block.request), place_of(block.request.cluster), {}});
  }
  return std::nullopt;
}

// Packs a group's requests into the blocks that were taken for it; what is left of them is free
// again.
void FamilyPlanner::fill(const Group& group, FreeSpace& space) {
  auto requests = group.requests;
  std::ranges::sort(requests, {}, [this](const Request& r) { return order_of(r); });
  for (const Prefix& block : space.blocks())
    for (Pool& pool : pools_)
      if (pool.root->prefix.contains(block)) pool.free.add(block);
  for (const Request& request : requests) {
    auto prefix = space.best_fit(request.size.length);
    ENSURE(prefix.has_value(), "{}", request_text(request));
    space.remove(*prefix);
    assign(request.cluster,
           {request.use, *prefix, request.size.node_prefix_length, RangeOrigin::kAssigned});
  }
}

// A free block for a group, taken out of its pool: beside what its region has already, else the
// smallest hole that fits, outside other regions where there is one.
std::optional<Prefix> FamilyPlanner::take(const Group& group, int length) {
  for (const auto& tier : group.tiers) {
    std::optional<Prefix> found;
    for (std::size_t index : tier)
      if (!found) found = near_own(pools_[index], group.region, length);
    for (FreeSpace Pool::* space : {&Pool::open, &Pool::free}) {
      if (found) break;
      int best_length = -1;
      for (std::size_t index : tier) {
        const FreeSpace& candidate = pools_[index].*space;
        auto fit = candidate.best_fit_length(length);
        if (!fit || *fit <= best_length) continue;
        best_length = *fit;
        found = candidate.best_fit(length);
      }
    }
    if (!found) continue;
    for (std::size_t index : tier) {
      pools_[index].free.remove(*found);
      pools_[index].open.remove(*found);
    }
    return found;
  }
  return std::nullopt;
}

bool FamilyPlanner::foreign_inside(const Pool& pool, const Prefix& cover,
                                   const std::string& region) const {
  auto inside = pool.claims.lower_bound(cover.base().value());
  for (; inside != pool.claims.end() && inside->first <= cover.last().value(); ++inside)
    if (inside->second.owner != region) return true;
  return false;
}

// The free block that shares the longest prefix with a range of the same region, when nothing of
// anybody else lies under that prefix.
std::optional<Prefix> FamilyPlanner::near_own(const Pool& pool, const std::string& region,
                                              int length) const {
  std::optional<Prefix> best;
  int best_cover = -1;
  if (region.empty()) return best;
  std::set<Prefix> seen;  // covers that had nothing; wider ones were looked at with them
  for (const auto& [base, own] : pool.claims) {
    if (own.owner != region || !pool.root->prefix.contains(own.prefix)) continue;
    int longest = std::min(own.prefix.length(), length) - 1;
    for (int at = longest; at >= pool.root->prefix.length() && at > best_cover; --at) {
      Prefix cover(own.prefix.base(), at);
      if (!seen.insert(cover).second || foreign_inside(pool, cover, region)) break;
      auto fit = pool.free.best_fit_inside(length, cover);
      if (!fit) continue;
      best = fit;
      best_cover = at;
      break;
    }
  }
  return best;
}

}  // namespace tombolo
