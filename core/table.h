// A table holds rows of one type under a revision and has exactly one named writer. Readers track
// changes by key: a tracker's set of changed keys is bounded by the number of rows and keys that
// were there. Control thread only.
//
// A row type has `std::string key() const` and operator==. A write that changes nothing makes no
// revision.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace tombolo {

// One revision counter for all tables of a process role, so that "past revision N" means the same
// everywhere.
struct RevisionCounter {
  std::uint64_t current = 0;
};

template <class Row>
class Table {
 public:
  Table(std::string name, RevisionCounter& revisions)
      : name_(std::move(name)), revisions_(&revisions) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  struct Versioned {
    Row row;
    std::uint64_t revision;
  };
  using Rows = std::map<std::string, Versioned, std::less<>>;

  const std::string& name() const { return name_; }
  const std::string& writer_name() const { return writer_name_; }
  const Rows& rows() const { return rows_; }
  std::size_t size() const { return rows_.size(); }
  // The revision of the last change of this table, 0 before the first.
  std::uint64_t revision() const { return revision_; }
  // The row, or nullptr. Valid until the next write: never keep it across a co_await.
  const Row* find(std::string_view key) const {
    auto at = rows_.find(key);
    return at == rows_.end() ? nullptr : &at->second.row;
  }
  // True once every source that feeds the table has finished its first list. Nothing is pruned
  // before.
  bool synced() const { return synced_; }

  // The only one who may write. Taken once.
  class Writer {
   public:
    // True when the row is new or different.
    bool upsert(Row row) { return table_->upsert(std::move(row)); }
    bool erase(std::string_view key) { return table_->erase(key); }
    // Makes the table equal to `rows`; returns the number of rows that changed.
    std::size_t replace_all(std::vector<Row> rows) { return table_->replace_all(std::move(rows)); }
    void mark_synced() { table_->mark_synced(); }

   private:
    friend class Table;
    explicit Writer(Table* table) : table_(table) {}
    Table* table_;
  };
  Writer take_writer(std::string writer_name) {
    ENSURE(writer_name_.empty(), "table {} is written by {}, not also by {}", name_, writer_name_,
           writer_name);
    writer_name_ = std::move(writer_name);
    return Writer(this);
  }

  // Tells a reader what changed since it last asked. It starts with every row that is there.
  class Tracker {
   public:
    ~Tracker() { std::erase(table_->trackers_, this); }
    Tracker(const Tracker&) = delete;
    Tracker& operator=(const Tracker&) = delete;
    bool pending() const { return !changed_.empty() || sync_pending_; }
    // The keys that were written or erased since the last call, in order.
    std::set<std::string> take() {
      sync_pending_ = false;
      return std::exchange(changed_, {});
    }

   private:
    friend class Table;
    Tracker(Table* table, std::function<void()> wake) : table_(table), wake_(std::move(wake)) {}
    void note(const std::string& key) {
      changed_.insert(key);
      if (wake_) wake_();
    }
    Table* table_;
    std::function<void()> wake_;
    std::set<std::string> changed_;
    bool sync_pending_ = false;
  };
  // `wake` is called at every change, inside the write: it only sets a flag or notifies a Signal.
  std::unique_ptr<Tracker> track(std::function<void()> wake) {
    std::unique_ptr<Tracker> tracker(new Tracker(this, std::move(wake)));
    for (const auto& [key, versioned] : rows_) tracker->changed_.insert(key);
    tracker->sync_pending_ = synced_;
    trackers_.push_back(tracker.get());
    return tracker;
  }

 private:
  bool upsert(Row row) {
    std::string key = row.key();
    auto at = rows_.find(key);
    if (at != rows_.end() && at->second.row == row) return false;
    revision_ = ++revisions_->current;
    if (at == rows_.end())
      rows_.emplace(key, Versioned{std::move(row), revision_});
    else
      at->second = Versioned{std::move(row), revision_};
    note(key);
    return true;
  }
  bool erase(std::string_view key) {
    auto at = rows_.find(key);
    if (at == rows_.end()) return false;
    std::string gone = at->first;
    rows_.erase(at);
    revision_ = ++revisions_->current;
    note(gone);
    return true;
  }
  std::size_t replace_all(std::vector<Row> rows) {
    std::set<std::string, std::less<>> kept;
    std::size_t changes = 0;
    for (Row& row : rows) {
      kept.insert(row.key());
      changes += upsert(std::move(row)) ? 1U : 0U;
    }
    std::vector<std::string> gone;
    for (const auto& [key, versioned] : rows_)
      if (!kept.contains(key)) gone.push_back(key);
    for (const auto& key : gone) changes += erase(key) ? 1U : 0U;
    return changes;
  }
  void mark_synced() {
    if (synced_) return;
    synced_ = true;
    for (Tracker* tracker : trackers_) {
      tracker->sync_pending_ = true;
      if (tracker->wake_) tracker->wake_();
    }
  }
  void note(const std::string& key) {
    for (Tracker* tracker : trackers_) tracker->note(key);
  }

  std::string name_;
  std::string writer_name_;
  RevisionCounter* revisions_;
  Rows rows_;
  std::uint64_t revision_ = 0;
  bool synced_ = false;
  std::vector<Tracker*> trackers_;  // in the order of track(): wake-ups are repeatable
};

}  // namespace tombolo
