// Fresh addresses by bits, freed ones by the time of their release.
#include <algorithm>
#include <limits>

#include "ipamd/claims/internal.h"

namespace tombolo {
namespace {

std::uint64_t size_of(const IpRange& range) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  uint128 size = range.last.value() - range.first.value();
  return size >= kMost ? kMost : static_cast<std::uint64_t>(size) + 1;
}

}  // namespace

std::uint64_t place_of_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (char byte : name) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x100000001b3ULL;
  }
  // The last bytes of a name (a number, often) must reach all bits.
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93ULL;
  return hash ^ hash >> 32;
}

Result<void> PoolOrder::set_ranges(std::vector<IpRange> ranges) {
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i - 1].contains(ranges[i].first))
      return fail(Code::kInvalidArgument, "the ranges from {} and from {} overlap",
                  ranges[i - 1].first.str(), ranges[i].first.str());
  families_ = {};
  freed_at_.clear();
  bits_ = {};
  for (const IpRange& range : ranges) {
    PerFamily& addresses = of(range.first.family());
    addresses.ranges.push_back(range);
    std::uint64_t more = size_of(range);
    addresses.total = addresses.total > std::numeric_limits<std::uint64_t>::max() - more
                          ? std::numeric_limits<std::uint64_t>::max()
                          : addresses.total + more;
  }
  return {};
}

bool PoolOrder::contains(Ip ip) const {
  const auto& ranges = of(ip.family()).ranges;
  auto after = std::ranges::upper_bound(ranges, ip, {}, &IpRange::first);
  return after != ranges.begin() && std::prev(after)->contains(ip);
}

// Whatever it was: afterwards it is used, and neither occupied nor free.
void PoolOrder::leave(PerFamily& addresses, Ip ip) {
  if (bits_.give_back(ip)) --addresses.in_use;
  auto freed = freed_at_.find(ip);
  if (freed == freed_at_.end()) return;
  addresses.freed.erase({freed->second, ip});
  freed_at_.erase(freed);
}

void PoolOrder::occupy(Ip ip) {
  if (!contains(ip)) return;
  PerFamily& addresses = of(ip.family());
  leave(addresses, ip);
  bits_.take(ip);
  ++addresses.in_use;
}

void PoolOrder::set_free(Ip ip, std::int64_t released_unix_ms) {
  if (!contains(ip)) return;
  PerFamily& addresses = of(ip.family());
  leave(addresses, ip);
  bits_.mark_used(ip);
  addresses.freed.emplace(released_unix_ms, ip);
  freed_at_.emplace(ip, released_unix_ms);
}

void PoolOrder::set_fresh(Ip ip) {
  if (!contains(ip)) return;
  PerFamily& addresses = of(ip.family());
  leave(addresses, ip);
  bits_.forget(ip);
  addresses.fresh_left = true;
}

// From the cursor to the end, then from the beginning to the cursor.
std::optional<Ip> PoolOrder::find_fresh(PerFamily& addresses, std::uint64_t place) const {
  if (!addresses.fresh_left || addresses.ranges.empty()) return std::nullopt;
  if (!addresses.cursor) {
    std::uint64_t offset = place % addresses.total;
    auto range = addresses.ranges.begin();
    for (; offset >= size_of(*range); ++range) offset -= size_of(*range);
    addresses.cursor = Ip(range->first.family(), range->first.value() + offset);
  }
  Ip found;
  for (const IpRange& range : addresses.ranges)
    if (*addresses.cursor <= range.last &&
        bits_.first_unused(std::max(range.first, *addresses.cursor), range.last, found))
      return found;
  for (const IpRange& range : addresses.ranges)
    if (range.first < *addresses.cursor &&
        bits_.first_unused(range.first, std::min(range.last, *addresses.cursor), found))
      return found;
  addresses.fresh_left = false;
  return std::nullopt;
}

Result<Ip> PoolOrder::choose(Family family, std::int64_t now_ms, AddressPool::Patience patience,
                             std::uint64_t place) {
  PerFamily& addresses = of(family);
  // The clock went back: what was freed later than now rests from now on.
  while (!addresses.freed.empty() && addresses.freed.rbegin()->first > now_ms)
    set_free(addresses.freed.rbegin()->second, now_ms);
  if (addresses.freed.size() < AddressPool::kFreedLimit) {
    if (auto fresh = find_fresh(addresses, place)) {
      addresses.cursor = fresh;
      return *fresh;
    }
  }
  if (addresses.freed.empty())
    return fail(Code::kResourceExhausted, "no free {} address: {} of {} are in use",
                to_string(family), addresses.in_use, addresses.total);
  std::int64_t rest =
      patience == AddressPool::Patience::kRested ? rest_.wanted_at(usage(family)) : rest_.least_ms;
  std::vector<Ip> rested;
  for (const auto& [released_ms, ip] : addresses.freed) {
    if (now_ms - released_ms < rest || rested.size() == kOldest) break;
    rested.push_back(ip);
  }
  if (rested.empty())
    return fail(Code::kResourceExhausted,
                "{} free {} addresses, of which none has rested for {} ms: the next one will have "
                "in {} ms",
                addresses.freed.size(), to_string(family), rest,
                rest - (now_ms - addresses.freed.begin()->first));
  return rested[place % rested.size()];
}

}  // namespace tombolo
