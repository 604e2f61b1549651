// The in-memory store: every version of every key since the last compaction, and a log of events.
#include "core/store/memory_kv.h"

#include <algorithm>
#include <optional>

#include "core/store/etcd_errors.h"

namespace tombolo {
namespace {

bool in_range(std::string_view key, std::string_view begin, std::string_view end) {
  if (end.empty()) return key == begin;
  if (end == std::string_view("\0", 1)) return key >= begin;
  return key >= begin && key < end;
}

template <class T>
bool compare_with(Compare::Operator op, const T& actual, const T& wanted) {
  switch (op) {
    case Compare::Operator::kEqual:
      return actual == wanted;
    case Compare::Operator::kNotEqual:
      return actual != wanted;
    case Compare::Operator::kGreater:
      return actual > wanted;
    case Compare::Operator::kLess:
      return actual < wanted;
  }
  return false;
}

class MemoryWatch final : public Watch {
 public:
  MemoryWatch(MemoryStore& store, MemoryKv& connection, WatchRequest request)
      : store_(store),
        kv_(connection),
        connection_(connection.connection()),
        cluster_id_(store.cluster_id()),
        life_(store.lives()),
        request_(std::move(request)),
        delivered_(request_.start_revision > 0 ? request_.start_revision - 1 : store.revision()) {}

  asio::awaitable<Result<WatchBatch>> next() override {
    while (!ended_) {
      look();
      if (ended_) break;
      WatchBatch batch;
      batch.events = store_.events_after(delivered_, request_.key, request_.range_end);
      batch.revision = std::max(delivered_, store_.revision());
      if (!batch.events.empty() || progress_wanted_) {
        delivered_ = batch.revision;
        progress_wanted_ = false;
        co_return batch;
      }
      if (auto woken = co_await store_.changed().wait(); !woken)
        co_return std::unexpected(std::move(woken).error());
    }
    co_return std::unexpected(*ended_);
  }
  asio::awaitable<Result<void>> request_progress() override {
    look();
    if (ended_) co_return std::unexpected(*ended_);
    progress_wanted_ = true;
    store_.changed().notify_all();
    co_return Result<void>{};
  }
  void cancel() override {
    if (!ended_) ended_ = Error{Code::kCancelled, "the watch was cancelled"};
    store_.changed().notify_all();
  }

 private:
  void look() {
    if (ended_) return;
    if (!kv_.connected() || kv_.connection() != connection_)
      ended_ = Error{Code::kUnavailable, "the connection was cut"};
    else if (store_.cluster_id() != cluster_id_)
      ended_ = Error{Code::kAborted, "cluster id changed"};
    else if (store_.lives() != life_)
      ended_ = Error{Code::kUnavailable, "the store was stopped"};
    else if (delivered_ + 1 < store_.compacted())
      ended_ = etcd::kCompacted.error();
  }

