// Two facts about each address of a pool, in bits: is it in use, and was it ever used. Sparse: a
// chunk of 256 neighbours (96 bytes) exists only when one of them was used. Pure, control thread.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <functional>

#include "core/ip.h"

namespace tombolo {

class AddressBits {
 public:
  bool in_use(Ip ip) const { return test(ip, &Chunk::in_use); }
  bool used(Ip ip) const { return test(ip, &Chunk::used); }

  // Marks as in use, and so as used; false when it was in use already.
  bool take(Ip ip);
  // Still used, no longer in use; false when it was not in use.
  bool give_back(Ip ip);
  // Used, though not in use; false when it was used already.
  bool mark_used(Ip ip);

  // As if it had never been used.
  void forget(Ip ip);

  // The lowest address from `from` to `last` that was never used; false when there is none. Costs
  // one step per 64 used ones that are passed over.
  bool first_unused(Ip from, Ip last, Ip& found) const;

  // Addresses of a family that are in use and for which `inside` holds.
  std::uint64_t count_in_use(Family family, const std::function<bool(Ip)>& inside) const;
  // Forgets that addresses were used which are not in use now and for which `keep` does not hold.
  void forget_used(const std::function<bool(Ip)>& keep);

  std::size_t chunks() const { return chunks_.size(); }

 private:
  static constexpr unsigned kChunkBits = 8;
  using Words = std::array<std::uint64_t, (1U << kChunkBits) / 64>;
  struct Chunk {
    Words used{};
    Words in_use{};
  };
  struct Place {
    Ip chunk;
    std::size_t word;
    std::uint64_t bit;
  };
  static Place place_of(Ip ip);
  static Ip at(Ip chunk, std::size_t word, unsigned bit);
  bool test(Ip ip, Words Chunk::* words) const;

  boost::unordered_flat_map<Ip, Chunk, std::hash<Ip>> chunks_;
};

}  // namespace tombolo
