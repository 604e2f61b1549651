// Batches, repairs and the periodic look whether the store still agrees.
#include "core/store/key_publisher.h"

#include <algorithm>

#include "core/store/etcd_errors.h"

namespace tombolo {
namespace {

constexpr std::size_t kBatchOperations = 100;
constexpr std::size_t kBatchBytes = 1024 * 1024;
constexpr std::int64_t kPage = 1000;

// Keys that are there and ours, with their revisions. Under a prefix that many publish to, a key
// that is to go may be somebody else's by now: an address that has moved to another node.
asio::awaitable<Result<std::map<std::string, std::int64_t>>> ours_of(
    Kv& kv, std::function<bool(const KeyValue&)> owns, std::vector<std::string> keys) {
  std::map<std::string, std::int64_t> ours;
  if (keys.empty()) co_return ours;
  TxnRequest request;
  for (std::string& key : keys) request.then.emplace_back(RangeRequest{.key = std::move(key)});
  CO_TRY(result, co_await kv.txn(std::move(request)));
  for (const RangeResult& range : result.ranges)
    for (const KeyValue& pair : range.kvs)
      if (owns(pair)) ours.emplace(pair.key, pair.mod_revision);
  co_return ours;
}

}  // namespace

KeyPublisher::KeyPublisher(PublishOptions options, Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng,
                           Logger log)
    : options_(std::move(options)),
      kv_(kv),
      tasks_(tasks),
      clock_(clock),
      rng_(rng),
      log_(log.with("publisher", options_.name)),
      unlocked_(tasks.executor()) {}

// Writers take turns, so that two transactions about one key never overtake each other.
asio::awaitable<Result<void>> KeyPublisher::lock() {
  while (locked_) {
    CO_TRY_OK(co_await unlocked_.wait());
  }
  locked_ = true;
  co_return Result<void>{};
}

void KeyPublisher::unlock() {
  locked_ = false;
  unlocked_.notify_all();
}

void KeyPublisher::use_lease(std::int64_t lease) {
  lease_ = lease;
  repair_needed_ = true;
  unlocked_.notify_all();
}

asio::awaitable<Result<void>> KeyPublisher::apply(std::vector<Change> changes) {
  std::set<std::string> keys;
  for (Change& change : changes) {
    keys.insert(change.key);
    if (!change.value) {
      wanted_.erase(change.key);
      continue;
    }
    Wanted& wanted = wanted_[change.key];
    if (wanted.written && wanted.value == *change.value && wanted.lease == lease_) {
      keys.erase(change.key);
      continue;
    }
    wanted = {std::move(*change.value), lease_, false};
  }
  CO_TRY_OK(co_await lock());
  Result<void> done = co_await write(keys);
  unlock();
  co_return done;
}

asio::awaitable<Result<void>> KeyPublisher::write(std::set<std::string> keys) {
  keys.merge(owed_);
  owed_.clear();
  Result<void> done = co_await write_batches(keys);
  if (!done) owed_ = std::move(keys);
  co_return done;
}

asio::awaitable<Result<void>> KeyPublisher::write_batches(const std::set<std::string>& keys) {
  if (options_.leased && lease_ == 0 && !keys.empty())
    co_return fail(Code::kUnavailable, "no lease yet for {}", options_.prefix);
  auto next = keys.begin();
  while (next != keys.end()) {
    TxnRequest request;
    std::vector<std::string> batch;
    std::vector<std::string> to_go;  // ascending
    std::size_t bytes = 0;
    std::int64_t lease = lease_;
    for (; next != keys.end() && batch.size() < kBatchOperations; ++next) {
      auto wanted = wanted_.find(*next);
      std::size_t size = next->size() + (wanted == wanted_.end() ? 0 : wanted->second.value.size());
      if (!batch.empty() && bytes + size > kBatchBytes) break;
      bytes += size;
      batch.push_back(*next);
      if (wanted == wanted_.end()) to_go.push_back(*next);
    }
    std::map<std::string, std::int64_t> ours;
    if (options_.owns) {
      CO_TRY(looked_up, co_await ours_of(kv_, options_.owns, to_go));
      ours = std::move(looked_up);
    }
    for (const std::string& key : batch) {
      auto wanted = wanted_.find(key);
      if (wanted != wanted_.end()) {
        request.then.emplace_back(Put{key, wanted->second.value, lease});
        continue;
      }
      if (options_.owns) {
        // What is wanted no more since the look is looked at the next time.
        if (!std::ranges::binary_search(to_go, key)) owed_.insert(key);
        auto known = ours.find(key);
        if (known == ours.end()) continue;
        Compare unchanged;
        unchanged.key = key;
        unchanged.number = known->second;
        request.compares.push_back(std::move(unchanged));
      }
      request.then.emplace_back(Delete{key, ""});
    }
    if (request.then.empty()) continue;
    std::vector<Operation> sent = request.then;
    CO_TRY(result, co_await kv_.txn(std::move(request)));
    note_cluster(result.cluster_id);
    if (!result.succeeded) co_return fail(Code::kAborted, "a key changed meanwhile: again");
    for (const Operation& operation : sent) {
      const auto* put = std::get_if<Put>(&operation);
      if (put == nullptr) continue;
      auto wanted = wanted_.find(put->key);
      if (wanted == wanted_.end() || wanted->second.value != put->value) continue;
      wanted->second.written = true;
      wanted->second.lease = lease;
    }
  }
  co_return Result<void>{};
}

// Another store than the one written to: what was written there counts for nothing.
void KeyPublisher::note_cluster(std::uint64_t cluster_id) {
  if (cluster_id_ != 0 && cluster_id_ != cluster_id) {
    log_.warning("the store under {} was replaced: publishing everything again", options_.prefix);
    repair_needed_ = true;
    unlocked_.notify_all();
  }
  cluster_id_ = cluster_id;
}

asio::awaitable<Result<void>> KeyPublisher::prune() {
  pruning_ = true;
  CO_TRY_OK(co_await lock());
  Result<void> done = co_await repair();
  unlock();
  co_return done;
}

asio::awaitable<Result<void>> KeyPublisher::repair() {
  repair_needed_ = false;
  ++repairs_;
  std::set<std::string> wrong;
  for (const auto& [key, wanted] : wanted_) wrong.insert(key);
  RangeRequest request;
  request.key = options_.prefix;
  request.range_end = prefix_end(options_.prefix);
  request.limit = kPage;
  while (true) {
    CO_TRY(page, co_await kv_.range(request));
    note_cluster(page.cluster_id);
    request.revision = page.revision;
    for (const KeyValue& kv : page.kvs) {
      if (options_.owns && !options_.owns(kv)) continue;
      auto wanted = wanted_.find(kv.key);
      if (wanted == wanted_.end()) {
        if (pruning_) wrong.insert(kv.key);
      } else if (wanted->second.value == kv.value && kv.lease == lease_) {
        wanted->second.written = true;
        wanted->second.lease = lease_;
        wrong.erase(kv.key);
      }
    }
    if (!page.more || page.kvs.empty()) break;
    request.key = page.kvs.back().key + '\0';
  }
  co_return co_await write(wrong);
}

// A restored store has another cluster id; a lost key shows in the count, when the prefix is ours
// alone.
asio::awaitable<Result<bool>> KeyPublisher::store_agrees() {
  RangeRequest request;
  request.key = options_.prefix;
  request.range_end = prefix_end(options_.prefix);
  request.limit = 1;
  request.keys_only = true;
  CO_TRY(page, co_await kv_.range(std::move(request)));
  note_cluster(page.cluster_id);
  if (repair_needed_) co_return false;
  if (options_.owns || !pruning_) co_return true;
  bool all_written = true;
  for (const auto& [key, wanted] : wanted_) all_written = all_written && wanted.written;
  co_return !all_written || page.count == static_cast<std::int64_t>(wanted_.size());
}

asio::awaitable<void> KeyPublisher::run() {
  std::uint32_t attempts = 0;
  MonotonicTime checked = clock_.now();
  while (!tasks_.cancelled()) {
    Result<void> done;
    if (auto turn = co_await lock(); !turn) co_return;
    if (!repair_needed_ && clock_.now() - checked >= options_.check_interval) {
      Result<bool> agrees = co_await store_agrees();
      if (!agrees)
        done = std::unexpected(agrees.error());
      else if (!*agrees)
        repair_needed_ = true;
      checked = clock_.now();
    }
    if (done && !repair_needed_ && !owed_.empty()) done = co_await write({});
    if (done && repair_needed_ && (!options_.leased || lease_ != 0)) done = co_await repair();
    unlock();
    Duration pause = std::min<Duration>(std::chrono::seconds(1), options_.check_interval);
    if (done) {
      attempts = 0;
    } else {
      repair_needed_ = true;
      if (attempts == 0) log_.warning("{}: {}", options_.prefix, done.error().text());
      pause = backoff(attempts++, options_.retry_base, options_.retry_cap, rng_);
    }
    if (auto slept = co_await clock_.sleep_for(pause); !slept) co_return;
  }
}

}  // namespace tombolo
