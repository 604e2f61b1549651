// Counts of power-of-two sizes: whether they fit, how they are packed, how a demand is split. The
// arithmetic under the search for the fewest routes (optimum.cpp).
#include <algorithm>

#include "core/error.h"
#include "ipamd/plan/optimum.h"

namespace tombolo {
namespace {

constexpr int kMostExponent = 127;

std::size_t slot(int exponent) {
  ENSURE(exponent >= 0 && exponent <= kMostExponent, "2^{} addresses", exponent);
  return static_cast<std::size_t>(exponent);
}

// Cuts one block of 2^from until there is one more, and another, of 2^to.
void cut(Sizes& bins, int from, int to) {
  --bins.count[slot(from)];
  for (int at = from - 1; at >= to; --at) ++bins.count[slot(at)];
  ++bins.count[slot(to)];
}

}  // namespace

void Sizes::add(int exponent, std::uint32_t more) {
  count[slot(exponent)] += more;
}

void Sizes::add(const Sizes& other) {
  for (std::size_t i = 0; i < count.size(); ++i) count[i] += other.count[i];
}

uint128 Sizes::total() const {
  uint128 sum = 0;
  for (std::size_t i = 0; i < count.size(); ++i) sum += uint128{count[i]} << i;
  return sum;
}

int Sizes::largest() const {
  for (int at = kMostExponent; at >= 0; --at)
    if (count[slot(at)] > 0) return at;
  return -1;
}

std::uint32_t Sizes::number() const {
  std::uint32_t sum = 0;
  for (std::uint32_t each : count) sum += each;
  return sum;
}

bool fits(const Sizes& items, const Sizes& bins) {
  uint128 room = 0;  // in blocks of the size that is looked at
  for (int at = kMostExponent; at >= 0; --at) {
    room = (room << 1) + bins.count[slot(at)];
    if (items.count[slot(at)] > room) return false;
    room -= items.count[slot(at)];
  }
  return true;
}

Sizes pack(const Sizes& items, Sizes& bins) {
  Sizes left;
  for (int at = kMostExponent; at >= 0; --at) {
    std::uint32_t wanted = items.count[slot(at)];
    while (wanted > 0) {
      std::uint32_t here = std::min(wanted, bins.count[slot(at)]);
      bins.count[slot(at)] -= here;
      wanted -= here;
      if (wanted == 0) break;
      int larger = at + 1;
      while (larger <= kMostExponent && bins.count[slot(larger)] == 0) ++larger;
      if (larger > kMostExponent) break;
      cut(bins, larger, at);
    }
    left.count[slot(at)] = wanted;
  }
  return left;
}

Sizes split_demand(uint128 demand, int pieces, int most) {
  Sizes blocks;
  std::uint32_t used = 0;
  for (int at = most; at >= 0 && demand != 0; --at) {
    uint128 block = uint128{1} << at;
    uint128 whole = demand / block;
    if (whole > static_cast<std::uint32_t>(pieces) - used) return {};
    blocks.add(at, static_cast<std::uint32_t>(whole));
    used += static_cast<std::uint32_t>(whole);
    demand -= whole * block;
    if (demand == 0 || used < static_cast<std::uint32_t>(pieces)) continue;
    // No piece is left for the rest: the last is rounded up, and two equal blocks become one.
    demand = 0;
    if (used == 0) return {};
    int last = at;
    while (blocks.count[slot(last)] == 0) ++last;
    ++blocks.count[slot(last)];
    for (; last < most && blocks.count[slot(last)] >= 2; ++last) {
      blocks.count[slot(last)] -= 2;
      ++blocks.count[slot(last) + 1];
    }
    if (blocks.number() > static_cast<std::uint32_t>(pieces)) return {};
  }
  return blocks;
}

}  // namespace tombolo
