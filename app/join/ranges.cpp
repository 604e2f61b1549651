// Ranges of the two sides that overlap, and where the one that has to move could go.
#include <algorithm>
#include <optional>

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

std::string suggestion(const JoinFacts& here, const JoinFacts& there, const PlanBlock& moves) {
  std::vector<Prefix> taken = taken_by(here, there);
  std::string what = moves.cluster.empty()
                         ? fmt::format("the {} range", to_string(moves.use))
                         : fmt::format("{}'s {} range", moves.cluster, to_string(moves.use));
  for (const JoinFacts* side : {&here, &there})
    for (const Prefix& root : side->roots)
      if (root.family() == moves.prefix.family())
        if (auto found = free_in(root, moves.prefix.length(), taken))
          return fmt::format("move {} from {}, to {} for example", what, moves.prefix, *found);
  return fmt::format("move {} from {}; the plans' address space has no room for it", what,
                     moves.prefix);
}

}  // namespace

void check_ranges(const JoinFacts& here, const JoinFacts& there, Findings& findings) {
  for (const PlanBlock& ours : here.ranges)
    for (const PlanBlock& theirs : there.ranges) {
      if (same_range(ours, theirs)) {
        if (ours.prefix != theirs.prefix && (ours.cluster.empty() || here.cluster != there.cluster))
          findings.conflict("cidr", title(ours), title(theirs),
                            "the two plans disagree: apply one fleet file on both sides");
        continue;
      }
      if (!ours.prefix.overlaps(theirs.prefix)) continue;
      // Whoever is larger has more to renumber.
      const PlanBlock& moves = ours.prefix.length() > theirs.prefix.length() ? ours : theirs;
      findings.conflict("cidr", title(ours), title(theirs), suggestion(here, there, moves));
    }
}

}  // namespace tombolo::join
