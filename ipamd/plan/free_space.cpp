// The free part of a range as aligned power-of-two blocks, ordered by size and address. Every step
// costs at most (prefix lengths) x log(blocks).
#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

std::size_t slot(int length) {
  return static_cast<std::size_t>(length);
}

}  // namespace

Prefix sibling_of(const Prefix& block) {
  int host_bits = block.host_bits();
  return {Ip(block.family(), block.base().value() ^ (uint128{1} << host_bits)), block.length()};
}

Prefix cover_of(const Prefix& a, const Prefix& b) {
  Prefix cover = a;
  while (!cover.contains(b)) cover = Prefix(cover.base(), cover.length() - 1);
  return cover;
}

std::optional<Prefix> FreeSpace::holder_of(const Prefix& block) const {
  for (int length = 0; length <= block.length(); ++length) {
    if (by_length_[slot(length)].empty()) continue;
    Prefix candidate(block.base(), length);
    if (by_length_[slot(length)].contains(candidate.base().value())) return candidate;
  }
  return std::nullopt;
}

bool FreeSpace::contains(const Prefix& block) const {
  return holder_of(block).has_value();
}

void FreeSpace::add(Prefix block) {
  ENSURE(block.family() == family_ && !contains(block), "{} is free already", block);
  while (block.length() > shortest_) {
    Prefix sibling = sibling_of(block);
    if (by_length_[slot(block.length())].erase(sibling.base().value()) == 0) break;
    block = Prefix(block.base(), block.length() - 1);
  }
  by_length_[slot(block.length())].insert(block.base().value());
}

void FreeSpace::remove(const Prefix& hole) {
  if (hole.family() != family_) return;
  if (auto holder = holder_of(hole)) {
    by_length_[slot(holder->length())].erase(holder->base().value());
    for (int length = holder->length() + 1; length <= hole.length(); ++length)
      by_length_[slot(length)].insert(sibling_of(Prefix(hole.base(), length)).base().value());
    return;
  }
  for (int length = hole.length() + 1; length <= bits_of(family_); ++length) {
    auto& blocks = by_length_[slot(length)];
    blocks.erase(blocks.lower_bound(hole.base().value()), blocks.upper_bound(hole.last().value()));
  }
}

std::optional<int> FreeSpace::best_fit_length(int length) const {
  for (int at = length; at >= 0; --at)
    if (!by_length_[slot(at)].empty()) return at;
  return std::nullopt;
}

std::optional<Prefix> FreeSpace::best_fit(int length) const {
  auto at = best_fit_length(length);
  if (!at) return std::nullopt;
  return Prefix(Ip(family_, *by_length_[slot(*at)].begin()), length);
}

std::optional<Prefix> FreeSpace::best_fit_inside(int length, const Prefix& cover) const {
  if (length < cover.length()) return std::nullopt;
  if (contains(cover)) return Prefix(cover.base(), length);
  for (int at = length; at > cover.length(); --at) {
    const auto& blocks = by_length_[slot(at)];
    auto block = blocks.lower_bound(cover.base().value());
    if (block != blocks.end() && *block <= cover.last().value())
      return Prefix(Ip(family_, *block), length);
  }
  return std::nullopt;
}

std::optional<uint128> FreeSpace::lowest_of(int length) const {
  const auto& blocks = by_length_[slot(length)];
  if (blocks.empty()) return std::nullopt;
  return *blocks.begin();
}

std::vector<Prefix> FreeSpace::blocks() const {
  std::vector<Prefix> result;
  for (int length = 0; length <= bits_of(family_); ++length)
    for (uint128 base : by_length_[slot(length)]) result.emplace_back(Ip(family_, base), length);
  return result;
}

Sizes FreeSpace::sizes() const {
  Sizes sizes;
  for (int length = 0; length <= bits_of(family_); ++length)
    if (std::size_t count = by_length_[slot(length)].size(); count > 0)
      sizes.add(bits_of(family_) - length, static_cast<std::uint32_t>(count));
  return sizes;
}

uint128 FreeSpace::addresses() const {
  uint128 sum = 0;
  for (const Prefix& block : blocks()) sum += block.size();
  return sum;
}

}  // namespace tombolo
