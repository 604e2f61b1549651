// Ranges of the two sides that overlap, and where the one that has to move could go.
#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "app/join/internal.h"

namespace tombolo::join {
namespace {

std::string title(const PlanBlock& block) {
  if (block.cluster.empty()) return fmt::format("{} {}", to_string(block.use), block.prefix);
  return fmt::format("{} {} {}", block.cluster, to_string(block.use), block.prefix);
}

bool same_range(const PlanBlock& a, const PlanBlock& b) {
  return a.cluster == b.cluster && a.use == b.use && a.prefix.family() == b.prefix.family();
}

// All that is taken, disjoint and by address.
std::vector<Prefix> taken_by(const JoinFacts& here, const JoinFacts& there) {
  std::vector<Prefix> all;
  for (const JoinFacts* side : {&here, &there})
    for (const PlanBlock& block : side->ranges) all.push_back(block.prefix);
  std::ranges::sort(all);
  std::vector<Prefix> outer;
  for (const Prefix& prefix : all)
    if (outer.empty() || !outer.back().contains(prefix)) outer.push_back(prefix);
  return outer;
}

// The first prefix of this length in `root` that overlaps nothing of `taken`.
std::optional<Prefix> free_in(const Prefix& root, int length, const std::vector<Prefix>& taken) {
  if (length < root.length()) return std::nullopt;
  Prefix candidate(root.base(), length);
  for (const Prefix& prefix : taken) {
    if (prefix.family() != root.family() || prefix.last() < candidate.first()) continue;
    if (!prefix.overlaps(candidate)) return candidate;
    auto next = std::max(prefix.last(), candidate.last()).plus(1);
    if (!next || !root.contains(*next)) return std::nullopt;
    // Up to the next multiple of the length.
    Prefix aligned(*next, length);
    if (aligned.first() < *next) {
      auto after = aligned.last().plus(1);
      if (!after) return std::nullopt;
      aligned = Prefix(*after, length);
    }
    candidate = aligned;
    if (!root.contains(candidate)) return std::nullopt;
  }
  return candidate;
}

// Two files from outside could overlap everywhere.
constexpr std::size_t kMostOverlaps = 10'000;

class RangeCheck {
 public:
  RangeCheck(const JoinFacts& here, const JoinFacts& there, Findings& findings)
      : here_(here), there_(there), findings_(findings), taken_(taken_by(here, there)) {
    for (const PlanBlock& block : there.ranges) {
      by_prefix_[block.prefix].push_back(&block);
      by_owner_[{block.cluster, block.use, block.prefix.family()}] = &block;
    }
  }

  void run() {
    for (const PlanBlock& ours : here_.ranges) {
      disagreement(ours);
      // Prefixes overlap when one holds the other: those around ours, then those within.
      for (int length = 0; length < ours.prefix.length(); ++length)
        at(ours, Prefix(ours.prefix.base(), length));
      for (auto inner = by_prefix_.lower_bound(ours.prefix);
           inner != by_prefix_.end() && ours.prefix.contains(inner->first); ++inner)
        at(ours, inner->first);
      if (overlaps_ >= kMostOverlaps) return;
    }
  }

 private:
  void disagreement(const PlanBlock& ours) {
    // Two clusters of one name are a finding of their own.
    if (!ours.cluster.empty() && here_.cluster == there_.cluster) return;
    auto theirs = by_owner_.find({ours.cluster, ours.use, ours.prefix.family()});
    if (theirs != by_owner_.end() && theirs->second->prefix != ours.prefix)
      findings_.conflict("cidr", title(ours), title(*theirs->second),
                         "the two plans disagree: apply one fleet file on both sides");
  }

  void at(const PlanBlock& ours, const Prefix& prefix) {
    auto found = by_prefix_.find(prefix);
    if (found == by_prefix_.end()) return;
    for (const PlanBlock* theirs : found->second) {
      if (same_range(ours, *theirs) || overlaps_ >= kMostOverlaps) continue;
      ++overlaps_;
      // Whoever is larger has more to renumber.
      const PlanBlock& moves = ours.prefix.length() > theirs->prefix.length() ? ours : *theirs;
      findings_.conflict("cidr", title(ours), title(*theirs), suggestion(moves));
    }
  }

  std::string suggestion(const PlanBlock& moves) const {
    // What is not shown needs none.
    if (overlaps_ > kMostSuggestions) return "";
    std::string what = moves.cluster.empty()
                           ? fmt::format("the {} range", to_string(moves.use))
                           : fmt::format("{}'s {} range", moves.cluster, to_string(moves.use));
    for (const JoinFacts* side : {&here_, &there_})
      for (const Prefix& root : side->roots)
        if (root.family() == moves.prefix.family())
          if (auto found = free_in(root, moves.prefix.length(), taken_))
            return fmt::format("move {} from {}, to {} for example", what, moves.prefix, *found);
    return fmt::format("move {} from {}; the plans' address space has no room for it", what,
                       moves.prefix);
  }

  static constexpr std::size_t kMostSuggestions = 100;

  const JoinFacts& here_;
  const JoinFacts& there_;
  Findings& findings_;
  std::vector<Prefix> taken_;
  std::map<Prefix, std::vector<const PlanBlock*>> by_prefix_;
  std::map<std::tuple<std::string, BlockUse, Family>, const PlanBlock*> by_owner_;
  std::size_t overlaps_ = 0;
};

}  // namespace

void check_ranges(const JoinFacts& here, const JoinFacts& there, Findings& findings) {
  RangeCheck(here, there, findings).run();
}

}  // namespace tombolo::join
