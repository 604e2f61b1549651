// Fresh addresses by a frontier per range, freed ones by a queue per family. An address inside of
// the ranges is in one of three states: never used (no bit), in use (both bits), or freed (the bit
// "used", and once in the queue).
#include "ipamd/allocator/address_pool.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tombolo {
namespace {

std::uint64_t saturated(uint128 count) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return count > kMost ? kMost : static_cast<std::uint64_t>(count);
}

}  // namespace

IpRange usable_range(const Prefix& block) {
  IpRange range{block.first(), block.last()};
  if (block.host_bits() < 2) return range;
  range.first = Ip(block.family(), range.first.value() + 1);
  if (block.family() == Family::kV4) range.last = Ip(Family::kV4, range.last.value() - 1);
  return range;
}

std::int64_t Rest::wanted_at(const FamilyUsage& usage) const {
  // In floating point: totals go up to 2^64.
  double part = usage.total == 0
                    ? 0.0
                    : 4.0 * static_cast<double>(usage.free()) / static_cast<double>(usage.total);
  auto shrunk = static_cast<std::int64_t>(static_cast<double>(wanted_ms) * std::min(1.0, part));
  return std::max(least_ms, shrunk);
}

Result<void> AddressPool::set_blocks(std::vector<Prefix> blocks) {
  std::ranges::sort(blocks);
  blocks.erase(std::ranges::unique(blocks).begin(), blocks.end());
  for (std::size_t i = 1; i < blocks.size(); ++i)
    if (blocks[i - 1].overlaps(blocks[i]))
      return fail(Code::kInvalidArgument, "the blocks {} and {} overlap", blocks[i - 1].str(),
                  blocks[i].str());
  std::vector<IpRange> ranges;
  for (const Prefix& block : blocks) ranges.push_back(usable_range(block));
  TRY_OK(set_ranges(std::move(ranges)));
  blocks_ = std::move(blocks);
  return {};
}

Result<void> AddressPool::set_ranges(std::vector<IpRange> ranges) {
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i - 1].contains(ranges[i].first))
      return fail(Code::kInvalidArgument, "the ranges from {} and from {} overlap",
                  ranges[i - 1].first.str(), ranges[i].first.str());
  for (PerFamily& addresses : families_) {
    addresses.ranges.clear();
    addresses.fresh_from = 0;
  }
  for (const IpRange& range : ranges)
    of(range.first.family()).ranges.push_back({range, range.first, true});
  blocks_.clear();
  auto inside = [this](Ip ip) { return range_of(ip) != nullptr; };
  for (Family family : {Family::kV4, Family::kV6}) {
    PerFamily& addresses = of(family);
    addresses.freed.keep_only(inside);
    addresses.in_use = bits_.count_in_use(family, inside);
    uint128 total = 0;
    for (const Range& range : addresses.ranges) {
      uint128 more = range.all.last.value() - range.all.first.value() + 1;
      // The whole of IPv6 is 2^128, which is 0 here.
      total = more == 0 || total + more < total ? ~uint128{0} : total + more;
    }
    addresses.total = saturated(total);
  }
  bits_.forget_used(inside);
  for (PerFamily& addresses : families_) {
    if (addresses.ranges.empty()) continue;
    for (const auto& [ip, released_ms] : std::exchange(addresses.freed_early, {}))
      restore_freed(ip, released_ms);
  }
  return {};
}

const AddressPool::Range* AddressPool::range_of(Ip ip) const {
  const auto& ranges = of(ip.family()).ranges;
  auto after = std::ranges::upper_bound(ranges, ip, {}, [](const Range& r) { return r.all.first; });
  if (after == ranges.begin()) return nullptr;
  const Range& range = *std::prev(after);
  return range.all.contains(ip) ? &range : nullptr;
}

