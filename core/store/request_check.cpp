// What can be refused by looking at a request alone (etcd's server/etcdserver/api/v3rpc/key.go has
// the same rules).
#include <algorithm>
#include <map>
#include <set>

#include "core/store/etcd_errors.h"
#include "core/store/store_state.h"

namespace tombolo {
namespace {

// The keys that a list of operations may put and the ranges that it may delete, with all nested
// branches.
struct Touched {
  std::set<std::string> puts;
  std::vector<KeyRange> deletes;
  // A delete "to the end" overlaps with nothing: so it is in etcd, and so its clients find it here.
  bool deletes_key(const std::string& key) const {
    return std::ranges::any_of(
        deletes, [&](const KeyRange& range) { return !range.to_the_end() && range.contains(key); });
  }
};

using Operations = google::protobuf::RepeatedPtrField<pb::RequestOp>;

// Two branches of one nested transaction may put the same key, since only one of them runs.
Result<void> add_branches(const Touched& then, const Touched& otherwise, const Touched& own,
                          std::set<std::string>& puts) {
  for (const std::string& key : then.puts)
    if (own.deletes_key(key) || !puts.insert(key).second) return etcd::kDuplicateKey.fail();
  for (const std::string& key : otherwise.puts) {
    if (own.deletes_key(key)) return etcd::kDuplicateKey.fail();
    if (!puts.insert(key).second && !then.puts.contains(key)) return etcd::kDuplicateKey.fail();
  }
  return {};
}

Result<Touched> check_overlaps(const Operations& operations) {
  Touched touched;
  for (const pb::RequestOp& operation : operations)
    if (operation.has_request_delete_range())
      touched.deletes.push_back(
          {operation.request_delete_range().key(), operation.request_delete_range().range_end()});
  for (const pb::RequestOp& operation : operations) {
    if (!operation.has_request_txn()) continue;
    TRY(then, check_overlaps(operation.request_txn().success()));
    TRY(otherwise, check_overlaps(operation.request_txn().failure()));
    TRY_OK(add_branches(then, otherwise, touched, touched.puts));
    touched.deletes.insert(touched.deletes.end(), then.deletes.begin(), then.deletes.end());
    touched.deletes.insert(touched.deletes.end(), otherwise.deletes.begin(),
                           otherwise.deletes.end());
  }
  for (const pb::RequestOp& operation : operations) {
    if (!operation.has_request_put()) continue;
    const std::string& key = operation.request_put().key();
    if (touched.deletes_key(key) || !touched.puts.insert(key).second)
      return etcd::kDuplicateKey.fail();
  }
  return touched;
}

Result<void> check_operations(const pb::TxnRequest& request, std::int64_t allowed);

Result<void> check_operation(const pb::RequestOp& operation, std::int64_t allowed) {
  switch (operation.request_case()) {
    case pb::RequestOp::kRequestRange:
      return check_request(operation.request_range());
    case pb::RequestOp::kRequestPut:
      return check_request(operation.request_put());
    case pb::RequestOp::kRequestDeleteRange:
      return check_request(operation.request_delete_range());
    case pb::RequestOp::kRequestTxn:
      return check_operations(operation.request_txn(), allowed);
    case pb::RequestOp::REQUEST_NOT_SET:
      return etcd::kKeyNotFound.fail();
  }
  return etcd::kKeyNotFound.fail();
}

// Nested transactions share what their parents leave of the allowance, which also bounds the depth.
Result<void> check_operations(const pb::TxnRequest& request, std::int64_t allowed) {
  std::int64_t count =
      std::max({request.compare_size(), request.success_size(), request.failure_size()});
  if (count > allowed) return etcd::kTooManyOperations.fail();
  for (const pb::Compare& compare : request.compare())
    if (compare.key().empty()) return etcd::kEmptyKey.fail();
  for (const pb::RequestOp& operation : request.success())
    TRY_OK(check_operation(operation, allowed - count));
  for (const pb::RequestOp& operation : request.failure())
    TRY_OK(check_operation(operation, allowed - count));
  return {};
}

bool writes(const pb::RequestOp& operation) {
  if (operation.has_request_txn()) return !only_reads(operation.request_txn());
  return !operation.has_request_range();
}

}  // namespace

Result<void> check_request(const pb::RangeRequest& request) {
  if (request.key().empty()) return etcd::kEmptyKey.fail();
  if (!pb::RangeRequest::SortOrder_IsValid(request.sort_order()) ||
      !pb::RangeRequest::SortTarget_IsValid(request.sort_target()))
    return etcd::kInvalidSortOption.fail();
  return {};
}

Result<void> check_request(const pb::PutRequest& request) {
  if (request.key().empty()) return etcd::kEmptyKey.fail();
  if (request.ignore_value() && !request.value().empty()) return etcd::kValueProvided.fail();
  if (request.ignore_lease() && request.lease() != 0) return etcd::kLeaseProvided.fail();
  if (request.ByteSizeLong() > etcd::kMaxRequestBytes) return etcd::kRequestTooLarge.fail();
  return {};
}

Result<void> check_request(const pb::DeleteRangeRequest& request) {
  if (request.key().empty()) return etcd::kEmptyKey.fail();
  return {};
}

Result<void> check_request(const pb::TxnRequest& request) {
  if (request.ByteSizeLong() > etcd::kMaxRequestBytes) return etcd::kRequestTooLarge.fail();
  TRY_OK(check_operations(request, static_cast<std::int64_t>(etcd::kMaxTxnOperations)));
  TRY_OK(check_overlaps(request.success()));
  TRY_OK(check_overlaps(request.failure()));
  return {};
}

bool only_reads(const pb::TxnRequest& request) {
  return std::ranges::none_of(request.success(), writes) &&
         std::ranges::none_of(request.failure(), writes);
}

}  // namespace tombolo
