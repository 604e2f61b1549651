// Rings: which member each slot belongs to. Pure; worker thread.
#include <algorithm>
#include <array>
#include <numeric>

#include "bpf/internal.h"

namespace tombolo::bpf {
namespace {

constexpr std::array<std::uint32_t, 10> kMaglevSizes{251,  509,   1021,  2039,  4093,
                                                     8191, 16381, 32749, 65521, 131071};
static_assert(kMaglevSizes.back() == abi::kMaxSlotsPerRing);

// FNV-1a over the endpoint, finished by splitmix64; `seed` gives independent hashes.
std::uint64_t hash_of(const abi::lb_endpoint& endpoint, std::uint64_t seed) {
  std::array<unsigned char, sizeof(endpoint)> bytes;
  std::memcpy(bytes.data(), &endpoint, sizeof(endpoint));
  std::uint64_t hash = 0xcbf29ce484222325ULL ^ seed;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3ULL;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  return hash ^ (hash >> 31);
}

// Slots per member when `total` weight has to fit `slots`: largest remainder, at least one each
// (the heaviest give those up).
std::vector<std::uint32_t> share_out(std::span<const RingMember> members, std::uint64_t total,
                                     std::uint32_t slots) {
  std::vector<std::uint32_t> counts;
  std::vector<std::size_t> order(members.size());
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    std::uint64_t whole = members[i].weight * std::uint64_t{slots} / total;
    counts.push_back(static_cast<std::uint32_t>(std::max<std::uint64_t>(whole, 1)));
    given += counts.back();
    order[i] = i;
  }
  auto remainder = [&](std::size_t i) { return members[i].weight * std::uint64_t{slots} % total; };
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    if (remainder(a) != remainder(b)) return remainder(a) > remainder(b);
    return members[a].endpoint < members[b].endpoint;
  });
  for (std::size_t i = 0; given < slots; ++i, ++given) ++counts[order[i % order.size()]];
  for (; given > slots; --given) --*std::ranges::max_element(counts);
  return counts;
}

}  // namespace

std::vector<std::uint32_t> random_ring(std::span<const RingMember> members) {
  std::uint32_t divisor = 0;
  std::uint64_t total = 0;
  for (const RingMember& member : members) {
    ENSURE(member.weight > 0);
    divisor = std::gcd(divisor, std::uint32_t{member.weight});
    total += member.weight;
  }
  std::vector<std::uint32_t> counts;
  if (members.empty()) return {};
  if (total / divisor <= kMaxRandomSlots) {
    for (const RingMember& member : members) counts.push_back(member.weight / divisor);
  } else {
    // Twice the members at least: the one slot that everybody has then weighs little.
    counts = share_out(members, total,
                       std::max(kMaxRandomSlots, static_cast<std::uint32_t>(2 * members.size())));
  }
  std::vector<std::uint32_t> slots;
  for (std::size_t i = 0; i < members.size(); ++i)
    slots.insert(slots.end(), counts[i], static_cast<std::uint32_t>(i));
  return slots;
}

std::uint32_t maglev_size(std::size_t members) {
  auto at = std::ranges::lower_bound(kMaglevSizes, members * 100);
  return at == kMaglevSizes.end() ? kMaglevSizes.back() : *at;
}

std::vector<std::uint32_t> maglev_ring(std::span<const RingMember> members, std::uint32_t size) {
  if (members.empty()) return {};
  ENSURE(members.size() <= size);
  struct Turn {
    std::uint32_t member;
    std::uint64_t at;    // the next slot of its permutation
    std::uint64_t skip;  // 1 … size-1; size is prime, so every slot comes up
    std::uint64_t credit = 0;
  };
  std::vector<Turn> turns;
  std::uint64_t heaviest = 1;
  for (std::uint32_t i = 0; i < members.size(); ++i) {
    const RingMember& member = members[i];
    ENSURE(member.weight > 0);
    heaviest = std::max<std::uint64_t>(heaviest, member.weight);
    turns.push_back(
        {i, hash_of(member.endpoint, 0) % size, hash_of(member.endpoint, 1) % (size - 1) + 1});
  }
  std::ranges::sort(turns, [&](const Turn& a, const Turn& b) {
    return members[a.member].endpoint < members[b.member].endpoint;
  });
  constexpr std::uint32_t kEmpty = UINT32_MAX;
  std::vector<std::uint32_t> slots(size, kEmpty);
  for (std::uint32_t filled = 0; filled < size;) {
    for (Turn& turn : turns) {
      turn.credit += members[turn.member].weight;
      if (turn.credit < heaviest) continue;
      turn.credit -= heaviest;
      while (slots[turn.at] != kEmpty) turn.at = (turn.at + turn.skip) % size;
      slots[turn.at] = turn.member;
      if (++filled == size) break;
    }
  }
  return slots;
}

}  // namespace tombolo::bpf
