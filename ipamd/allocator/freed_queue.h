// Addresses that were given back, longest free first, as runs of neighbours: 32 bytes per run,
// however long. An address that is taken out of its turn (a fixed one) leaves its entry behind,
// which is skipped when it comes up; when most entries are such, they are cleared away. Every
// operation is O(1), amortised. Pure, control thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>

#include "core/ip.h"

namespace tombolo {

class FreedQueue {
 public:
  struct Freed {
    Ip ip;
    std::int64_t released_ms = 0;  // Unix time
  };
  // Times are rounded up to this, so that neighbours that are given back together share a run: an
  // address may rest so much longer than asked, never shorter.
  static constexpr std::int64_t kRunMs = 1000;
  static constexpr std::size_t kStaleLimit = 1024;

  explicit FreedQueue(Family family) : family_(family) {}

  // `ip` is not in the queue (or was withdrawn).
  void push(Ip ip, std::int64_t released_ms);
  // The address that has been free for the longest time; nullopt when there is none. `now_ms`: an
  // entry from the future (the clock was set back) counts as given back now.
  std::optional<Freed> front(std::int64_t now_ms);
  void pop();  // the address that front() named
  // `ip`, which is in the queue, is taken out of its turn.
  void withdraw(Ip ip);
  // Drops what `keep` does not hold for.
  void keep_only(const std::function<bool(Ip)>& keep);

  std::size_t size() const { return size_; }
  std::size_t runs() const { return runs_.size(); }

 private:
  struct Run {
    std::uint64_t first_high;
    std::uint64_t first_low;
    std::int64_t released_ms;
    std::uint32_t count;
  };
  static_assert(sizeof(Run) <= 32);
  uint128 first_of(const Run& run) const {
    return static_cast<uint128>(run.first_high) << 64 | run.first_low;
  }
  void drop_first();
  void skip_withdrawn();
  void append(uint128 value, std::int64_t released_ms);

  Family family_;
  std::deque<Run> runs_;
  // How many entries of an address, from the front on, are withdrawn.
  std::unordered_map<Ip, std::uint32_t> withdrawn_;
  std::size_t stale_ = 0;
  std::size_t size_ = 0;  // without the withdrawn ones
};

}  // namespace tombolo
