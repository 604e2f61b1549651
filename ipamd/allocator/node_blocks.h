// Which part of a cluster's pod range belongs to which node. Pure: the controller calls it with
// what its tables say, writes the result durably, and only then shows it. Any thread.
#pragma once

#include <string>
#include <vector>

#include "core/tables.h"

namespace tombolo {

struct NodeBlockAssignment {
  std::vector<NodeBlock> added;
  // One line per node that could not be given all it needs, naming node, family and range.
  std::vector<std::string> problems;
};

// One block of each family for every node of `nodes` that has none of it yet: the lowest free one
// of size node_prefix_length, ranges in their order, nodes by name. Blocks in `existing` are never
// changed or given again, whoever holds them and whether or not they are inside the ranges: a
// block is freed only by leaving it out. A node gets all families or nothing. `pod_ranges` are
// the plan's blocks of use kPod of this cluster; others are ignored.
NodeBlockAssignment assign_node_blocks(const std::vector<PlanBlock>& pod_ranges,
                                       const std::vector<NodeBlock>& existing,
                                       std::vector<std::string> nodes);

// What nobody can use: blocks of nodes that are not among `nodes` (by now).
struct StrandedBlocks {
  std::uint64_t blocks = 0;
  double addresses = 0;  // that could be given out; of IPv6 more than an integer holds
};
StrandedBlocks stranded_blocks(const std::vector<NodeBlock>& existing,
                               const std::vector<std::string>& nodes, Family family);

}  // namespace tombolo
