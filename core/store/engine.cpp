// The engine's thread: reads first, then all writes in one commit, then watches and housekeeping.
#include "core/store/engine.h"

#include <algorithm>

#include "core/metrics.h"
#include "core/store/etcd_errors.h"

namespace tombolo {
namespace {

constexpr std::size_t kForgetAtOnce = 500;
constexpr std::size_t kExpireAtOnce = 100;

}  // namespace

Engine::Engine(EngineOptions options, Clock& clock, Logger log)
    : options_(std::move(options)),
      clock_(clock),
      log_(log.with("store", options_.file.string())),
      rng_(make_system_rng()) {}

Result<std::unique_ptr<Engine>> Engine::open(EngineOptions options, Clock& clock, Logger log) {
  std::unique_ptr<Engine> engine(new Engine(std::move(options), clock, log));
  TRY(state,
      StoreState::open(engine->options_.file, engine->options_.limits, clock, *engine->rng_));
  engine->state_ = std::move(state);
  engine->hub_ = std::make_unique<WatchHub>(*engine->state_, engine->options_.progress_interval);
  engine->cluster_id_ = engine->state_->cluster_id();
  engine->member_id_ = engine->state_->member_id();
  engine->revision_ = engine->state_->revision();
  engine->revision_before_ = engine->state_->revision();
  engine->next_compaction_ = clock.now() + engine->options_.compaction_interval;
  // Left by a compaction that a stop interrupted.
  engine->forgetting_ = true;
  engine->thread_ = std::thread([raw = engine.get()] { raw->run(); });
  return engine;
}

Engine::~Engine() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (Job& job : jobs_) job.done(etcd::kStopped.fail());
  for (Done& done : physical_) done(etcd::kStopped.fail());
}

void Engine::submit(Job job) {
  std::unique_lock lock(mutex_);
  bool accepted = !stopping_ && jobs_.size() < options_.queue_requests &&
                  queued_bytes_ + job.bytes <= options_.queue_bytes;
  if (!accepted) {
    lock.unlock();
    job.done(etcd::kTooManyRequests.fail());
    return;
  }
  queued_bytes_ += job.bytes;
  jobs_.push_back(std::move(job));
  lock.unlock();
  arrived_.notify_one();
}

void Engine::post(std::function<void()> note) {
  {
    std::lock_guard lock(mutex_);
    notes_.push_back(std::move(note));
  }
  arrived_.notify_one();
}

void Engine::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  arrived_.notify_one();
}

void Engine::fill(pb::ResponseHeader& header) const {
  header.set_cluster_id(cluster_id_);
  header.set_member_id(member_id_);
  header.set_revision(revision());
  header.set_raft_term(1);
}

// How long the thread may sleep when nobody asks for anything.
Duration Engine::idle_limit() const {
  if (feeding_ || forgetting_) return Duration::zero();
  Duration limit = std::chrono::milliseconds(500);
  if (auto deadline = state_->leases().next_deadline())
    limit = std::min(limit, *deadline - clock_.now());
  return std::max(limit, Duration::zero());
}

bool Engine::wait_for_work(std::vector<Job>& jobs, std::vector<std::function<void()>>& notes) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, idle_limit(),
                    [&] { return stopping_ || woken_ || !jobs_.empty() || !notes_.empty(); });
  woken_ = false;
  std::size_t count = std::min(jobs_.size(), options_.batch_requests);
  for (std::size_t i = 0; i < count; ++i) {
    queued_bytes_ -= jobs_.front().bytes;
    jobs.push_back(std::move(jobs_.front()));
    jobs_.pop_front();
  }
  notes = std::exchange(notes_, {});
  return !stopping_ || !jobs.empty();
}

void Engine::run() {
  while (true) {
    std::vector<Job> jobs;
    std::vector<std::function<void()>> notes;
    if (!wait_for_work(jobs, notes)) return;
    for (auto& note : notes) note();
    serve(std::move(jobs));
    expire_leases();
    compact_automatically();
    if (forgetting_) forget_some();
    feeding_ = hub_->feed();
    hub_->tick(clock_.now());
  }
}

