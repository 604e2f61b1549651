// Lowest free block by one walk over the sorted taken ones.
#include "ipamd/allocator/node_blocks.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "ipamd/allocator/address_pool.h"

namespace tombolo {
namespace {

// Hands out the free blocks of one range in ascending order.
class FreeBlocks {
 public:
  FreeBlocks(const PlanBlock& range, const std::vector<NodeBlock>& existing)
      : range_(range.prefix), length_(range.node_prefix_length) {
    if (length_ < range_.length() || length_ > bits_of(range_.family())) return;
    count_ = uint128{1} << std::min(length_ - range_.length(), 64);
    for (const auto& block : existing)
      if (block.prefix.overlaps(range_))
        taken_.emplace_back(index_of(std::max(block.prefix.first(), range_.first())),
                            index_of(std::min(block.prefix.last(), range_.last())));
    std::ranges::sort(taken_);
  }

  std::optional<Prefix> peek() {
    for (; at_ < taken_.size() && taken_[at_].first <= next_; ++at_)
      next_ = std::max(next_, taken_[at_].second + 1);
    if (next_ >= count_) return std::nullopt;
    return Prefix(range_.at(next_ << host_bits()), length_);
  }
  void take() { ++next_; }

 private:
  int host_bits() const { return bits_of(range_.family()) - length_; }
  uint128 index_of(Ip ip) const { return (ip.value() - range_.first().value()) >> host_bits(); }

  Prefix range_;
  int length_;
  uint128 count_ = 0;
  std::vector<std::pair<uint128, uint128>> taken_;  // first and last index, by first
  std::size_t at_ = 0;
  uint128 next_ = 0;
};

}  // namespace

NodeBlockAssignment assign_node_blocks(const std::vector<PlanBlock>& pod_ranges,
                                       const std::vector<NodeBlock>& existing,
                                       std::vector<std::string> nodes) {
  std::map<Family, std::vector<FreeBlocks>> free;
  for (const auto& range : pod_ranges)
    if (range.use == BlockUse::kPod) free[range.prefix.family()].emplace_back(range, existing);
  std::set<std::pair<std::string, Family>> have;
  for (const auto& block : existing) have.emplace(block.node, block.prefix.family());
  std::ranges::sort(nodes);
  nodes.erase(std::ranges::unique(nodes).begin(), nodes.end());

  NodeBlockAssignment result;
  for (const auto& node : nodes) {
    std::vector<std::pair<FreeBlocks*, Prefix>> chosen;
    std::string missing;
    for (auto& [family, ranges] : free) {
      if (have.contains({node, family})) continue;
      std::optional<Prefix> block;
      for (auto& range : ranges) {
        block = range.peek();
        if (!block) continue;
        chosen.emplace_back(&range, *block);
        break;
      }
      if (!block) missing += fmt::format("{}{}", missing.empty() ? "" : " and ", to_string(family));
    }
    if (!missing.empty()) {
      result.problems.push_back(fmt::format(
          "node {}: the pod ranges have no free {} block left; it gets none", node, missing));
      continue;
    }
    for (auto& [range, block] : chosen) {
      range->take();
      result.added.push_back({node, block});
    }
  }
  return result;
}

StrandedBlocks stranded_blocks(const std::vector<NodeBlock>& existing,
                               const std::vector<std::string>& nodes, Family family) {
  std::set<std::string_view> there(nodes.begin(), nodes.end());
  StrandedBlocks stranded;
  for (const NodeBlock& block : existing) {
    if (block.prefix.family() != family || there.contains(block.node)) continue;
    IpRange range = usable_range(block.prefix);
    ++stranded.blocks;
    stranded.addresses += static_cast<double>(range.last.value() - range.first.value()) + 1;
  }
  return stranded;
}

}  // namespace tombolo
