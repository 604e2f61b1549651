// Fresh addresses by a frontier per block, freed ones by a queue per family.
#include "ipamd/allocator/address_pool.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace tombolo {
namespace {

struct Usable {
  Ip first;
  Ip last;
};

Usable usable(const Prefix& prefix) {
  Usable range{prefix.first(), prefix.last()};
  if (prefix.host_bits() < 2) return range;
  range.first = Ip(prefix.family(), range.first.value() + 1);
  if (prefix.family() == Family::kV4) range.last = Ip(Family::kV4, range.last.value() - 1);
  return range;
}

std::uint64_t saturated(uint128 count) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return count > kMost ? kMost : static_cast<std::uint64_t>(count);
}

}  // namespace

Result<void> AddressPool::set_blocks(const std::vector<Prefix>& blocks) {
  std::vector<Prefix> sorted = blocks;
  std::ranges::sort(sorted);
  sorted.erase(std::ranges::unique(sorted).begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i - 1].overlaps(sorted[i]))
      return fail(Code::kInvalidArgument, "the blocks {} and {} overlap", sorted[i - 1].str(),
                  sorted[i].str());
  std::vector<Prefix> gone = this->blocks();
  std::erase_if(gone, [&](const Prefix& old) { return std::ranges::count(blocks, old) > 0; });
  for (const Prefix& prefix : gone) remove_block(of(prefix.family()), prefix);
  for (const Prefix& prefix : blocks)
    if (!of(prefix.family()).blocks.contains(prefix.base())) add_block(of(prefix.family()), prefix);
  return {};
}

std::vector<Prefix> AddressPool::blocks() const {
  std::vector<Prefix> result;
  for (const auto& addresses : families_)
    for (const auto& [base, block] : addresses.blocks) result.push_back(block.prefix);
  return result;
}

void AddressPool::add_block(PerFamily& addresses, const Prefix& prefix) {
  Usable range = usable(prefix);
  addresses.blocks.emplace(prefix.base(), Block{prefix, range.first, range.last, true});
  for (const Ip& ip : in_use_)
    if (prefix.contains(ip)) {
      used_ahead_.insert(ip);
      ++addresses.in_use;
    }
}

void AddressPool::remove_block(PerFamily& addresses, const Prefix& prefix) {
  addresses.blocks.erase(prefix.base());
  std::erase_if(addresses.freed, [&](const Ip& ip) { return prefix.contains(ip); });
  std::erase_if(used_ahead_, [&](const Ip& ip) { return prefix.contains(ip); });
  addresses.in_use -= static_cast<std::uint64_t>(
      std::ranges::count_if(in_use_, [&](const Ip& ip) { return prefix.contains(ip); }));
}

AddressPool::Block* AddressPool::block_of(Ip ip) {
  auto& blocks = of(ip.family()).blocks;
  auto after = blocks.upper_bound(ip);
  if (after == blocks.begin()) return nullptr;
  Block& block = std::prev(after)->second;
  return block.prefix.contains(ip) ? &block : nullptr;
}

// Moves the frontier of a block one address on.
void AddressPool::pass(Block& block) {
  if (block.next_fresh == block.last)
    block.fresh_left = false;
  else
    block.next_fresh = Ip(block.next_fresh.family(), block.next_fresh.value() + 1);
}

std::optional<Ip> AddressPool::next_fresh(PerFamily& addresses) {
  for (auto& [base, block] : addresses.blocks) {
    while (block.fresh_left) {
      Ip ip = block.next_fresh;
      pass(block);
      // Each address that is skipped here was restored once, so skipping is paid for.
      if (used_ahead_.erase(ip) == 0) return ip;
    }
  }
  return std::nullopt;
}

Result<Ip> AddressPool::take(Family family) {
  PerFamily& addresses = of(family);
  std::optional<Ip> taken;
  if (addresses.freed.size() < kFreedLimit) taken = next_fresh(addresses);
  if (!taken && !addresses.freed.empty()) {
    taken = addresses.freed.front();
    addresses.freed.pop_front();
  }
  if (!taken)
    return fail(Code::kResourceExhausted, "no free {} address: {} of {} are in use",
                to_string(family), addresses.in_use, usage(family).total);
  bool added = in_use_.insert(*taken).second;
  ENSURE(added, "{} would be given out twice", taken->str());
  ++addresses.in_use;
  return *taken;
}

void AddressPool::give_back(Ip ip) {
  ENSURE(in_use_.erase(ip) == 1, "{} is given back but not in use", ip.str());
  Block* block = block_of(ip);
  if (block == nullptr) return;
  PerFamily& addresses = of(ip.family());
  --addresses.in_use;
  Usable range = usable(block->prefix);
  if (ip >= range.first && ip <= range.last) addresses.freed.push_back(ip);
}

Result<void> AddressPool::restore_in_use(Ip ip) {
  if (!in_use_.insert(ip).second)
    return fail(Code::kAlreadyExists, "{} is in use already", ip.str());
  if (block_of(ip) != nullptr) {
    ++of(ip.family()).in_use;
    bool added = used_ahead_.insert(ip).second;
    ENSURE(added, "{} is restored as in use after it was restored as free", ip.str());
  }
  return {};
}

void AddressPool::restore_freed(Ip ip) {
  Block* block = block_of(ip);
  if (block == nullptr || in_use_.contains(ip) || !block->fresh_left || ip < block->next_fresh)
    return;
  Usable range = usable(block->prefix);
  if (ip < range.first || ip > range.last || !used_ahead_.insert(ip).second) return;
  of(ip.family()).freed.push_back(ip);
}

FamilyUsage AddressPool::usage(Family family) const {
  uint128 total = 0;
  for (const auto& [base, block] : of(family).blocks) {
    Usable range = usable(block.prefix);
    total += range.last.value() - range.first.value() + 1;
  }
  return {saturated(total), of(family).in_use};
}

bool AddressPool::has(Family family) const {
  return !of(family).blocks.empty();
}

}  // namespace tombolo
