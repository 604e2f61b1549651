// Runs, and the entries that were taken out of their turn.
#include "ipamd/allocator/freed_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tombolo {

void FreedQueue::append(uint128 value, std::int64_t released_ms) {
  if (!runs_.empty()) {
    Run& last = runs_.back();
    if (last.released_ms == released_ms && first_of(last) + last.count == value &&
        last.count < std::numeric_limits<std::uint32_t>::max()) {
      ++last.count;
      return;
    }
  }
  runs_.push_back(
      {static_cast<std::uint64_t>(value >> 64), static_cast<std::uint64_t>(value), released_ms, 1});
}

void FreedQueue::push(Ip ip, std::int64_t released_ms) {
  append(ip.value(), (released_ms + kRunMs - 1) / kRunMs * kRunMs);
  ++size_;
}

void FreedQueue::drop_first() {
  Run& run = runs_.front();
  if (--run.count == 0) {
    runs_.pop_front();
    return;
  }
  uint128 next = first_of(run) + 1;
  run.first_high = static_cast<std::uint64_t>(next >> 64);
  run.first_low = static_cast<std::uint64_t>(next);
}

void FreedQueue::skip_withdrawn() {
  while (!withdrawn_.empty() && !runs_.empty()) {
    auto found = withdrawn_.find(Ip(family_, first_of(runs_.front())));
    if (found == withdrawn_.end()) return;
    if (--found->second == 0) withdrawn_.erase(found);
    --stale_;
    drop_first();
  }
}

std::optional<FreedQueue::Freed> FreedQueue::front(std::int64_t now_ms) {
  skip_withdrawn();
  if (runs_.empty()) return std::nullopt;
  Run& run = runs_.front();
  // Rounding alone reaches less far into the future.
  if (run.released_ms > now_ms + kRunMs) run.released_ms = now_ms;
  return Freed{Ip(family_, first_of(run)), std::min(run.released_ms, now_ms)};
}

void FreedQueue::pop() {
  skip_withdrawn();
  ENSURE(!runs_.empty(), "nothing is in the queue of freed addresses");
  drop_first();
  --size_;
}

void FreedQueue::withdraw(Ip ip) {
  ENSURE(size_ > 0, "{} is not in the queue of freed addresses", ip.str());
  ++withdrawn_[ip];
  ++stale_;
  --size_;
  if (stale_ > kStaleLimit && stale_ > size_) keep_only([](Ip) { return true; });
}

void FreedQueue::keep_only(const std::function<bool(Ip)>& keep) {
  std::deque<Run> old = std::exchange(runs_, {});
  size_ = 0;
  for (const Run& run : old)
    for (std::uint32_t i = 0; i < run.count; ++i) {
      Ip ip(family_, first_of(run) + i);
      if (auto found = withdrawn_.find(ip); found != withdrawn_.end()) {
        if (--found->second == 0) withdrawn_.erase(found);
        continue;
      }
      if (!keep(ip)) continue;
      append(ip.value(), run.released_ms);
      ++size_;
    }
  stale_ = 0;
}

}  // namespace tombolo
