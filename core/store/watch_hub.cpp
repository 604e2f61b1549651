// Delivery to those who keep up, catching up for those who do not.
#include "core/store/watch_hub.h"

#include <algorithm>

#include "core/store/etcd_errors.h"

namespace tombolo {
namespace {

constexpr std::size_t kChunkRows = 1000;
constexpr std::size_t kChunkBytes = 1024 * 1024;

ChangePtr change_of(LogRow row) {
  auto change = std::make_shared<Change>();
  change->id = row.id;
  change->deleted = row.version == 0;
  change->kv.set_mod_revision(revision_of_id(row.id));
  change->kv.set_create_revision(row.create_revision);
  change->kv.set_version(row.version);
  change->kv.set_lease(row.lease);
  change->kv.set_key(std::move(row.key));
  change->kv.set_value(std::move(row.value));
  return change;
}

}  // namespace

void WatchHub::create(const WatchSinkPtr& sink, WatchSpec spec) {
  Stream& stream = streams_[sink.get()];
  stream.sink = sink;
  std::int64_t now = state_.revision();
  KeyRange range{spec.key, spec.range_end};
  if (!spec.range_end.empty() && !range.to_the_end() && spec.range_end <= spec.key)
    return sink->created(-1, now, fail(Code::kInvalidArgument, "mvcc: watcher range is empty"));
  if (spec.watch_id != 0 && stream.watchers.contains(spec.watch_id))
    return sink->created(
        -1, now,
        fail(Code::kInvalidArgument, "mvcc: duplicate watch ID provided on the WatchStream"));
  if (stream.watchers.size() >= kMaxWatchesOfStream)
    return sink->created(-1, now, etcd::kTooManyRequests.fail());
  std::int64_t id = spec.watch_id;
  if (id == 0) {
    while (stream.watchers.contains(stream.next_id)) ++stream.next_id;
    id = stream.next_id++;
  }
  Watcher watcher;
  watcher.next = spec.start_revision > 0 ? spec.start_revision : now + 1;
  watcher.synced = watcher.next > now;
  watcher.spec = std::move(spec);
  stream.watchers.emplace(id, std::move(watcher));
  ++watches_;
  sink->created(id, now, {});
}

void WatchHub::cancel(const WatchSinkPtr& sink, std::int64_t watch_id) {
  auto stream = streams_.find(sink.get());
  if (stream == streams_.end() || stream->second.watchers.erase(watch_id) == 0) return;
  --watches_;
  sink->cancelled(watch_id, state_.revision());
  answer_progress(stream->second);
}

void WatchHub::close(const WatchSinkPtr& sink) {
  auto stream = streams_.find(sink.get());
  if (stream == streams_.end()) return;
  watches_ -= stream->second.watchers.size();
  streams_.erase(stream);
}

void WatchHub::resume(const WatchSinkPtr& sink) {
  if (auto stream = streams_.find(sink.get()); stream != streams_.end())
    stream->second.blocked = false;
}

void WatchHub::want_progress(const WatchSinkPtr& sink) {
  Stream& stream = streams_[sink.get()];
  stream.sink = sink;
  stream.progress_wanted = true;
  answer_progress(stream);
}

void WatchHub::answer_progress(Stream& stream) {
  if (!stream.progress_wanted) return;
  for (const auto& [id, watcher] : stream.watchers)
    if (!watcher.synced) return;
  stream.progress_wanted = false;
  stream.sink->progress(-1, state_.revision());
}

void WatchHub::collect(const Watcher& watcher, const ChangePtr& change,
                       std::vector<WatchedChange>& into) const {
  const WatchSpec& spec = watcher.spec;
  if (change->kv.mod_revision() < watcher.next) return;
  if (change->deleted ? spec.no_delete : spec.no_put) return;
  if (!KeyRange{spec.key, spec.range_end}.contains(change->kv.key())) return;
  WatchedChange watched{change, nullptr};
  if (spec.previous) watched.previous = state_.previous(*change);
  into.push_back(std::move(watched));
}

void WatchHub::offer(Stream& stream, std::int64_t id, Watcher& watcher,
                     std::vector<WatchedChange> changes, std::int64_t upto) {
  if (!changes.empty()) {
    watcher.quiet = false;
    if (!stream.sink->deliver({id, upto, std::move(changes)})) {
      watcher.synced = false;
      stream.blocked = true;
      return;
    }
  }
  watcher.next = std::max(watcher.next, upto + 1);
  watcher.synced = watcher.next > state_.revision();
}

void WatchHub::publish(const std::vector<ChangePtr>& changes) {
  for (auto& [sink, stream] : streams_) {
    for (auto& [id, watcher] : stream.watchers) {
      if (!watcher.synced) continue;
      std::vector<WatchedChange> matching;
      for (const ChangePtr& change : changes) collect(watcher, change, matching);
      offer(stream, id, watcher, std::move(matching), state_.revision());
    }
  }
}

Result<std::int64_t> WatchHub::read_chunk(std::int64_t from, std::vector<LogRow>& rows) const {
  TRY(chunk, state_.database().rows_from(first_id_of(from), kChunkRows, kChunkBytes));
  rows = std::move(chunk);
  std::size_t bytes = 0;
  for (const LogRow& row : rows) bytes += row.key.size() + row.value.size();
  if (rows.size() < kChunkRows && bytes < kChunkBytes) return state_.revision();
  std::int64_t last = revision_of_id(rows.back().id);
  while (true) {
    TRY(more, state_.database().rows_from(rows.back().id + 1, kChunkRows, kChunkBytes));
    if (more.empty()) return state_.revision();
    for (LogRow& row : more) {
      if (revision_of_id(row.id) != last) return last;
      rows.push_back(std::move(row));
    }
  }
}

bool WatchHub::feed_one(Stream& stream, std::int64_t id, Watcher& watcher) {
  if (watcher.next < state_.compacted()) {
    stream.sink->compacted(id, state_.revision(), state_.compacted());
    return false;
  }
  std::vector<LogRow> rows;
  Result<std::int64_t> upto = read_chunk(watcher.next, rows);
  if (!upto) {
    // The file cannot be read: the client has to come again.
    stream.sink->cancelled(id, state_.revision());
    return false;
  }
  std::vector<WatchedChange> matching;
  for (LogRow& row : rows) collect(watcher, change_of(std::move(row)), matching);
  offer(stream, id, watcher, std::move(matching), *upto);
  return true;
}

bool WatchHub::feed() {
  bool more = false;
  for (auto& [sink, stream] : streams_) {
    for (auto at = stream.watchers.begin(); at != stream.watchers.end() && !stream.blocked;) {
      if (at->second.synced) {
        ++at;
        continue;
      }
      bool stays = feed_one(stream, at->first, at->second);
      more = more || (stays && !at->second.synced && !stream.blocked);
      if (stays) {
        ++at;
      } else {
        at = stream.watchers.erase(at);
        --watches_;
      }
    }
    answer_progress(stream);
  }
  return more;
}

void WatchHub::tick(MonotonicTime now) {
  if (!next_tick_) next_tick_ = now + progress_interval_;
  if (now < *next_tick_) return;
  next_tick_ = now + progress_interval_;
  for (auto& [sink, stream] : streams_)
    for (auto& [id, watcher] : stream.watchers) {
      if (watcher.spec.progress_notify && watcher.synced && watcher.quiet)
        stream.sink->progress(id, state_.revision());
      watcher.quiet = true;
    }
}

}  // namespace tombolo
