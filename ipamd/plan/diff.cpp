// What a change of plan means, in lines for a human: "+" added, "-" removed, "~" changed.
#include <algorithm>
#include <set>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

using Lines = std::vector<std::string>;

std::string text_of(const PlannedRange& range) {
  if (range.use != BlockUse::kPod) return range.prefix.str();
  return fmt::format("{}, /{} per node", range.prefix, range.node_prefix_length);
}

std::string text_of(const std::vector<Ip>& ips) {
  std::string text;
  for (Ip ip : ips) text += fmt::format("{}{}", text.empty() ? "" : " ", ip);
  return text.empty() ? "none" : text;
}

// Whether addresses that are in use stay valid.
std::string_view kind_of(const PlannedRange& before, const PlannedRange& after) {
  if (before.node_prefix_length == after.node_prefix_length) {
    if (after.prefix.contains(before.prefix)) return "grows in place";
    if (before.prefix.contains(after.prefix)) return "shrinks in place";
  }
  return "moves";
}

const PlannedRange* same_kind(const std::vector<PlannedRange>& ranges, const PlannedRange& range) {
  for (const PlannedRange& each : ranges)
    if (each.use == range.use && each.prefix.family() == range.prefix.family()) return &each;
  return nullptr;
}

void diff_ranges(Lines& lines, std::string_view whose, const std::vector<PlannedRange>& before,
                 const std::vector<PlannedRange>& after) {
  auto name = [&](const PlannedRange& range) {
    return fmt::format("{}{} {}", whose, to_string(range.use), to_string(range.prefix.family()));
  };
  for (const PlannedRange& range : before)
    if (same_kind(after, range) == nullptr)
      lines.push_back(fmt::format("- {}: {}", name(range), text_of(range)));
  for (const PlannedRange& range : after) {
    const PlannedRange* old = same_kind(before, range);
    if (old == nullptr)
      lines.push_back(fmt::format("+ {}: {}", name(range), text_of(range)));
    else if (text_of(*old) != text_of(range))
      lines.push_back(fmt::format("~ {}: {} -> {} ({})", name(range), text_of(*old), text_of(range),
                                  kind_of(*old, range)));
  }
}

void diff_subnets(Lines& lines, std::string_view whose, const std::vector<Subnet>& before,
                  const std::vector<Subnet>& after) {
  auto add = [&](char mark, const std::vector<Subnet>& some, const std::vector<Subnet>& others) {
    for (const Subnet& subnet : some)
      if (std::ranges::find(others, subnet) == others.end())
        lines.push_back(fmt::format("{} {}{} {}", mark, whose, subnet_name(subnet), subnet.prefix));
  };
  add('-', before, after);
  add('+', after, before);
}

template <class T>
void diff_value(Lines& lines, std::string_view name, const T& before, const T& after) {
  if (before != after) lines.push_back(fmt::format("~ {}: {} -> {}", name, before, after));
}

void diff_cluster(Lines& lines, const PlannedCluster& before, const PlannedCluster& after) {
  std::string whose = after.name + " ";
  diff_value(lines, whose + "id", before.id, after.id);
  diff_value(lines, whose + "region", before.region, after.region);
  diff_value(lines, whose + "cloud", to_string(before.cloud), to_string(after.cloud));
  diff_value(lines, whose + "nodes", before.nodes, after.nodes);
  diff_value(lines, whose + "pods per node", before.pods_per_node, after.pods_per_node);
  diff_value(lines, whose + "pod addresses", to_string(before.pod_addresses),
             to_string(after.pod_addresses));
  diff_ranges(lines, whose, before.ranges, after.ranges);
  diff_subnets(lines, whose, before.subnets, after.subnets);
  diff_value(lines, whose + "entry", text_of(before.entry), text_of(after.entry));
}

void diff_sets(Lines& lines, std::string_view name, const std::multiset<std::string>& before,
               const std::multiset<std::string>& after) {
  for (const std::string& each : before)
    if (before.count(each) > after.count(each)) lines.push_back(fmt::format("- {} {}", name, each));
  for (const std::string& each : after)
    if (after.count(each) > before.count(each)) lines.push_back(fmt::format("+ {} {}", name, each));
}

std::multiset<std::string> reserves_of(const Plan& plan) {
  std::multiset<std::string> texts;
  for (const PlannedReserve& range : plan.reserved)
    texts.insert(range.note.empty() ? range.prefix.str()
                                    : fmt::format("{} ({})", range.prefix, range.note));
  return texts;
}

}  // namespace

std::vector<std::string> diff_plans(const Plan& before, const Plan& after) {
  Lines lines;
  diff_value(lines, "fleet", before.fleet, after.fleet);
  std::multiset<std::string> roots_before;
  std::multiset<std::string> roots_after;
  for (const Prefix& root : before.roots) roots_before.insert(root.str());
  for (const Prefix& root : after.roots) roots_after.insert(root.str());
  diff_sets(lines, "address space", roots_before, roots_after);
  diff_sets(lines, "reserved", reserves_of(before), reserves_of(after));
  diff_ranges(lines, "", before.clusterset, after.clusterset);
  for (const PlannedCluster& old : before.clusters)
    if (find_cluster(after, old.name) == nullptr) {
      lines.push_back(fmt::format("- cluster {} (id {}, region {})", old.name, old.id, old.region));
      diff_ranges(lines, old.name + " ", old.ranges, {});
      diff_subnets(lines, old.name + " ", old.subnets, {});
    }
  for (const PlannedCluster& cluster : after.clusters) {
    const PlannedCluster* old = find_cluster(before, cluster.name);
    if (old != nullptr) {
      diff_cluster(lines, *old, cluster);
      continue;
    }
    lines.push_back(
        fmt::format("+ cluster {} (id {}, region {})", cluster.name, cluster.id, cluster.region));
    diff_ranges(lines, cluster.name + " ", {}, cluster.ranges);
    diff_subnets(lines, cluster.name + " ", {}, cluster.subnets);
  }
  return lines;
}

}  // namespace tombolo