  MemoryStore& store_;
  MemoryKv& kv_;
  std::uint64_t connection_;
  std::uint64_t cluster_id_;
  std::uint64_t life_;
  WatchRequest request_;
  std::int64_t delivered_;
  bool progress_wanted_ = false;
  std::optional<Error> ended_;
};

}  // namespace

const KeyValue* MemoryStore::at(const std::vector<Version>& versions, std::int64_t revision) const {
  for (auto version = versions.rbegin(); version != versions.rend(); ++version)
    if (version->kv.mod_revision <= revision) return version->deleted ? nullptr : &version->kv;
  return nullptr;
}

const KeyValue* MemoryStore::current(std::string_view key) const {
  auto found = versions_.find(key);
  return found == versions_.end() ? nullptr : at(found->second, revision_ + 1);
}

Result<RangeResult> MemoryStore::range(const RangeRequest& request) const {
  if (request.key.empty()) return etcd::kEmptyKey.fail();
  if (request.revision > revision_) return etcd::kFutureRevision.fail();
  if (request.revision > 0 && request.revision < compacted_) return etcd::kCompacted.fail();
  // Inside a transaction the writes before this read count: they carry revision_ + 1.
  std::int64_t revision = request.revision > 0 ? request.revision : revision_ + 1;
  RangeResult result;
  result.revision = revision_;
  result.cluster_id = cluster_id_;
  for (auto key = versions_.lower_bound(request.key); key != versions_.end(); ++key) {
    if (!in_range(key->first, request.key, request.range_end)) break;
    const KeyValue* kv = at(key->second, revision);
    if (kv == nullptr) continue;
    ++result.count;
    if (request.limit > 0 && result.count > request.limit) {
      result.more = true;
      continue;
    }
    result.kvs.push_back(*kv);
    if (request.keys_only) result.kvs.back().value.clear();
  }
  return result;
}

bool MemoryStore::holds(const Compare& compare) const {
  const KeyValue* found = current(compare.key);
  if (found == nullptr && compare.target == Compare::Target::kValue) return false;
  const KeyValue kv = found == nullptr ? KeyValue{} : *found;
  switch (compare.target) {
    case Compare::Target::kVersion:
      return compare_with(compare.op, kv.version, compare.number);
    case Compare::Target::kCreate:
      return compare_with(compare.op, kv.create_revision, compare.number);
    case Compare::Target::kMod:
      return compare_with(compare.op, kv.mod_revision, compare.number);
    case Compare::Target::kLease:
      return compare_with(compare.op, kv.lease, compare.number);
    case Compare::Target::kValue:
      return compare_with(compare.op, kv.value, compare.value);
  }
  return false;
}

Result<void> MemoryStore::check(const std::vector<Operation>& operations) const {
  if (operations.size() > etcd::kMaxTxnOperations) return etcd::kTooManyOperations.fail();
  std::set<std::string> puts;
  std::size_t bytes = 0;
  for (const Operation& operation : operations) {
    const auto* put = std::get_if<Put>(&operation);
    if (put == nullptr) continue;
    if (put->key.empty()) return etcd::kEmptyKey.fail();
    if (!puts.insert(put->key).second) return etcd::kDuplicateKey.fail();
    bytes += put->key.size() + put->value.size();
  }
  if (bytes > etcd::kMaxRequestBytes) return etcd::kRequestTooLarge.fail();
  for (const Operation& operation : operations) {
    const auto* erase = std::get_if<Delete>(&operation);
    if (erase == nullptr) continue;
    if (erase->key.empty()) return etcd::kEmptyKey.fail();
    // A delete "to the end" overlaps with nothing, as in etcd.
    if (erase->range_end == std::string_view("\0", 1)) continue;
    for (const std::string& key : puts)
      if (in_range(key, erase->key, erase->range_end)) return etcd::kDuplicateKey.fail();
  }
  return {};
}

Result<TxnResult> MemoryStore::txn(const TxnRequest& request) {
  if (request.compares.size() > etcd::kMaxTxnOperations) return etcd::kTooManyOperations.fail();
  for (const Compare& compare : request.compares)
    if (compare.key.empty()) return etcd::kEmptyKey.fail();
  TRY_OK(check(request.then));
  TRY_OK(check(request.otherwise));
  TxnResult result;
  result.cluster_id = cluster_id_;
  result.succeeded = std::ranges::all_of(request.compares, [&](const auto& c) { return holds(c); });
  const auto& operations = result.succeeded ? request.then : request.otherwise;
  for (const Operation& operation : operations) {
    if (const auto* put = std::get_if<Put>(&operation); put != nullptr && put->lease != 0)
      TRY_OK(lease_check(put->lease));
    if (const auto* read = std::get_if<RangeRequest>(&operation)) TRY_OK(range(*read));
  }
  bool wrote = false;
  for (const Operation& operation : operations) {
    if (const auto* put = std::get_if<Put>(&operation)) {
      apply_put(*put, revision_ + 1);
      wrote = true;
    } else if (const auto* erase = std::get_if<Delete>(&operation)) {
      wrote = apply_delete(*erase, revision_ + 1) > 0 || wrote;
    } else {
      TRY(found, range(std::get<RangeRequest>(operation)));
      found.revision += wrote ? 1 : 0;
      result.ranges.push_back(std::move(found));
    }
  }
  if (wrote) {
    ++revision_;
    changed_.notify_all();
  }
  result.revision = revision_;
  return result;
}

void MemoryStore::apply_put(const Put& put, std::int64_t revision) {
  const KeyValue* before = current(put.key);
  KeyValue kv{put.key, put.value, revision, revision, 1, put.lease};
  if (before != nullptr) {
    kv.create_revision = before->create_revision;
    kv.version = before->version + 1;
    if (before->lease != 0) leases_[before->lease].erase(put.key);
  }
  if (put.lease != 0) leases_[put.lease].insert(put.key);
  log_.push_back({WatchEvent::Kind::kPut, kv});
  versions_[put.key].push_back({std::move(kv), false});
}

std::size_t MemoryStore::apply_delete(const Delete& erase, std::int64_t revision) {
  std::size_t count = 0;
  for (auto key = versions_.lower_bound(erase.key); key != versions_.end(); ++key) {
    if (!in_range(key->first, erase.key, erase.range_end)) break;
    const KeyValue* before = at(key->second, revision);
    if (before == nullptr) continue;
    if (before->lease != 0) leases_[before->lease].erase(key->first);
    KeyValue gone;
    gone.key = key->first;
    gone.mod_revision = revision;
    log_.push_back({WatchEvent::Kind::kDelete, gone});
    key->second.push_back({std::move(gone), true});
    ++count;
  }
  return count;
}

std::vector<WatchEvent> MemoryStore::events_after(std::int64_t after, std::string_view begin,
                                                  std::string_view end) const {
  auto older = [](const WatchEvent& event, std::int64_t than) {
    return event.kv.mod_revision <= than;
  };
  std::vector<WatchEvent> events;
  for (auto event = std::lower_bound(log_.begin(), log_.end(), after, older); event != log_.end();
       ++event)
    if (in_range(event->kv.key, begin, end)) events.push_back(*event);
  return events;
}

Result<std::int64_t> MemoryStore::lease_grant(std::chrono::seconds ttl) {
  if (ttl.count() > etcd::kMaxLeaseTtl_s) return etcd::kLeaseTtlTooLarge.fail();
  std::int64_t id = next_lease_++;
  leases_[id];
  return id;
}

Result<void> MemoryStore::lease_check(std::int64_t lease) const {
  if (!leases_.contains(lease)) return etcd::kLeaseNotFound.fail();
  return {};
}

Result<void> MemoryStore::lease_revoke(std::int64_t lease) {
  TRY_OK(lease_check(lease));
  std::set<std::string> keys = leases_[lease];
  for (const std::string& key : keys) apply_delete({key, ""}, revision_ + 1);
  leases_.erase(lease);
  if (!keys.empty()) ++revision_;
  changed_.notify_all();
  return {};
}

Result<void> MemoryStore::compact(std::int64_t revision) {
  if (revision <= compacted_) return etcd::kCompacted.fail();
  if (revision > revision_) return etcd::kFutureRevision.fail();
  compacted_ = revision;
  while (!log_.empty() && log_.front().kv.mod_revision < revision) log_.pop_front();
  for (auto key = versions_.begin(); key != versions_.end();) {
    auto& versions = key->second;
    while (versions.size() > 1 && versions[1].kv.mod_revision <= revision)
      versions.erase(versions.begin());
    bool gone = versions.size() == 1 && versions.front().deleted &&
                versions.front().kv.mod_revision <= revision;
    key = gone ? versions_.erase(key) : std::next(key);
  }
  changed_.notify_all();
  return {};
}

void MemoryStore::restore_as(std::uint64_t cluster_id) {
  cluster_id_ = cluster_id;
  ++lives_;
  changed_.notify_all();
}

MemoryStore::Backup MemoryStore::backup() const {
  Backup backup{revision_, {}};
  for (const auto& [key, versions] : versions_)
    if (const KeyValue* kv = at(versions, revision_)) backup.kvs.push_back(*kv);
  return backup;
}

void MemoryStore::restore(const Backup& backup, std::uint64_t cluster_id) {
  versions_.clear();
  log_.clear();
  leases_.clear();
  revision_ = backup.revision;
  compacted_ = backup.revision;
  for (const KeyValue& kv : backup.kvs) {
    versions_[kv.key].push_back({kv, false});
    if (kv.lease != 0) leases_[kv.lease].insert(kv.key);
  }
  restore_as(cluster_id);
}

Result<void> MemoryKv::admit() {
  ++requests_;
  if (!connected_) return fail(Code::kUnavailable, "the connection was cut");
  return {};
}

void MemoryKv::set_connected(bool connected) {
  if (connected_ && !connected) ++connection_;
  connected_ = connected;
  store_.changed().notify_all();
}

asio::awaitable<Result<RangeResult>> MemoryKv::range(RangeRequest request) {
  CO_TRY_OK(admit());
  co_return store_.range(request);
}

asio::awaitable<Result<TxnResult>> MemoryKv::txn(TxnRequest request) {
  CO_TRY_OK(admit());
  co_return store_.txn(request);
}

asio::awaitable<Result<std::unique_ptr<Watch>>> MemoryKv::watch(WatchRequest request) {
  CO_TRY_OK(admit());
  if (request.cluster_id != 0 && request.cluster_id != store_.cluster_id())
    co_return fail(Code::kAborted, "cluster id changed");
  if (request.start_revision > 0 && request.start_revision < store_.compacted())
    co_return etcd::kCompacted.fail();
  std::unique_ptr<Watch> watch = std::make_unique<MemoryWatch>(store_, *this, std::move(request));
  co_return watch;
}

asio::awaitable<Result<std::int64_t>> MemoryKv::lease_grant(std::chrono::seconds ttl) {
  CO_TRY_OK(admit());
  co_return store_.lease_grant(ttl);
}

asio::awaitable<Result<void>> MemoryKv::lease_keep_alive(std::int64_t lease) {
  CO_TRY_OK(admit());
  co_return store_.lease_check(lease);
}

asio::awaitable<Result<void>> MemoryKv::lease_revoke(std::int64_t lease) {
  CO_TRY_OK(admit());
  co_return store_.lease_revoke(lease);
}

}  // namespace tombolo
