// The ways to cover a region's routed ranges with so many blocks, where services of the region may
// fill what the blocks leave (private to this folder; pure).
#pragma once

#include "ipamd/plan/optimum.h"

namespace tombolo {

struct Cover {
  std::uint32_t pieces = 0;
  uint128 waste = 0;  // addresses of the blocks that neither ranges nor services use
  Sizes blocks;       // none larger than 2^most
};

// For each number of pieces with which less is wasted than with fewer: a cover that wastes least.
// The last wastes nothing. Empty for a region without routed ranges.
std::vector<Cover> least_covers(const RegionDemand& region, int most);

}  // namespace tombolo
