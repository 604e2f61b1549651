// Numbers and extents of the array maps. What readers in the kernel may still look at rests until a
// grace period has passed (settle); what they never saw is free at once. Pure; worker thread.
#include "bpf/internal.h"

namespace tombolo::bpf {

std::optional<std::uint32_t> IdPool::take() {
  if (!free_.empty()) return free_.extract(free_.begin()).value();
  if (next_ >= limit_) return std::nullopt;
  return next_++;
}

void IdPool::reserve(std::uint32_t id) {
  ENSURE(id > 0 && id < limit_);
  for (; next_ <= id; ++next_) free_.insert(next_);
  free_.erase(id);
}

void IdPool::settle() {
  free_.insert(resting_.begin(), resting_.end());
  resting_.clear();
}

std::optional<Extent> Extents::take(std::uint32_t count) {
  ENSURE(count > 0);
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    if (at->second < count) continue;
    Extent extent{at->first, count};
    std::uint32_t left = at->second - count;
    free_.erase(at);
    if (left > 0) free_.emplace(extent.offset + count, left);
    used_ += count;
    return extent;
  }
  return std::nullopt;
}

bool Extents::reserve(Extent extent) {
  auto at = free_.upper_bound(extent.offset);
  if (at == free_.begin()) return false;
  --at;
  auto [offset, count] = *at;
  std::uint64_t end = std::uint64_t{extent.offset} + extent.count;
  if (extent.count == 0 || end > std::uint64_t{offset} + count) return false;
  free_.erase(at);
  if (extent.offset > offset) free_.emplace(offset, extent.offset - offset);
  if (end < offset + count)
    free_.emplace(static_cast<std::uint32_t>(end),
                  static_cast<std::uint32_t>(offset + count - end));
  used_ += extent.count;
  return true;
}

void Extents::give_back(Extent extent) {
  if (extent.count == 0) return;
  auto [at, added] = free_.emplace(extent.offset, extent.count);
  ENSURE(added, "slots at {} were given back twice", extent.offset);
  used_ -= extent.count;
  if (auto next = std::next(at); next != free_.end() && at->first + at->second == next->first) {
    at->second += next->second;
    free_.erase(next);
  }
  if (at != free_.begin()) {
    auto before = std::prev(at);
    if (before->first + before->second == at->first) {
      before->second += at->second;
      free_.erase(at);
    }
  }
}

void Extents::settle() {
  for (Extent extent : resting_) give_back(extent);
  resting_.clear();
}

}  // namespace tombolo::bpf
