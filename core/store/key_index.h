// All versions of all keys since the last compaction, in memory, without their values: what a key
// looked like at a revision, and which versions a compaction may forget. Pure; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/store/database.h"

namespace tombolo {

struct Version {
  std::int64_t id = 0;  // of the LogRow
  std::int64_t create_revision = 0;
  std::int64_t version = 0;  // 0: deleted
  std::int64_t lease = 0;
  std::int64_t revision() const { return revision_of_id(id); }
  bool deleted() const { return version == 0; }
};

// [key, range_end) as etcd writes it: an empty end is the one key, "\0" is all keys from `key` on.
struct KeyRange {
  std::string_view key;
  std::string_view range_end;
  bool to_the_end() const { return range_end == std::string_view("\0", 1); }
  bool contains(std::string_view other) const;
};

class KeyIndex {
 public:
  void append(const std::string& key, const Version& version);
  void clear();

  // The version that was current at `revision`, nullptr when the key was not there.
  const Version* at(std::string_view key, std::int64_t revision) const;
  // The version before the one with this id, also one that is a deletion; nullptr when unknown.
  const Version* before(std::string_view key, std::int64_t id) const;
  // visit(key, version) for every key of the range that was there at `revision`, in order.
  template <class Visit>
  void each(const KeyRange& range, std::int64_t revision, Visit visit) const {
    for (auto at = keys_.lower_bound(range.key); at != keys_.end(); ++at) {
      if (!range.contains(at->first)) break;
      const Version* version = current(at->second, revision);
      if (version != nullptr) visit(at->first, *version);
    }
  }

  // Forgets up to `limit` versions that no read at or after `compacted` can see; returns their ids,
  // fewer than `limit` when nothing is left to forget.
  std::vector<std::int64_t> forget(std::int64_t compacted, std::size_t limit);
  std::size_t superseded() const { return superseded_.size() + deletions_.size(); }
  std::size_t keys() const { return keys_.size(); }

 private:
  using Versions = std::vector<Version>;
  using Keys = std::map<std::string, Versions, std::less<>>;
  // This version may go once the store is compacted to `when`.
  struct Forgettable {
    std::int64_t when;
    std::int64_t id;
    Keys::iterator key;
  };
  static const Version* current(const Versions& versions, std::int64_t revision);
  void forget_from(std::deque<Forgettable>& queue, std::int64_t compacted, std::size_t limit,
                   std::vector<std::int64_t>& ids);

  Keys keys_;
  // Both ascending by `when`.
  std::deque<Forgettable> superseded_;
  std::deque<Forgettable> deletions_;
};

}  // namespace tombolo
