// Look-ups by binary search; compaction by a queue of superseded versions, so that it costs what it
// removes.
#include "core/store/key_index.h"

#include <algorithm>

namespace tombolo {

bool KeyRange::contains(std::string_view other) const {
  if (range_end.empty()) return other == key;
  return other >= key && (to_the_end() || other < range_end);
}

const Version* KeyIndex::current(const Versions& versions, std::int64_t revision) {
  auto later = [](std::int64_t wanted, const Version& version) {
    return wanted < version.revision();
  };
  auto after = std::upper_bound(versions.begin(), versions.end(), revision, later);
  if (after == versions.begin()) return nullptr;
  const Version& found = *std::prev(after);
  return found.deleted() ? nullptr : &found;
}

void KeyIndex::append(const std::string& key, const Version& version) {
  auto at = keys_.try_emplace(key).first;
  Versions& versions = at->second;
  if (!versions.empty()) {
    ENSURE(versions.back().id < version.id, "versions of a key out of order");
    // A deletion has queued itself already.
    if (!versions.back().deleted())
      superseded_.push_back({version.revision(), versions.back().id, at});
  }
  versions.push_back(version);
  // A deletion is needed by watches from its own revision on, so it outlives that compaction.
  if (version.deleted()) deletions_.push_back({version.revision() + 1, version.id, at});
}

void KeyIndex::clear() {
  superseded_.clear();
  deletions_.clear();
  keys_.clear();
}

const Version* KeyIndex::at(std::string_view key, std::int64_t revision) const {
  auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : current(found->second, revision);
}

const Version* KeyIndex::before(std::string_view key, std::int64_t id) const {
  auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  auto less = [](const Version& version, std::int64_t wanted) { return version.id < wanted; };
  auto here = std::lower_bound(found->second.begin(), found->second.end(), id, less);
  return here == found->second.begin() ? nullptr : &*std::prev(here);
}

std::vector<std::int64_t> KeyIndex::forget(std::int64_t compacted, std::size_t limit) {
  std::vector<std::int64_t> ids;
  // What a deletion deleted goes before the deletion itself.
  forget_from(superseded_, compacted, limit, ids);
  forget_from(deletions_, compacted, limit, ids);
  return ids;
}

void KeyIndex::forget_from(std::deque<Forgettable>& queue, std::int64_t compacted,
                           std::size_t limit, std::vector<std::int64_t>& ids) {
  while (ids.size() < limit && !queue.empty() && queue.front().when <= compacted) {
    Forgettable next = queue.front();
    queue.pop_front();
    Versions& versions = next.key->second;
    auto same = [&](const Version& version) { return version.id == next.id; };
    auto at = std::find_if(versions.begin(), versions.end(), same);
    ENSURE(at != versions.end(), "a version was forgotten twice");
    versions.erase(at);
    ids.push_back(next.id);
    if (versions.empty()) keys_.erase(next.key);
  }
}

}  // namespace tombolo
