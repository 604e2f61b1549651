// What a daemon last knew of a store, kept beside it: keys and values as they were read, so that a
// process that starts while its store is away goes on with them. A cache that is never the truth:
// the first list of the store removes what is gone. Control thread; the disk on a worker.
//
//   store --KvMirror--> rows            KvMirror --put, erase, listed--> LastKnown --> file
//   file --load, before the loop runs--> KvMirror::restore() --> rows
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/kv.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo {

struct KnownPrefix {
  bool complete = false;  // it was listed to its end once, and everything since is there
  std::vector<KeyValue> kvs;
};

// The port that mirrors write to.
class LastKnown {
 public:
  virtual ~LastKnown() = default;
  // What an earlier life left. Once per prefix, before the first put below it.
  virtual KnownPrefix load(const std::string& prefix) = 0;
  // Soon on the disk; the last word on a key counts. Keys that are in no store ("seen/…") are for
  // what this node remembers of the store itself.
  virtual void put(const std::string& key, const std::string& value) = 0;
  virtual void erase(const std::string& key) = 0;
  // Everything below the prefix has been put.
  virtual void listed(const std::string& prefix) = 0;
};

struct LastKnownOptions {
  std::string file;
  std::int64_t max_file_bytes = std::int64_t{4} << 30;  // then it is full, as a disk is
  // Changes that wait for the disk. Beyond it they are dropped, and the file no longer passes for
  // complete until the store has been listed again.
  std::size_t max_waiting_bytes = std::size_t{64} << 20;
  std::size_t batch = 4096;  // changes per transaction
  Duration gather = std::chrono::milliseconds(20);
  Duration retry_base = std::chrono::milliseconds(200);
  Duration retry_cap = std::chrono::seconds(30);
};

// In SQLite (WAL, synchronous=NORMAL: a kill loses nothing, a power cut the last moments, neither
// order nor form).
class LastKnownFile : public LastKnown {
 public:
  // Reads the file, or makes it; blocks. A damaged file is moved to FILE.damaged with a line in the
  // log, and an empty one takes its place. kFailedPrecondition: a newer tombolod or somebody else
  // wrote it; kUnavailable: another process has it open.
  static Result<std::unique_ptr<LastKnownFile>> open(LastKnownOptions options, TaskGroup& tasks,
                                                     Clock& clock, Rng& rng, Logger log);
  // Writes until the group is cancelled. What cannot be written is told once and tried again.
  virtual asio::awaitable<void> run() = 0;
  // Writes what still waits, on the caller's thread: after the group was joined.
  virtual Result<void> finish() = 0;
  // Everything that was said is in the file.
  virtual bool settled() const = 0;
};

}  // namespace tombolo
