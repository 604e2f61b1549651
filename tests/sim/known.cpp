// Rows that are on the disk a little later.
#include "tests/sim/known.h"

namespace tombolo::sim {
namespace {

constexpr Duration kGather = 20ms;

}  // namespace

void SimKnown::later(std::function<void()> write) {
  world_.after(kGather, [this, user = user_, write = std::move(write)] {
    if (!*user) return;
    if (full)
      complete_.clear();
    else
      write();
  });
}

KnownPrefix SimKnown::load(const std::string& prefix) {
  KnownPrefix known;
  known.complete = complete_.contains(prefix);
  for (auto at = rows_.lower_bound(prefix); at != rows_.end() && at->first.starts_with(prefix);
       ++at) {
    KeyValue kv;
    kv.key = at->first;
    kv.value = at->second;
    known.kvs.push_back(std::move(kv));
  }
  return known;
}

void SimKnown::put(const std::string& key, const std::string& value) {
  later([this, key, value] { rows_[key] = value; });
}

void SimKnown::erase(const std::string& key) {
  later([this, key] { rows_.erase(key); });
}

void SimKnown::listed(const std::string& prefix) {
  later([this, prefix] { complete_.insert(prefix); });
}

}  // namespace tombolo::sim
