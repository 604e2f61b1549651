// Who watches what in the embedded store. A watch that keeps up gets changes as they are committed;
// one that fell behind, or starts in the past, is fed from the log, as etcd does. What waits for a
// slow reader is bounded by its sink. Engine's thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/store/store_state.h"

namespace tombolo {

struct WatchSpec {
  std::string key;
  std::string range_end;
  std::int64_t start_revision = 0;  // 0: from now on
  std::int64_t watch_id = 0;        // 0: chosen
  bool previous = false;
  bool no_put = false;
  bool no_delete = false;
  bool progress_notify = false;
};

struct WatchedChange {
  ChangePtr change;
  std::shared_ptr<const mvccpb::KeyValue> previous;  // if asked for and still there
};

// All changes of the watch up to `revision`, after those of the delivery before.
struct WatchDelivery {
  std::int64_t watch_id = 0;
  std::int64_t revision = 0;
  std::vector<WatchedChange> changes;
};

// One client's stream of watches. Called on the engine's thread; must not block.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // False: there is no room, nothing was taken. The hub waits for Engine::watch_resume().
  virtual bool deliver(WatchDelivery delivery) = 0;
  // Small messages, always taken: their number is bounded by what the client asked for.
  virtual void created(std::int64_t watch_id, std::int64_t revision, Result<void> outcome) = 0;
  virtual void cancelled(std::int64_t watch_id, std::int64_t revision) = 0;
  virtual void compacted(std::int64_t watch_id, std::int64_t revision,
                         std::int64_t compact_revision) = 0;
  // Everything up to `revision` was delivered; -1: to all watches of the stream.
  virtual void progress(std::int64_t watch_id, std::int64_t revision) = 0;
};
using WatchSinkPtr = std::shared_ptr<WatchSink>;

class WatchHub {
 public:
  static constexpr std::size_t kMaxWatchesOfStream = 10'000;

  WatchHub(StoreState& state, Duration progress_interval)
      : state_(state), progress_interval_(progress_interval) {}

  void create(const WatchSinkPtr& sink, WatchSpec spec);
  void cancel(const WatchSinkPtr& sink, std::int64_t watch_id);
  void close(const WatchSinkPtr& sink);   // the stream is over
  void resume(const WatchSinkPtr& sink);  // there is room again
  // Answered once all watches of the stream are up to date.
  void want_progress(const WatchSinkPtr& sink);
  // What was just committed.
  void publish(const std::vector<ChangePtr>& changes);
  // Feeds those that are behind, a chunk each; true when there is more to do right away.
  bool feed();
  // Progress for the quiet watches that asked for it.
  void tick(MonotonicTime now);
  std::size_t watches() const { return watches_; }

 private:
  struct Watcher {
    WatchSpec spec;
    std::int64_t next = 0;  // the first revision that was not delivered
    bool synced = false;
    bool quiet = true;  // since the last tick
  };
  struct Stream {
    WatchSinkPtr sink;
    std::map<std::int64_t, Watcher> watchers;
    std::int64_t next_id = 0;
    bool blocked = false;
    bool progress_wanted = false;
  };
  void collect(const Watcher& watcher, const ChangePtr& change,
               std::vector<WatchedChange>& into) const;
  // False when the watcher is gone.
  bool feed_one(Stream& stream, std::int64_t id, Watcher& watcher);
  // The log from the watcher's place, to the end of a revision; which revision that is.
  Result<std::int64_t> read_chunk(std::int64_t from, std::vector<LogRow>& rows) const;
  void offer(Stream& stream, std::int64_t id, Watcher& watcher, std::vector<WatchedChange> changes,
             std::int64_t upto);
  void answer_progress(Stream& stream);

  StoreState& state_;
  Duration progress_interval_;
  std::optional<MonotonicTime> next_tick_;
  std::map<WatchSink*, Stream> streams_;
  std::size_t watches_ = 0;
};

}  // namespace tombolo
