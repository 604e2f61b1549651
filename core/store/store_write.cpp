// Puts, deletes, transactions and leases as they change the store. Everything that can be refused
// is refused before the first change, so that a transaction is applied whole or not at all.
#include <algorithm>

#include "core/store/etcd_errors.h"
#include "core/store/store_state.h"

namespace tombolo {
namespace {

template <class T>
bool satisfies(pb::Compare::CompareResult result, const T& actual, const T& wanted) {
  switch (result) {
    case pb::Compare::EQUAL:
      return actual == wanted;
    case pb::Compare::NOT_EQUAL:
      return actual != wanted;
    case pb::Compare::GREATER:
      return actual > wanted;
    case pb::Compare::LESS:
      return actual < wanted;
    default:
      return false;
  }
}

// The union may hold another field than the target names; then the wanted value is 0, as in etcd.
bool number_satisfies(const pb::Compare& compare, const Version& version) {
  switch (compare.target()) {
    case pb::Compare::VERSION:
      return satisfies(compare.result(), version.version, compare.version());
    case pb::Compare::CREATE:
      return satisfies(compare.result(), version.create_revision, compare.create_revision());
    case pb::Compare::MOD:
      return satisfies(compare.result(), version.revision(), compare.mod_revision());
    case pb::Compare::LEASE:
      return satisfies(compare.result(), version.lease, compare.lease());
    default:
      return false;
  }
}

}  // namespace

Result<void> StoreState::begin() {
  over_quota_ = database_->used_bytes() > limits_.quota_bytes;
  return watch_database(database_->begin());
}

Result<void> StoreState::commit() {
  if (revision_dirty_) TRY_OK(watch_database(database_->set_number("revision", revision_)));
  revision_dirty_ = false;
  return watch_database(database_->commit());
}

void StoreState::abandon() {
  database_->rollback();
  // Memory follows the file. When that cannot be read either there is nothing to serve from.
  failed_ = !load().has_value();
}

void StoreState::finish(const Writing& writing) {
  if (writing.changes == 0) return;
  revision_ = writing.revision;
  revision_dirty_ = true;
}

Result<void> StoreState::append(Writing& writing, LogRow row) {
  ENSURE(writing.changes < kMaxChangesOfRevision, "one transaction changes too much");
  row.id = first_id_of(writing.revision) + writing.changes++;
  TRY_OK(watch_database(database_->append(row)));
  index_.append(row.key, {row.id, row.create_revision, row.version, row.lease});
  auto change = std::make_shared<Change>();
  change->id = row.id;
  change->deleted = row.version == 0;
  change->kv.set_mod_revision(writing.revision);
  change->kv.set_create_revision(row.create_revision);
  change->kv.set_version(row.version);
  change->kv.set_lease(row.lease);
  change->kv.set_key(std::move(row.key));
  change->kv.set_value(std::move(row.value));
  changes_.push_back(std::move(change));
  return {};
}

// Beyond the quota only what makes the store smaller is taken.
Result<void> StoreState::room_for_more() const {
  if (over_quota_) return etcd::kNoSpace.fail();
  return {};
}

Result<void> StoreState::admit_put(const pb::PutRequest& request) const {
  if (request.ignore_value() || request.ignore_lease())
    if (index_.at(request.key(), revision_) == nullptr) return etcd::kKeyNotFound.fail();
  if (request.lease() != 0 && !leases_.contains(request.lease()))
    return etcd::kLeaseNotFound.fail();
  return {};
}

Result<void> StoreState::put(const pb::PutRequest& request, pb::PutResponse& response) {
  TRY_OK(check_request(request));
  TRY_OK(room_for_more());
  // Outside a transaction etcd looks at the lease first.
  if (request.lease() != 0 && !leases_.contains(request.lease()))
    return etcd::kLeaseNotFound.fail();
  TRY_OK(admit_put(request));
  Writing writing = start();
  TRY_OK(put_in(writing, request, response));
  finish(writing);
  fill(*response.mutable_header());
  return {};
}

Result<void> StoreState::put_in(Writing& writing, const pb::PutRequest& request,
                                pb::PutResponse& response) {
  const Version* before = index_.at(request.key(), writing.revision);
  LogRow row{0, request.key(), request.value(), writing.revision, 1, request.lease()};
  if (before != nullptr) {
    if (request.prev_kv())
      TRY_OK(watch_database(fill_pair(request.key(), *before, true, *response.mutable_prev_kv())));
    if (request.ignore_value()) {
      auto value = database_->value(before->id);
      if (!value) return watch_database(std::unexpected(value.error()));
      row.value = std::move(*value);
    }
    if (request.ignore_lease()) row.lease = before->lease;
    row.create_revision = before->create_revision;
    row.version = before->version + 1;
    if (before->lease != 0) leases_.detach(before->lease, request.key());
  }
  if (row.lease != 0) leases_.attach(row.lease, request.key());
  return append(writing, std::move(row));
}

Result<void> StoreState::delete_range(const pb::DeleteRangeRequest& request,
                                      pb::DeleteRangeResponse& response) {
  TRY_OK(check_request(request));
  Writing writing = start();
  TRY_OK(delete_in(writing, request, response));
  finish(writing);
  fill(*response.mutable_header());
  return {};
}

Result<void> StoreState::delete_in(Writing& writing, const pb::DeleteRangeRequest& request,
                                   pb::DeleteRangeResponse& response) {
  std::vector<std::pair<std::string, Version>> found;
  index_.each(
      {request.key(), request.range_end()}, writing.revision,
      [&](const std::string& key, const Version& version) { found.emplace_back(key, version); });
  for (const auto& [key, version] : found) {
    if (request.prev_kv())
      TRY_OK(watch_database(fill_pair(key, version, true, *response.add_prev_kvs())));
    if (version.lease != 0) leases_.detach(version.lease, key);
    TRY_OK(append(writing, {0, key, "", 0, 0, 0}));
  }
  response.set_deleted(static_cast<std::int64_t>(found.size()));
  return {};
}

Result<bool> StoreState::holds(const pb::Compare& compare) const {
  bool by_value = compare.target() == pb::Compare::VALUE;
  bool all = true;
  bool any = false;
  Result<void> read;
  index_.each({compare.key(), compare.range_end()}, revision_,
              [&](const std::string&, const Version& version) {
                any = true;
                if (!all || !read) return;
                if (!by_value) {
                  all = number_satisfies(compare, version);
                  return;
                }
                auto value = database_->value(version.id);
                if (!value)
                  read = std::unexpected(value.error());
                else
                  all = satisfies(compare.result(), *value, compare.value());
              });
  TRY_OK(watch_database(read));
  // An absent key has version, revisions and lease 0, but no value that could be compared.
  if (!any) return !by_value && number_satisfies(compare, Version{});
  return all;
}

// Compares see the store as it is before the transaction, in nested transactions too.
Result<void> StoreState::choose(const pb::TxnRequest& request, std::vector<bool>& branches) const {
  bool succeeded = true;
  for (const pb::Compare& compare : request.compare()) {
    TRY(one, holds(compare));
    succeeded = succeeded && one;
  }
  branches.push_back(succeeded);
  for (const pb::RequestOp& operation : succeeded ? request.success() : request.failure())
    if (operation.has_request_txn()) TRY_OK(choose(operation.request_txn(), branches));
  return {};
}

// Puts of the whole path are looked at before reads, as in etcd.
Result<void> StoreState::admit_path(const pb::TxnRequest& request, bool puts,
                                    const std::vector<bool>& branches, std::size_t& next) const {
  bool succeeded = branches[next++];
  for (const pb::RequestOp& operation : succeeded ? request.success() : request.failure()) {
    if (operation.has_request_txn())
      TRY_OK(admit_path(operation.request_txn(), puts, branches, next));
    else if (puts && operation.has_request_put())
      TRY_OK(admit_put(operation.request_put()));
    else if (!puts && operation.has_request_range())
      TRY_OK(admit_read(operation.request_range()));
  }
  return {};
}

Result<void> StoreState::txn(const pb::TxnRequest& request, pb::TxnResponse& response) {
  TRY_OK(check_request(request));
  std::vector<bool> branches;
  TRY_OK(choose(request, branches));
  std::size_t next = 0;
  TRY_OK(admit_path(request, true, branches, next));
  next = 0;
  TRY_OK(admit_path(request, false, branches, next));
  auto puts = [](const pb::RequestOp& operation) {
    return operation.has_request_put() || operation.has_request_txn();
  };
  const auto& operations = branches.front() ? request.success() : request.failure();
  if (std::ranges::any_of(operations, puts)) TRY_OK(room_for_more());
  next = 0;
  Writing writing = start();
  if (auto done = txn_in(writing, request, branches, next, response); !done) {
    // An answer that grew too large shows only now: what was written has to go.
    if (writing.changes > 0) failed_ = true;
    return done;
  }
  finish(writing);
  fill(*response.mutable_header());
  return {};
}

Result<void> StoreState::txn_in(Writing& writing, const pb::TxnRequest& request,
                                const std::vector<bool>& branches, std::size_t& next,
                                pb::TxnResponse& response) {
  bool succeeded = branches[next++];
  response.set_succeeded(succeeded);
  for (const pb::RequestOp& operation : succeeded ? request.success() : request.failure()) {
    pb::ResponseOp& answer = *response.add_responses();
    // What was written so far is visible, under the revision that it will have.
    std::int64_t now = writing.changes > 0 ? writing.revision : revision_;
    if (operation.has_request_range()) {
      pb::RangeResponse& range = *answer.mutable_response_range();
      TRY_OK(range_at(operation.request_range(), now, range));
      range.mutable_header()->set_revision(now);
    } else if (operation.has_request_put()) {
      pb::PutResponse& put = *answer.mutable_response_put();
      TRY_OK(put_in(writing, operation.request_put(), put));
      put.mutable_header()->set_revision(writing.revision);
    } else if (operation.has_request_delete_range()) {
      pb::DeleteRangeResponse& erased = *answer.mutable_response_delete_range();
      TRY_OK(delete_in(writing, operation.request_delete_range(), erased));
      erased.mutable_header()->set_revision(writing.changes > 0 ? writing.revision : revision_);
    } else {
      pb::TxnResponse& nested = *answer.mutable_response_txn();
      nested.mutable_header();  // there, but empty, as etcd's
      TRY_OK(txn_in(writing, operation.request_txn(), branches, next, nested));
    }
  }
  return {};
}

Result<void> StoreState::lease_grant(const pb::LeaseGrantRequest& request,
                                     pb::LeaseGrantResponse& response) {
  if (request.ttl() > etcd::kMaxLeaseTtl_s) return etcd::kLeaseTtlTooLarge.fail();
  if (leases_.all().size() >= limits_.leases) return etcd::kTooManyRequests.fail();
  std::int64_t id = request.id();
  while (id == 0 || (request.id() == 0 && leases_.contains(id)))
    id = static_cast<std::int64_t>(rng_.next() >> 1U);
  if (leases_.contains(id)) return etcd::kLeaseExists.fail();
  std::int64_t ttl_s = std::max(request.ttl(), etcd::kMinLeaseTtl_s);
  TRY_OK(watch_database(database_->put_lease({id, ttl_s})));
  leases_.grant(id, ttl_s, clock_.now());
  fill(*response.mutable_header());
  response.set_id(id);
  response.set_ttl(ttl_s);
  return {};
}

Result<void> StoreState::lease_revoke(std::int64_t id) {
  const LeaseTable::Lease* lease = leases_.find(id);
  if (lease == nullptr) return etcd::kLeaseNotFound.fail();
  std::set<std::string> keys = lease->keys;
  Writing writing = start();
  for (const std::string& key : keys) TRY_OK(append(writing, {0, key, "", 0, 0, 0}));
  TRY_OK(watch_database(database_->erase_lease(id)));
  leases_.erase(id);
  finish(writing);
  return {};
}

}  // namespace tombolo
