// A plan as rows and lines for the command line.
#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

std::vector<std::string> row_of(const std::string& cluster, const std::string& region,
                                const PlannedRange& range) {
  return {
      cluster,
      region,
      std::string(to_string(range.use)),
      std::string(to_string(range.prefix.family())),
      range.prefix.str(),
      count_text(range.prefix.size()),
      range.use == BlockUse::kPod ? fmt::format("/{}", range.node_prefix_length) : std::string("-"),
      std::string(to_string(range.origin))};
}

std::string percent(uint128 part, uint128 whole) {
  double share = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return part != 0 && share < 0.01 ? std::string("under 0.01 %") : fmt::format("{:.2f} %", share);
}

// Space of a root by what became of it. Reserved ranges may overlap each other, so they are taken
// out of free space rather than summed.
std::string root_line(const Plan& plan, const Prefix& root) {
  FreeSpace free(root.family(), root.length());
  free.add(root);
  uint128 before = free.addresses();
  for (const PlanBlock& block : blocks_of(plan)) free.remove(block.prefix);
  uint128 planned = before - free.addresses();
  before = free.addresses();
  for (const PlannedReserve& range : plan.reserved) free.remove(range.prefix);
  uint128 reserved = before - free.addresses();
  auto blocks = free.blocks();
  return fmt::format("{}: {} planned, {} reserved, {}", root, percent(planned, root.size()),
                     percent(reserved, root.size()),
                     blocks.empty() ? std::string("nothing free")
                                    : fmt::format("largest free block {}", blocks.front()));
}

}  // namespace

PlanTable plan_table(const Plan& plan, const Fleet* fleet) {
  PlanTable table;
  table.header = {"CLUSTER", "REGION", "USE", "FAMILY", "CIDR", "SIZE", "PER-NODE", "ORIGIN"};
  for (const PlannedCluster& cluster : plan.clusters) {
    for (const PlannedRange& range : cluster.ranges)
      table.rows.push_back(row_of(cluster.name, cluster.region, range));
    for (const Subnet& subnet : cluster.subnets)
      table.rows.push_back({cluster.name, cluster.region, subnet_name(subnet),
                            std::string(to_string(subnet.prefix.family())), subnet.prefix.str(),
                            count_text(subnet.prefix.size()), "-", "-"});
  }
  for (const PlannedRange& range : plan.clusterset) table.rows.push_back(row_of("-", "-", range));

  for (const Prefix& root : plan.roots) table.summary.push_back(root_line(plan, root));
  for (const RegionSummary& region : region_summaries(plan)) {
    std::string prefixes;
    for (const Prefix& prefix : region.prefixes) prefixes += fmt::format(" {}", prefix);
    table.summary.push_back(fmt::format("region {}: {} {} route{}:{}", region.region,
                                        region.prefixes.size(), to_string(region.family),
                                        region.prefixes.size() == 1 ? "" : "s", prefixes));
  }
  for (const Certificate& certificate : plan.certificate)
    table.summary.push_back(text_of(certificate));
  if (fleet != nullptr)
    for (std::string& line : rule_lines(plan, *fleet)) table.summary.push_back(std::move(line));
  auto verdict = fleet == nullptr ? check_disjoint(plan) : check_plan(plan, *fleet);
  std::size_t ranges = blocks_of(plan).size();
  table.summary.push_back(
      verdict ? fmt::format("check: {} ranges and {} reserved ranges, no two overlap{}", ranges,
                            plan.reserved.size(), fleet == nullptr ? "" : ", every size suffices")
              : fmt::format("check: FAILED: {}", verdict.error().what));
  return table;
}

}  // namespace tombolo
