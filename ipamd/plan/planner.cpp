// The search. Order of events for one family: fixed claims, then everything that the previous plan
// had and that still fits, then growth in place, then new ranges. New ranges are placed largest
// first: with power-of-two requests and blocks any such order finds a place for all whenever one
// exists, so the choice among free blocks is free to serve summary routes and fragmentation.
#include "ipamd/plan/planner.h"

#include <algorithm>

namespace tombolo {
namespace {

constexpr int kMostPieces = 4;  // blocks per region that are tried before giving up on summaries

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

FamilyPlanner::FamilyPlanner(const Fleet& fleet, Family family, const Plan* previous)
    : fleet_(fleet), family_(family), previous_(previous) {
  for (const FleetRoot& root : fleet.roots) {
    if (root.prefix.family() != family) continue;
    FreeSpace space(family, root.prefix.length());
    space.add(root.prefix);
    Pool pool{&root, space, space, {}};
    pools_.push_back(std::move(pool));
  }
}

Result<std::vector<Assignment>> FamilyPlanner::run() {
  TRY(fixed, fixed_claims(fleet_, family_));
  for (const Claim& each : fixed) claim(each);
  TRY_OK(collect());
  std::erase_if(requests_, [&](const Request& request) { return keep(request); });
  // What has to grow or move keeps its old addresses off the market until both are decided.
  for (const Request& request : requests_) hold(request);
  std::ranges::sort(requests_, {}, [this](const Request& r) { return order_of(r); });
  std::erase_if(requests_, [&](const Request& request) { return grow(request); });

  close_regions();

  std::vector<Group> all = groups();
  std::optional<Missing> missing;
  for (int pieces : {1, 2, 3, kMostPieces, 0}) {
    FamilyPlanner attempt = *this;
    missing = attempt.place(all, pieces);
    if (!missing) return std::move(attempt.assignments_);
    if (pieces == 0) return std::unexpected(attempt.explain(*missing));
  }
  return fail(Code::kInternal, "no attempt was made");
}

Result<void> FamilyPlanner::collect() {
  if (has_family(fleet_.families, family_)) TRY_OK(want(kNoCluster, BlockUse::kClusterset));
  for (std::size_t i = 0; i < fleet_.clusters.size(); ++i) {
    if (!has_family(fleet_.clusters[i].families, family_)) continue;
    for (BlockUse use : {BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService})
      TRY_OK(want(i, use));
  }
  return {};
}

Result<void> FamilyPlanner::want(std::size_t cluster, BlockUse use) {
  const auto& given =
      cluster == kNoCluster ? fleet_.clusterset_given : fleet_.clusters[cluster].given;
  for (const GivenRange& range : given) {
    if (range.use != use || range.prefix.family() != family_) continue;
    if (cluster != kNoCluster) TRY_OK(check_given(fleet_, fleet_.clusters[cluster], range));
    assignments_.push_back(
        {cluster, {use, range.prefix, range.node_prefix_length, RangeOrigin::kGiven}});
    return {};
  }
  Request request{cluster, use, {}, previous_range(cluster, use)};
  if (cluster == kNoCluster) {
    request.size = clusterset_size(fleet_.clusterset_services, family_);
  } else {
    TRY(size, size_of(fleet_, fleet_.clusters[cluster], use, family_, 0));
    request.size = size;
    // Node blocks that exist stay as large as they are, unless the pods need larger ones.
    if (use == BlockUse::kPod && request.previous != nullptr &&
        request.previous->node_prefix_length <= size.node_prefix_length) {
      auto same = size_of(fleet_, fleet_.clusters[cluster], use, family_,
                          request.previous->node_prefix_length);
      if (same) request.size = *same;
    }
  }
  requests_.push_back(request);
  return {};
}

// True when the previous range does, as it is.
bool FamilyPlanner::keep(const Request& request) {
  const PlannedRange* old = request.previous;
  if (old == nullptr || old->prefix.length() > request.size.length ||
      old->node_prefix_length != request.size.node_prefix_length)
    return false;
  const auto& clusters = fleet_.clusters;
  if (request.cluster != kNoCluster) {
    // Larger than needed is fine, but not larger than a rule allows.
    GivenRange as_given{request.use, old->prefix, old->node_prefix_length, {}};
    if (!check_given(fleet_, clusters[request.cluster], as_given)) return false;
  }
  Pool* pool = pool_around(old->prefix, request.use, region_of(request.cluster));
  if (pool == nullptr || !pool->free.contains(old->prefix)) return false;
  assign(request.cluster, {request.use, old->prefix, old->node_prefix_length, RangeOrigin::kKept});
  return true;
}

// True when the previous range can be enlarged around its addresses.
bool FamilyPlanner::grow(const Request& request) {
  const PlannedRange* old = request.previous;
  if (old == nullptr || old->prefix.length() <= request.size.length ||
      old->node_prefix_length != request.size.node_prefix_length)
    return false;
  Prefix grown(old->prefix.base(), request.size.length);
  Pool* pool = pool_around(grown, request.use, region_of(request.cluster));
  if (pool == nullptr) return false;
  // The old range itself is held (see hold); everything else up to the new size must be free.
  for (int length = old->prefix.length(); length > grown.length(); --length) {
    Prefix part(old->prefix.base(), length);
    Prefix other(Ip(family_, part.base().value() ^ (uint128{1} << part.host_bits())), length);
    if (!pool->free.contains(other)) return false;
  }
  auto [begin, end] = pool->claims.equal_range(old->prefix.base().value());
  auto held = std::find_if(begin, end,
                           [&](const auto& entry) { return entry.second.prefix == old->prefix; });
  if (held == end || held->second.text != former_text(request)) return false;
  pool->claims.erase(held);
  assign(request.cluster, {request.use, grown, old->node_prefix_length, RangeOrigin::kGrown});
  return true;
}

// The largest first; ids rather than places in the file decide between equals.
std::tuple<int, std::uint32_t, BlockUse> FamilyPlanner::order_of(const Request& request) const {
  std::uint32_t id = request.cluster == kNoCluster ? 0 : fleet_.clusters[request.cluster].id;
  return {request.size.length, id, request.use};
}

void FamilyPlanner::hold(const Request& request) {
  if (request.previous == nullptr) return;
  const Prefix& prefix = request.previous->prefix;
  for (Pool& pool : pools_)
    if (pool.root->prefix.contains(prefix) && pool.free.contains(prefix)) {
      claim({prefix, former_text(request), {}, region_of(request.cluster)});
      return;
    }
}

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
  for (const auto& [base, own] : pool.claims) {
    if (own.owner != region || !pool.root->prefix.contains(own.prefix)) continue;
    int longest = std::min(own.prefix.length(), length) - 1;
    for (int at = longest; at >= pool.root->prefix.length() && at > best_cover; --at) {
      Prefix cover(own.prefix.base(), at);
      if (foreign_inside(pool, cover, region)) break;
      auto fit = pool.free.best_fit_inside(length, cover);
      if (!fit) continue;
      best = fit;
      best_cover = at;
      break;
    }
  }
  return best;
}

void FamilyPlanner::claim(const Claim& claim) {
  for (Pool& pool : pools_) {
    if (!pool.root->prefix.overlaps(claim.prefix)) continue;
    pool.free.remove(claim.prefix);
    pool.open.remove(claim.prefix);
    pool.claims.emplace(claim.prefix.base().value(), claim);
  }
}

void FamilyPlanner::assign(std::size_t cluster, PlannedRange range) {
  std::string text = request_text({cluster, range.use, {}, nullptr});
  claim({range.prefix, std::move(text), place_of(cluster), region_of(cluster)});
  assignments_.push_back({cluster, range});
}

std::string FamilyPlanner::region_of(std::size_t cluster) const {
  return cluster == kNoCluster ? std::string() : fleet_.clusters[cluster].region;
}

bool FamilyPlanner::admits(const Pool& pool, BlockUse use, const std::string& region) const {
  const auto& uses = pool.root->uses;
  const auto& regions = pool.root->regions;
  return (uses.empty() || std::ranges::find(uses, use) != uses.end()) &&
         (regions.empty() || std::ranges::find(regions, region) != regions.end());
}

// The pools open to a use in a region: first those made for the region, then those made for the
// use, then the general ones.
std::vector<std::vector<std::size_t>> FamilyPlanner::tiers_of(BlockUse use,
                                                              const std::string& region) const {
  std::array<std::vector<std::size_t>, 4> by_rank;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (!admits(pools_[i], use, region)) continue;
    const FleetRoot& root = *pools_[i].root;
    by_rank.at((root.regions.empty() ? 2U : 0U) + (root.uses.empty() ? 1U : 0U)).push_back(i);
  }
  std::vector<std::vector<std::size_t>> tiers;
  for (auto& rank : by_rank)
    if (!rank.empty()) tiers.push_back(std::move(rank));
  return tiers;
}

FamilyPlanner::Pool* FamilyPlanner::pool_around(const Prefix& prefix, BlockUse use,
                                                const std::string& region) {
  for (Pool& pool : pools_)
    if (pool.root->prefix.contains(prefix) && admits(pool, use, region)) return &pool;
  return nullptr;
}

const PlannedRange* FamilyPlanner::previous_range(std::size_t cluster, BlockUse use) const {
  if (previous_ == nullptr) return nullptr;
  if (cluster == kNoCluster) {
    for (const PlannedRange& range : previous_->clusterset)
      if (range.prefix.family() == family_) return &range;
    return nullptr;
  }
  const PlannedCluster* old = find_cluster(*previous_, fleet_.clusters[cluster].name);
  return old == nullptr ? nullptr : find_range(*old, use, family_);
}

}  // namespace tombolo