// Reads see what is committed: no write of this batch has been acknowledged yet.
void Engine::serve(std::vector<Job> jobs) {
  std::vector<Job> writes;
  for (Job& job : jobs) {
    if (job.writes)
      writes.push_back(std::move(job));
    else
      job.done(job.work());
  }
  if (!writes.empty()) write(std::move(writes));
}

// True when the batch is on disk. On a failure of the database nothing of it is.
bool Engine::write_batch(std::vector<Job>& jobs, std::vector<Result<void>>& results) {
  static const auto seconds = metrics::latency_histogram(
      "tombolo_store_commit_seconds", "Time of one group commit of the embedded store");
  MonotonicTime started = clock_.now();
  results.clear();
  Result<void> outcome = state_->begin();
  for (Job& job : jobs) {
    if (!outcome) break;
    results.push_back(job.work());
    if (state_->failed())
      outcome = results.back() ? fail(Code::kInternal, "the database failed") : results.back();
  }
  if (outcome) outcome = state_->commit();
  seconds.observe(std::chrono::duration<double>(clock_.now() - started).count());
  if (outcome) return true;
  log_.error("a commit of {} requests failed: {}", jobs.size(), outcome.error().text());
  state_->abandon();
  results.assign(jobs.size(), Result<void>(std::unexpected(outcome.error())));
  return false;
}

void Engine::write(std::vector<Job> jobs) {
  std::vector<Result<void>> results;
  if (!write_batch(jobs, results) && jobs.size() > 1) {
    // One request may have spoiled it for all: each on its own.
    for (Job& job : jobs) {
      std::vector<Job> alone;
      alone.push_back(std::move(job));
      write(std::move(alone));
    }
    return;
  }
  ENSURE(!state_->failed(), "{}: the store cannot be read back", options_.file.string());
  revision_.store(state_->revision(), std::memory_order_release);
  std::vector<ChangePtr> changes = state_->take_changes();
  for (std::size_t i = 0; i < jobs.size(); ++i)
    if (jobs[i].done) jobs[i].done(std::move(results[i]));
  if (!changes.empty()) hub_->publish(changes);
}

void Engine::expire_leases() {
  std::vector<Job> jobs;
  for (std::int64_t id : state_->expired_leases(kExpireAtOnce)) {
    log_.info("lease {:x} expired", id);
    jobs.push_back({true, [this, id] { return state_->lease_revoke(id); }, nullptr});
  }
  if (!jobs.empty()) write(std::move(jobs));
}

void Engine::compact_automatically() {
  MonotonicTime now = clock_.now();
  std::int64_t revision = state_->revision();
  std::int64_t target = state_->compacted();
  if (now >= next_compaction_) {
    next_compaction_ = now + options_.compaction_interval;
    target = std::max(target, std::min(revision_before_, revision - options_.keep_revisions));
    revision_before_ = revision;
  }
  if (state_->index().superseded() > options_.max_superseded && !forgetting_)
    target = std::max(target, revision - options_.keep_revisions);
  if (target <= state_->compacted()) return;
  std::vector<Job> jobs;
  jobs.push_back({true, [this, target] { return state_->compact(target); }, nullptr});
  write(std::move(jobs));
  forgetting_ = true;
}

void Engine::forget_some() {
  bool more = false;
  auto work = [this, &more]() -> Result<void> {
    TRY(left, state_->forget_some(kForgetAtOnce));
    more = left;
    return {};
  };
  std::vector<Job> jobs;
  jobs.push_back({true, work, nullptr});
  write(std::move(jobs));
  forgetting_ = more;
  if (forgetting_) return;
  for (Done& done : std::exchange(physical_, {})) done({});
}

}  // namespace tombolo
