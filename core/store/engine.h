// The embedded store: etcd's semantics on SQLite, on a thread of its own. Requests of a burst share
// one transaction of the database and are answered after it is on disk (group commit). Callable
// from every thread; answers come on the engine's thread, whose callbacks must not block.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/log.h"
#include "core/store/watch_hub.h"

namespace tombolo {

struct EngineOptions {
  std::filesystem::path file;
  StoreLimits limits;
  // What waits for the thread; more is refused: "too many requests".
  std::size_t queue_requests = 20'000;
  std::size_t queue_bytes = std::size_t{256} << 20;
  std::size_t batch_requests = 512;  // share one commit
  // Automatic compaction: every interval, to the revision that was current one interval ago, but
  // keeping so many revisions; beyond the maximum of superseded versions, at once.
  Duration compaction_interval = std::chrono::minutes(5);
  std::int64_t keep_revisions = 1000;
  std::size_t max_superseded = 1'000'000;
  Duration progress_interval = std::chrono::minutes(10);
};

class Engine {
 public:
  // Told once. The request and the answer given to a call live until then.
  using Done = std::function<void(Result<void>)>;

  // Errors: those of Database::open.
  static Result<std::unique_ptr<Engine>> open(EngineOptions options, Clock& clock, Logger log);
  // Refuses what still waits.
  ~Engine();

  void range(const pb::RangeRequest& request, pb::RangeResponse& response, Done done);
  void put(const pb::PutRequest& request, pb::PutResponse& response, Done done);
  void delete_range(const pb::DeleteRangeRequest& request, pb::DeleteRangeResponse& response,
                    Done done);
  void txn(const pb::TxnRequest& request, pb::TxnResponse& response, Done done);
  void compact(const pb::CompactionRequest& request, pb::CompactionResponse& response, Done done);
  void lease_grant(const pb::LeaseGrantRequest& request, pb::LeaseGrantResponse& response,
                   Done done);
  void lease_revoke(const pb::LeaseRevokeRequest& request, pb::LeaseRevokeResponse& response,
                    Done done);
  void lease_keep_alive(const pb::LeaseKeepAliveRequest& request,
                        pb::LeaseKeepAliveResponse& response, Done done);
  void lease_time_to_live(const pb::LeaseTimeToLiveRequest& request,
                          pb::LeaseTimeToLiveResponse& response, Done done);
  void lease_leases(pb::LeaseLeasesResponse& response, Done done);
  void hash_kv(const pb::HashKVRequest& request, pb::HashKVResponse& response, Done done);
  void status(pb::StatusResponse& response, Done done);
  void defragment(Done done);
  // The keys that hang on a lease, for the authorizer; empty when there is none.
  void lease_keys(std::int64_t lease, std::vector<std::string>& keys, Done done);

  // `handled` is called on the engine's thread when it is done: who forwards requests of a stranger
  // takes the next one then, so that there is one of each at most.
  using Handled = std::function<void()>;
  void watch_create(WatchSinkPtr sink, WatchSpec spec, Handled handled = nullptr);
  void watch_cancel(WatchSinkPtr sink, std::int64_t watch_id, Handled handled = nullptr);
  void watch_progress(WatchSinkPtr sink, Handled handled = nullptr);
  void watch_close(WatchSinkPtr sink);
  void watch_resume(WatchSinkPtr sink);

  void fill(pb::ResponseHeader& header) const;
  std::int64_t revision() const { return revision_.load(std::memory_order_acquire); }
  std::uint64_t cluster_id() const { return cluster_id_; }
  std::uint64_t member_id() const { return member_id_; }
  const std::filesystem::path& file() const { return options_.file; }
  // Looks at the clock now: for tests that moved it.
  void wake();

 private:
  struct Job {
    bool writes = false;
    std::function<Result<void>()> work;
    Done done;
    std::size_t bytes = 0;  // of the request
  };
  Engine(EngineOptions options, Clock& clock, Logger log);
  void submit(Job job);
  // Never refused: bounded by the streams there are.
  void post(std::function<void()> note);
  void run();
  bool wait_for_work(std::vector<Job>& jobs, std::vector<std::function<void()>>& notes);
  void serve(std::vector<Job> jobs);
  void write(std::vector<Job> jobs);
  bool write_batch(std::vector<Job>& jobs, std::vector<Result<void>>& results);
  void expire_leases();
  void compact_automatically();
  void forget_some();
  Duration idle_limit() const;

  EngineOptions options_;
  Clock& clock_;
  Logger log_;
  std::unique_ptr<Rng> rng_;
  std::unique_ptr<StoreState> state_;
  std::unique_ptr<WatchHub> hub_;
  std::uint64_t cluster_id_ = 0;
  std::uint64_t member_id_ = 0;
  std::atomic<std::int64_t> revision_ = 0;

  // Of the engine's thread.
  bool feeding_ = false;
  bool forgetting_ = false;
  std::vector<Done> physical_;  // compactions that wait until the old versions are gone
  MonotonicTime next_compaction_{};
  std::int64_t revision_before_ = 0;  // at the compaction interval before

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Job> jobs_;
  std::size_t queued_bytes_ = 0;
  std::vector<std::function<void()>> notes_;
  bool stopping_ = false;
  bool woken_ = false;
  std::thread thread_;
};

}  // namespace tombolo
