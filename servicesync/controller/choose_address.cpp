// Which address a service gets. Pure.
#include <algorithm>

#include "servicesync/controller/address_allocator.h"

namespace tombolo::controller {
namespace {

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  return hash;
}

// The first free index of [low, high), begun at a place that the name decides and wrapped around.
std::optional<Ip> probe(const Prefix& range, uint128 low, uint128 high, std::uint64_t hash,
                        const std::function<bool(const Ip&)>& taken) {
  if (low >= high) return std::nullopt;
  uint128 count = high - low;
  uint128 start = hash % count;
  for (uint128 i = 0; i < count; ++i) {
    Ip ip = range.at(low + (start + i) % count);
    if (!taken(ip)) return ip;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Ip> choose_address(const std::vector<Prefix>& ranges, Family family,
                                 std::string_view object, bool low_band_last,
                                 const std::function<bool(const Ip&)>& taken) {
  std::uint64_t hash = fnv1a(object);
  for (bool low_band : {false, true}) {
    for (const Prefix& range : ranges) {
      if (range.family() != family || range.size() < 4) continue;
      uint128 end = range.size() - 1;
      uint128 band =
          low_band_last ? std::min<uint128>(std::max<uint128>(16, range.size() / 16), 256) : 1;
      if (band >= end) band = 1;
      auto found =
          low_band ? probe(range, 1, band, hash, taken) : probe(range, band, end, hash, taken);
      if (found) return found;
    }
  }
  return std::nullopt;
}

std::optional<Ip> choose_in_spans(const std::vector<AddressSpan>& spans, Family family,
                                  std::string_view object,
                                  const std::function<bool(const Ip&)>& taken) {
  std::uint64_t hash = fnv1a(object);
  for (const AddressSpan& span : spans) {
    if (span.first.family() != family) continue;
    uint128 before_last = span.last.value() - span.first.value();
    uint128 start = before_last == ~uint128{0} ? hash : hash % (before_last + 1);
    for (uint128 i = 0;; ++i) {
      uint128 offset = start <= before_last - i ? start + i : start - (before_last - i) - 1;
      Ip ip(family, span.first.value() + offset);
      if (!taken(ip)) return ip;
      if (i == before_last) break;
    }
  }
  return std::nullopt;
}

}  // namespace tombolo::controller
