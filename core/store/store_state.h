// What the embedded store knows and how requests read and change it: etcd's semantics over the log,
// the index and the leases. Single-threaded; core/store/engine.h gives it a thread, group commit
// and watches. Requests and answers are etcd's own messages (schema/etcd/rpc.proto), the errors are
// etcd's (core/store/etcd_errors.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/store/database.h"
#include "core/store/key_index.h"
#include "core/store/lease_table.h"
#include "schema/etcd/rpc.pb.h"

namespace tombolo {

namespace pb = etcdserverpb;

// One version of one key that a transaction wrote, for watches.
struct Change {
  mvccpb::KeyValue kv;  // of a deletion: key and mod_revision
  bool deleted = false;
  std::int64_t id = 0;
};
using ChangePtr = std::shared_ptr<const Change>;

struct StoreLimits {
  std::int64_t quota_bytes = std::int64_t{2} << 30;  // of the file; then only deletes are taken
  std::size_t answer_bytes = std::size_t{256} << 20;
  std::size_t leases = 100'000;
};

class StoreState {
 public:
  static Result<std::unique_ptr<StoreState>> open(const std::filesystem::path& file,
                                                  StoreLimits limits, Clock& clock, Rng& rng);

  // Reads. Never inside begin() … commit().
  Result<void> range(const pb::RangeRequest& request, pb::RangeResponse& response) const;
  Result<void> lease_keep_alive(const pb::LeaseKeepAliveRequest& request,
                                pb::LeaseKeepAliveResponse& response);
  Result<void> lease_time_to_live(const pb::LeaseTimeToLiveRequest& request,
                                  pb::LeaseTimeToLiveResponse& response) const;
  Result<void> lease_leases(pb::LeaseLeasesResponse& response) const;
  Result<void> hash_kv(const pb::HashKVRequest& request, pb::HashKVResponse& response) const;
  Result<void> status(pb::StatusResponse& response) const;

  // Writes, between begin() and commit(). A request that is refused has changed nothing. An error
  // of the database itself shows as failed(): then commit() must not be called but abandon().
  Result<void> begin();
  Result<void> commit();
  void abandon();
  bool failed() const { return failed_; }
  Result<void> put(const pb::PutRequest& request, pb::PutResponse& response);
  Result<void> delete_range(const pb::DeleteRangeRequest& request,
                            pb::DeleteRangeResponse& response);
  Result<void> txn(const pb::TxnRequest& request, pb::TxnResponse& response);
  Result<void> lease_grant(const pb::LeaseGrantRequest& request, pb::LeaseGrantResponse& response);
  Result<void> lease_revoke(std::int64_t id);
  std::vector<std::int64_t> expired_leases(std::size_t limit) const;
  // Marks the revision; forget_some() then removes what it made superfluous.
  Result<void> compact(std::int64_t revision);
  // True when there is more to remove.
  Result<bool> forget_some(std::size_t limit);

  void fill(pb::ResponseHeader& header) const;
  std::int64_t revision() const { return revision_; }
  std::int64_t compacted() const { return compacted_; }
  std::uint64_t cluster_id() const { return cluster_id_; }
  std::uint64_t member_id() const { return member_id_; }
  const LeaseTable& leases() const { return leases_; }
  const KeyIndex& index() const { return index_; }
  Database& database() const { return *database_; }
  // What was written since the last call, in order; empty after abandon().
  std::vector<ChangePtr> take_changes();
  // The pair before the change, nullptr when there was none or a compaction took it.
  std::shared_ptr<const mvccpb::KeyValue> previous(const Change& change) const;

 private:
  StoreState(std::unique_ptr<Database> database, StoreLimits limits, Clock& clock, Rng& rng);
  Result<void> load();
  Result<void> load_numbers();

  // One transaction: all its changes have the revision after the one before.
  struct Writing {
    std::int64_t revision = 0;
    std::int64_t changes = 0;
  };
  Writing start() const { return {revision_ + 1, 0}; }
  void finish(const Writing& writing);
  Result<void> append(Writing& writing, LogRow row);
  Result<void> put_in(Writing& writing, const pb::PutRequest& request, pb::PutResponse& response);
  Result<void> delete_in(Writing& writing, const pb::DeleteRangeRequest& request,
                         pb::DeleteRangeResponse& response);
  Result<void> range_at(const pb::RangeRequest& request, std::int64_t now,
                        pb::RangeResponse& response) const;
  // `branches` holds the outcome of every transaction on the path, in the order of their visit.
  Result<void> txn_in(Writing& writing, const pb::TxnRequest& request,
                      const std::vector<bool>& branches, std::size_t& next,
                      pb::TxnResponse& response);
  Result<void> choose(const pb::TxnRequest& request, std::vector<bool>& branches) const;
  Result<bool> holds(const pb::Compare& compare) const;
  Result<void> admit_put(const pb::PutRequest& request) const;
  Result<void> admit_path(const pb::TxnRequest& request, bool puts,
                          const std::vector<bool>& branches, std::size_t& next) const;
  Result<void> admit_read(const pb::RangeRequest& request) const;
  Result<void> room_for_more() const;
  Result<void> fill_pair(const std::string& key, const Version& version, bool with_value,
                         mvccpb::KeyValue& pair) const;
  Result<void> watch_database(Result<void> done) const;

  std::unique_ptr<Database> database_;
  StoreLimits limits_;
  Clock& clock_;
  Rng& rng_;
  KeyIndex index_;
  LeaseTable leases_;
  std::int64_t revision_ = 1;
  std::int64_t compacted_ = -1;  // never, as etcd says it
  std::uint64_t cluster_id_ = 0;
  std::uint64_t member_id_ = 0;
  mutable bool failed_ = false;
  bool revision_dirty_ = false;
  bool over_quota_ = false;
  std::vector<ChangePtr> changes_;
};

// What can be refused by looking at the request alone: empty keys, too many operations, duplicate
// keys, contradicting options, size. Safe from every thread.
Result<void> check_request(const pb::RangeRequest& request);
Result<void> check_request(const pb::PutRequest& request);
Result<void> check_request(const pb::DeleteRangeRequest& request);
Result<void> check_request(const pb::TxnRequest& request);
// True when no branch of the transaction can write.
bool only_reads(const pb::TxnRequest& request);

}  // namespace tombolo
