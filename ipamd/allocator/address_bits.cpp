// Chunks of bits by the address of their first one.
#include "ipamd/allocator/address_bits.h"

#include <bit>

namespace tombolo {

AddressBits::Place AddressBits::place_of(Ip ip) {
  uint128 value = ip.value();
  auto offset = static_cast<unsigned>(value & ((1U << kChunkBits) - 1));
  return {Ip(ip.family(), value - offset), offset / 64, std::uint64_t{1} << (offset % 64)};
}

Ip AddressBits::at(Ip chunk, std::size_t word, unsigned bit) {
  return {chunk.family(), chunk.value() + word * 64 + bit};
}

bool AddressBits::test(Ip ip, Words Chunk::* words) const {
  Place place = place_of(ip);
  auto found = chunks_.find(place.chunk);
  return found != chunks_.end() && ((found->second.*words)[place.word] & place.bit) != 0;
}

bool AddressBits::take(Ip ip) {
  Place place = place_of(ip);
  Chunk& chunk = chunks_[place.chunk];
  if ((chunk.in_use[place.word] & place.bit) != 0) return false;
  chunk.in_use[place.word] |= place.bit;
  chunk.used[place.word] |= place.bit;
  return true;
}

bool AddressBits::give_back(Ip ip) {
  Place place = place_of(ip);
  auto found = chunks_.find(place.chunk);
  if (found == chunks_.end()) return false;
  std::uint64_t& word = found->second.in_use[place.word];
  if ((word & place.bit) == 0) return false;
  word &= ~place.bit;
  return true;
}

bool AddressBits::mark_used(Ip ip) {
  Place place = place_of(ip);
  std::uint64_t& word = chunks_[place.chunk].used[place.word];
  if ((word & place.bit) != 0) return false;
  word |= place.bit;
  return true;
}

void AddressBits::forget(Ip ip) {
  Place place = place_of(ip);
  auto found = chunks_.find(place.chunk);
  if (found == chunks_.end()) return;
  Chunk& chunk = found->second;
  chunk.used[place.word] &= ~place.bit;
  chunk.in_use[place.word] &= ~place.bit;
  if (chunk.used == Words{}) chunks_.erase(found);
}

bool AddressBits::first_unused(Ip from, Ip last, Ip& found) const {
  for (Ip ip = from;;) {
    Place place = place_of(ip);
    auto chunk = chunks_.find(place.chunk);
    if (chunk == chunks_.end()) {
      found = ip;
      return true;
    }
    for (std::size_t word = place.word; word < chunk->second.used.size(); ++word) {
      // In the first word the bits before `from` count as used.
      std::uint64_t before = word == place.word ? place.bit - 1 : 0;
      std::uint64_t taken = chunk->second.used[word] | before;
      if (taken == ~std::uint64_t{0}) continue;
      found = at(place.chunk, word, static_cast<unsigned>(std::countr_one(taken)));
      return found <= last;
    }
    uint128 next = place.chunk.value() + (1U << kChunkBits);
    if (next > last.value() || next < ip.value()) return false;  // behind the end of the space
    ip = Ip(ip.family(), next);
  }
}

std::uint64_t AddressBits::count_in_use(Family family,
                                        const std::function<bool(Ip)>& inside) const {
  std::uint64_t count = 0;
  for (const auto& [base, chunk] : chunks_) {
    if (base.family() != family) continue;
    for (std::size_t word = 0; word < chunk.in_use.size(); ++word)
      for (std::uint64_t left = chunk.in_use[word]; left != 0; left &= left - 1)
        if (inside(at(base, word, static_cast<unsigned>(std::countr_zero(left))))) ++count;
  }
  return count;
}

void AddressBits::forget_used(const std::function<bool(Ip)>& keep) {
  for (auto entry = chunks_.begin(); entry != chunks_.end();) {
    bool any = false;
    auto& [base, chunk] = *entry;
    for (std::size_t word = 0; word < chunk.used.size(); ++word) {
      for (std::uint64_t left = chunk.used[word] & ~chunk.in_use[word]; left != 0;
           left &= left - 1) {
        auto bit = static_cast<unsigned>(std::countr_zero(left));
        if (!keep(at(base, word, bit))) chunk.used[word] &= ~(std::uint64_t{1} << bit);
      }
      any = any || chunk.used[word] != 0;
    }
    entry = any ? std::next(entry) : chunks_.erase(entry);
  }
}

}  // namespace tombolo
