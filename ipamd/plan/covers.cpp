// Covers by arithmetic. The blocks of a cover are the binary digits of a sum X = D + V + waste: D
// the routed addresses, V services taken in. Below some digit everything is rounded up, and as many
// small services as fit make the rounding cheap; above it services are added where their carries
// save digits. The fewest digits above each position, for each carry, are found from the top down.
#include "ipamd/plan/covers.h"

#include <algorithm>

#include "core/error.h"

namespace tombolo {
namespace {

std::size_t slot(int exponent) {
  return static_cast<std::size_t>(exponent);
}

class Digits {
 public:
  Digits(const RegionDemand& region, int most)
      : demand_(region.routed.total()), services_(region.unrouted), most_(most) {
    // The largest carry that can come into each digit.
    std::size_t carry = 1;
    for (int at = 0; at <= most_; ++at) {
      fewest_.emplace_back(carry + 1);
      carry = (carry + services_.count[slot(at)] + 1) / 2 + 1;
    }
    for (int at = most_; at >= 0; --at)
      for (std::size_t c = 0; c < fewest_[slot(at)].size(); ++c) fewest_[slot(at)][c] = best(at, c);
  }

  // The fewest blocks of at least 2^at that hold what is above, and `carry` of 2^at.
  std::uint32_t fewest(int at, std::size_t carry) const { return fewest_[slot(at)][carry].digits; }
  std::size_t most_carry(int at) const { return fewest_[slot(at)].size() - 1; }

  Sizes blocks(int at, std::size_t carry) const {
    Sizes result;
    for (; at < most_; ++at) {
      std::size_t sum = digit(at) + carry + fewest_[slot(at)][carry].services;
      if (sum % 2 == 1) result.add(at);
      carry = sum / 2;
    }
    if (std::uint32_t whole = fewest(most_, carry); whole > 0) result.add(most_, whole);
    return result;
  }

  // What is wasted when all below 2^at is rounded up to `carry` blocks of 2^at, filled with
  // services; nothing when even the ranges do not fit.
  std::optional<uint128> waste(int at, std::size_t carry) const {
    uint128 low = demand_ & ((uint128{1} << at) - 1);
    uint128 room = (uint128{carry} << at);
    if (room < low) return std::nullopt;
    room -= low;
    for (int size = at - 1; size >= 0; --size) {
      uint128 taken = std::min<uint128>(services_.count[slot(size)], room >> size);
      room -= taken << size;
    }
    return room;
  }

 private:
  struct Choice {
    std::uint32_t digits = 0;
    std::uint32_t services = 0;  // of this size that are taken in
  };

  std::size_t digit(int at) const { return static_cast<std::size_t>(demand_ >> at & 1); }

  Choice best(int at, std::size_t carry) const {
    if (at == most_) return {static_cast<std::uint32_t>((demand_ >> at) + carry), 0};
    Choice least{~0U, 0};
    const auto& above = fewest_[slot(at + 1)];
    for (std::uint32_t taken = 0; taken <= services_.count[slot(at)]; ++taken) {
      std::size_t sum = digit(at) + carry + taken;
      if (sum / 2 >= above.size()) break;
      auto digits = static_cast<std::uint32_t>(sum % 2) + above[sum / 2].digits;
      if (digits < least.digits) least = {digits, taken};
    }
    return least;
  }

  uint128 demand_;
  const Sizes& services_;
  int most_;
  std::vector<std::vector<Choice>> fewest_;  // by digit and carry
};

}  // namespace

std::vector<Cover> least_covers(const RegionDemand& region, int most) {
  std::vector<Cover> covers;
  if (region.routed.empty() || most < 0) return covers;
  const Digits digits(region, most);
  struct Point {
    std::uint32_t pieces;
    uint128 waste;
    int at;
    std::size_t carry;
  };
  std::vector<Point> points;
  for (int at = 0; at <= most; ++at)
    for (std::size_t carry = 0; carry <= digits.most_carry(at); ++carry)
      if (auto waste = digits.waste(at, carry))
        points.push_back({digits.fewest(at, carry), *waste, at, carry});
  std::ranges::sort(points, [](const Point& a, const Point& b) {
    return std::tuple(a.pieces, a.waste, a.at, a.carry) <
           std::tuple(b.pieces, b.waste, b.at, b.carry);
  });
  for (const Point& point : points) {
    if (!covers.empty() && point.waste >= covers.back().waste) continue;
    Cover cover{point.pieces, point.waste, digits.blocks(point.at, point.carry)};
    if (fits(region.routed, cover.blocks)) covers.push_back(std::move(cover));
  }
  return covers;
}

}  // namespace tombolo
