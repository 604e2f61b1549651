// Small numbers that the kernel's tables are indexed by. A freed number rests before it means
// something else, so that nobody who still has it reads the wrong row. Part of the compiler.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "core/clock.h"

namespace tombolo::policy {

class Numbers {
 public:
  // Gives `first` to `last`.
  Numbers(std::uint32_t first, std::uint32_t last, Duration rest)
      : next_(first), last_(last), rest_(rest) {}

  // A number of an earlier life: given to nobody until it is released.
  void reserve(std::uint32_t number) {
    if (number >= next_ && number <= last_) reserved_.insert(number);
  }

  std::optional<std::uint32_t> take(MonotonicTime now) {
    while (next_ <= last_ && reserved_.erase(next_) > 0) ++next_;
    if (next_ <= last_) return next_++;
    if (freed_.empty() || now - freed_.front().first < rest_) return std::nullopt;
    std::uint32_t number = freed_.front().second;
    freed_.pop_front();
    return number;
  }

  void release(std::uint32_t number, MonotonicTime now) { freed_.emplace_back(now, number); }

 private:
  std::uint32_t next_;
  std::uint32_t last_;
  Duration rest_;
  std::set<std::uint32_t> reserved_;  // at or above next_
  std::deque<std::pair<MonotonicTime, std::uint32_t>> freed_;
};

}  // namespace tombolo::policy
