// Pools in memory: what it costs to take and give back an address, by size of the pool, and what a
// free range weighs.
#include <algorithm>
#include <chrono>
#include <memory>
#include <random>

#include "tests/bench/ipam/bench.h"

namespace tombolo::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr int kPairs = 1'000'000;

// A pool of that many addresses, and all of them.
std::vector<Ip> fill(AddressPool& pool, std::size_t size) {
  Ip first = Ip::parse("10.0.0.0").value();
  auto set = pool.set_ranges({{first, Ip(Family::kV4, first.value() + size - 1)}});
  ENSURE(set);
  std::vector<Ip> taken;
  while (taken.size() < size) taken.push_back(pool.take(Family::kV4).value());
  return taken;
}

struct Cost {
  double first_ns = 0;  // per address of a pool that is filled
  double pair_ns = 0;   // give one back, take one, while nine of ten are in use
};

Cost cost_at(std::size_t size) {
  std::mt19937_64 random(7);  // the same at each run
  AddressPool pool;
  auto began = SteadyClock::now();
  std::vector<Ip> taken = fill(pool, size);
  Cost cost;
  cost.first_ns = std::chrono::duration<double, std::nano>(SteadyClock::now() - began).count() /
                  static_cast<double>(size);
  std::ranges::shuffle(taken, random);
  for (std::size_t i = 0; i < size / 10; ++i) {
    pool.give_back(taken.back());
    taken.pop_back();
  }
  std::vector<std::size_t> picks(kPairs);
  for (std::size_t& pick : picks) pick = random() % taken.size();
  began = SteadyClock::now();
  for (std::size_t pick : picks) {
    pool.give_back(taken[pick]);
    taken[pick] = pool.take(Family::kV4).value();
  }
  cost.pair_ns =
      std::chrono::duration<double, std::nano>(SteadyClock::now() - began).count() / kPairs;
  return cost;
}

// The worst case: every second address is free, given back in no order.
double bytes_per_free_range(std::size_t size) {
  std::size_t before = heap_bytes();
  auto pool = std::make_unique<AddressPool>();
  std::vector<Ip> taken = fill(*pool, size);
  std::vector<Ip> freed;
  for (std::size_t i = 0; i < size; i += 2) freed.push_back(taken[i]);
  std::mt19937_64 random(7);
  std::ranges::shuffle(freed, random);
  for (Ip ip : freed) pool->give_back(ip);
  std::size_t lists = (taken.capacity() + freed.capacity()) * sizeof(Ip);
  return static_cast<double>(heap_bytes() - before - lists) / static_cast<double>(freed.size());
}

}  // namespace

void measure_pools() {
  Cost small;
  Cost large;
  for (std::size_t size : {1'000UL, 100'000UL, 1'000'000UL}) {
    large = cost_at(size);
    if (size == 1'000) small = large;
    fmt::print("pool of {:9} addresses   first take {:5.0f} ns   give back and take {:5.0f} ns\n",
               size, large.first_ns, large.pair_ns);
  }
  goal("pool_1m_release_and_allocate", large.pair_ns / 1000, "us", "<=", 1.0);
  // O(1): what grows is only that a large pool is not in the processor's cache.
  goal("pool_1m_over_1k", large.pair_ns / small.pair_ns, "x", "<=", 10.0);
  goal("bytes_per_free_range", bytes_per_free_range(1'000'000), "bytes", "<=", 64);
}

}  // namespace tombolo::bench
