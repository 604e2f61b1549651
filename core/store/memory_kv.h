// An in-memory store behind the Kv port, for tests and simulations: the same semantics as etcd's
// where the port shows them (revisions, one per transaction; past reads; compaction; watches from a
// past revision; leases), no threads, no time of its own. One MemoryStore is one store; every
// MemoryKv is one client's connection to it, which a test can cut. All of one executor.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/kv.h"
#include "core/task_group.h"

namespace tombolo {

class MemoryStore {
 public:
  explicit MemoryStore(asio::any_io_executor executor, std::uint64_t cluster_id = 1)
      : cluster_id_(cluster_id), changed_(executor) {}

  Result<RangeResult> range(const RangeRequest& request) const;
  Result<TxnResult> txn(const TxnRequest& request);
  Result<std::int64_t> lease_grant(std::chrono::seconds ttl);
  Result<void> lease_check(std::int64_t lease) const;
  Result<void> lease_revoke(std::int64_t lease);  // also what an expiry does

  // What a test does to the store.
  Result<void> compact(std::int64_t revision);
  // The store is put back from a backup: the same data, another cluster id (or the same one, as
  // etcd has it when members and token are the same). Watches end.
  void restore_as(std::uint64_t cluster_id);
  // What a backup holds: the data of now, without its history.
  struct Backup {
    std::int64_t revision = 1;
    std::vector<KeyValue> kvs;
  };
  Backup backup() const;
  // As restore_as, with the data of an older backup. Leases that hold keys come back with them.
  void restore(const Backup& backup, std::uint64_t cluster_id);
  std::uint64_t cluster_id() const { return cluster_id_; }
  std::uint64_t lives() const { return lives_; }  // rises when it is restored
  std::int64_t revision() const { return revision_; }
  std::int64_t compacted() const { return compacted_; }
  std::size_t leases() const { return leases_.size(); }

  // For MemoryKv: the events of [begin, end) with mod_revision > after, in order.
  std::vector<WatchEvent> events_after(std::int64_t after, std::string_view begin,
                                       std::string_view end) const;
  Signal& changed() { return changed_; }

 private:
  struct Version {
    KeyValue kv;
    bool deleted = false;
  };
  using Versions = std::map<std::string, std::vector<Version>, std::less<>>;

  const KeyValue* at(const std::vector<Version>& versions, std::int64_t revision) const;
  const KeyValue* current(std::string_view key) const;
  bool holds(const Compare& compare) const;
  Result<void> check(const std::vector<Operation>& operations) const;
  void apply_put(const Put& put, std::int64_t revision);
  std::size_t apply_delete(const Delete& erase, std::int64_t revision);

  std::uint64_t cluster_id_;
  std::uint64_t lives_ = 1;
  std::int64_t revision_ = 1;
  std::int64_t compacted_ = 0;
  std::int64_t next_lease_ = 1;
  Versions versions_;
  std::deque<WatchEvent> log_;
  std::map<std::int64_t, std::set<std::string>> leases_;
  Signal changed_;
};

class MemoryKv : public Kv {
 public:
  explicit MemoryKv(MemoryStore& store) : store_(store) {}

  asio::awaitable<Result<RangeResult>> range(RangeRequest request) override;
  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override;
  asio::awaitable<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override;
  asio::awaitable<Result<std::int64_t>> lease_grant(std::chrono::seconds ttl) override;
  asio::awaitable<Result<void>> lease_keep_alive(std::int64_t lease) override;
  asio::awaitable<Result<void>> lease_revoke(std::int64_t lease) override;

  // Cut: every request answers kUnavailable and every watch ends so.
  void set_connected(bool connected);
  bool connected() const { return connected_; }
  std::uint64_t connection() const { return connection_; }  // rises with every cut
  // How many requests of any kind were asked for, for tests of retries and batches.
  std::uint64_t requests() const { return requests_; }

 private:
  Result<void> admit();
  MemoryStore& store_;
  bool connected_ = true;
  std::uint64_t connection_ = 0;
  std::uint64_t requests_ = 0;
};

}  // namespace tombolo
