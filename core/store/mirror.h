// A prefix of a store as rows of a table. Source in the flow: store -> table. A value that does not
// decode is refused with its key named and counted, and the last good row stays. Rows stay while
// the store is away. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "core/metrics.h"
#include "core/store/follow.h"
#include "core/store/last_known.h"
#include "core/table.h"

namespace tombolo {

struct MirrorOptions {
  FollowOptions follow;
  std::size_t max_rows = 1'000'000;  // keys beyond are refused
  // Called after the first complete list, instead of marking the table synced: for tables that
  // several mirrors write.
  std::function<void()> on_synced;
  // Keeps what was read for the next life; see restore().
  LastKnown* known = nullptr;
};

template <class Row>
class KvMirror final : private FollowHandler {
 public:
  using Decode = std::function<Result<Row>(const KeyValue&)>;
  using Writer = typename Table<Row>::Writer;

  KvMirror(MirrorOptions options, Kv& kv, Writer writer, Decode decode, TaskGroup& tasks,
           Clock& clock, Rng& rng, Logger log)
      : options_(std::move(options)),
        writer_(writer),
        decode_(std::move(decode)),
        log_(log.with("mirror", options_.follow.name)),
        refused_total_(metrics::counter("tombolo_mirror_refused_total",
                                        "Values of the store that were refused",
                                        {{"mirror", options_.follow.name}})),
        follower_(options_.follow, kv, *this, tasks, clock, rng, log) {}

  // Until the task group is cancelled.
  asio::awaitable<void> run() { return follower_.run(); }

  // Takes up what an earlier life knew (MirrorOptions::known); before run(). The first list of the
  // store removes what is gone. Answers whether the rows are complete: as they were then.
  bool restore() {
    if (options_.known == nullptr) return false;
    KnownPrefix known = options_.known->load(options_.follow.prefix);
    for (const KeyValue& kv : known.kvs) {
      Result<Row> row = decode_(kv);
      if (row) {
        claim(kv.key, row->key());
        writer_.upsert(std::move(*row));
        continue;
      }
      log_.warning("last known {}: {}", kv.key, row.error().text());
      options_.known->erase(kv.key);
      known.complete = false;
    }
    restored_ = known.complete;
    return restored_;
  }

  // Reads everything again: what was refused may be good now.
  void relist() { follower_.relist(); }

  const PrefixFollower& follower() const { return follower_; }
  MonotonicTime last_heard() const { return follower_.last_heard(); }
  bool watching() const { return follower_.watching(); }
  bool synced() const { return synced_; }
  // The rows are complete: as the store says, or as it said in an earlier life.
  bool filled() const { return synced_ || restored_; }
  // Keys whose present value is refused, with the reason. At most kMaxRefused are kept.
  const std::map<std::string, std::string>& refused() const { return refused_; }

 private:
  static constexpr std::size_t kMaxRefused = 1000;

  void on_put(const KeyValue& kv) override {
    Result<Row> row = decode_(kv);
    if (!row) return refuse(kv.key, row.error().text());
    bool is_new = !row_of_.contains(kv.key);
    if (is_new && row_of_.size() >= options_.max_rows)
      return refuse(kv.key, fmt::format("more than {} keys", options_.max_rows));
    refused_.erase(kv.key);
    claim(kv.key, row->key());
    writer_.upsert(std::move(*row));
    if (options_.known != nullptr) options_.known->put(kv.key, kv.value);
  }
  void on_delete(const std::string& key) override {
    refused_.erase(key);
    if (options_.known != nullptr) options_.known->erase(key);
    release(key);
  }
  void on_listed(const std::set<std::string>& keys) override {
    std::vector<std::string> gone;
    for (const auto& [key, row] : row_of_)
      if (!keys.contains(key)) gone.push_back(key);
    for (const std::string& key : gone) on_delete(key);
    if (options_.known != nullptr) options_.known->listed(options_.follow.prefix);
    std::erase_if(refused_, [&](const auto& entry) { return !keys.contains(entry.first); });
    if (std::exchange(synced_, true)) return;
    if (options_.on_synced)
      options_.on_synced();
    else
      writer_.mark_synced();
  }

  // The key that was written last owns the row.
  void claim(const std::string& key, const std::string& row_key) {
    auto [at, is_new] = row_of_.try_emplace(key, row_key);
    if (!is_new && at->second != row_key) {
      release(key);
      row_of_.emplace(key, row_key);
    }
    key_of_[row_key] = key;
  }
  void release(const std::string& key) {
    auto at = row_of_.find(key);
    if (at == row_of_.end()) return;
    auto owner = key_of_.find(at->second);
    if (owner != key_of_.end() && owner->second == key) {
      writer_.erase(at->second);
      key_of_.erase(owner);
    }
    row_of_.erase(at);
  }
  void refuse(const std::string& key, const std::string& reason) {
    refused_total_.increment();
    auto known = refused_.find(key);
    if (known != refused_.end() && known->second == reason) return;
    log_.warning("refused {}: {}", key, reason);
    if (known != refused_.end())
      known->second = reason;
    else if (refused_.size() < kMaxRefused)
      refused_.emplace(key, reason);
  }

  MirrorOptions options_;
  Writer writer_;
  Decode decode_;
  Logger log_;
  metrics::Counter refused_total_;
  std::map<std::string, std::string> row_of_;  // store key -> row key
  std::map<std::string, std::string> key_of_;  // row key -> store key
  std::map<std::string, std::string> refused_;
  bool synced_ = false;
  bool restored_ = false;
  PrefixFollower follower_;
};

}  // namespace tombolo