// The frontier stays at what it returns: take() passes it by marking it used.
std::optional<Ip> AddressPool::find_fresh(PerFamily& addresses) {
  for (; addresses.fresh_from < addresses.ranges.size(); ++addresses.fresh_from) {
    Range& range = addresses.ranges[addresses.fresh_from];
    if (bits_.first_unused(range.next_fresh, range.all.last, range.next_fresh))
      return range.next_fresh;
  }
  return std::nullopt;
}

Result<Ip> AddressPool::take(Family family, std::int64_t now_ms, Patience patience) {
  PerFamily& addresses = of(family);
  std::optional<Ip> taken;
  if (addresses.freed.size() < kFreedLimit) taken = find_fresh(addresses);
  if (!taken) {
    auto freed = addresses.freed.front(now_ms);
    if (!freed)
      return fail(Code::kResourceExhausted, "no free {} address: {} of {} are in use",
                  to_string(family), addresses.in_use, usage(family).total);
    std::int64_t rest =
        patience == Patience::kRested ? rest_.wanted_at(usage(family)) : rest_.least_ms;
    std::int64_t rested = now_ms - freed->released_ms;
    if (rested < rest)
      return fail(Code::kResourceExhausted,
                  "{} free {} addresses, of which none has rested for {} ms: the next one will "
                  "have in {} ms",
                  addresses.freed.size(), to_string(family), rest, rest - rested);
    taken = freed->ip;
    addresses.freed.pop();
  }
  bool added = bits_.take(*taken);
  ENSURE(added, "{} would be given out twice", taken->str());
  ++addresses.in_use;
  return *taken;
}

Result<void> AddressPool::take_exact(Ip ip) {
  if (!contains(ip)) return fail(Code::kOutOfRange, "{} is in no range of the pool", ip.str());
  bool freed = bits_.used(ip);
  if (!bits_.take(ip)) return fail(Code::kAlreadyExists, "{} is in use already", ip.str());
  PerFamily& addresses = of(ip.family());
  if (freed) addresses.freed.withdraw(ip);
  ++addresses.in_use;
  return {};
}

void AddressPool::give_back(Ip ip, std::int64_t now_ms) {
  bool was_in_use = bits_.give_back(ip);
  ENSURE(was_in_use, "{} is given back but not in use", ip.str());
  if (!contains(ip)) {
    bits_.forget(ip);
    return;
  }
  PerFamily& addresses = of(ip.family());
  --addresses.in_use;
  addresses.freed.push(ip, now_ms);
  if (addresses.freed.size() > most_freed_) forget_oldest(addresses, now_ms);
}

void AddressPool::forget_oldest(PerFamily& addresses, std::int64_t now_ms) {
  Ip oldest = addresses.freed.front(now_ms).value().ip;
  addresses.freed.pop();
  bits_.forget(oldest);
  for (std::size_t i = 0; i < addresses.ranges.size(); ++i) {
    Range& range = addresses.ranges[i];
    if (!range.all.contains(oldest)) continue;
    range.next_fresh = std::min(range.next_fresh, oldest);
    addresses.fresh_from = std::min(addresses.fresh_from, i);
  }
}

Result<void> AddressPool::restore_in_use(Ip ip) {
  bool known = bits_.used(ip);
  if (!bits_.take(ip)) return fail(Code::kAlreadyExists, "{} is in use already", ip.str());
  if (!contains(ip)) return {};
  PerFamily& addresses = of(ip.family());
  if (known) addresses.freed.withdraw(ip);
  ++addresses.in_use;
  return {};
}

void AddressPool::restore_freed(Ip ip, std::int64_t released_ms) {
  PerFamily& addresses = of(ip.family());
  if (addresses.ranges.empty()) addresses.freed_early.emplace_back(ip, released_ms);
  if (!contains(ip) || !bits_.mark_used(ip)) return;
  addresses.freed.push(ip, released_ms);
}

FamilyUsage AddressPool::usage(Family family) const {
  return {of(family).total, of(family).in_use};
}

}  // namespace tombolo
