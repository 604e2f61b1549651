// The port to the cluster's state: a revisioned key-value store with etcd v3 semantics.
// Implementations: the etcd gRPC client (core/store), and an in-memory one for tests
// (core/store/memory_kv.h). Keys and values are bytes.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"

namespace tombolo {

namespace asio = boost::asio;

// The end of the range of all keys that begin with `prefix` (etcd's convention; "\0" when there is
// no such end).
std::string prefix_end(std::string_view prefix);

struct KeyValue {
  std::string key;
  std::string value;
  std::int64_t create_revision = 0;
  std::int64_t mod_revision = 0;
  std::int64_t version = 0;  // 1 at creation
  std::int64_t lease = 0;    // 0: none
  bool operator==(const KeyValue&) const = default;
};

struct RangeRequest {
  std::string key;
  std::string range_end;      // empty: the one key
  std::int64_t revision = 0;  // 0: now. Compacted ones answer kOutOfRange
  std::int64_t limit = 0;     // 0: no limit of ours; clients page by 1,000
  bool keys_only = false;
};

struct RangeResult {
  std::vector<KeyValue> kvs;  // ascending by key
  std::int64_t revision = 0;  // of the store when it answered
  bool more = false;
  std::int64_t count = 0;        // of all keys in the range, whatever the limit
  std::uint64_t cluster_id = 0;  // of the store that answered; a restored store has another
};

struct Compare {
  enum class Target { kVersion, kCreate, kMod, kValue, kLease };
  enum class Operator { kEqual, kGreater, kLess, kNotEqual };
  std::string key;
  Target target = Target::kMod;
  Operator op = Operator::kEqual;
  std::int64_t number = 0;
  std::string value;  // kValue only
};

struct Put {
  std::string key;
  std::string value;
  std::int64_t lease = 0;
};
struct Delete {
  std::string key;
  std::string range_end;
};
using Operation = std::variant<Put, Delete, RangeRequest>;

struct TxnRequest {
  std::vector<Compare> compares;  // all must hold
  std::vector<Operation> then;
  std::vector<Operation> otherwise;
};

struct TxnResult {
  bool succeeded = false;
  std::int64_t revision = 0;
  std::uint64_t cluster_id = 0;
  std::vector<RangeResult> ranges;  // of the RangeRequests of the branch that ran, in order
};

struct WatchRequest {
  std::string key;
  std::string range_end;
  std::int64_t start_revision = 0;  // 0: from now on
  // The store whose revisions these are (from a RangeResult); another one answers kAborted. 0: any.
  std::uint64_t cluster_id = 0;
};

struct WatchEvent {
  enum class Kind { kPut, kDelete };
  Kind kind = Kind::kPut;
  KeyValue kv;  // kDelete: key and mod_revision only
};

struct WatchBatch {
  std::vector<WatchEvent> events;  // empty: only progress
  std::int64_t revision = 0;       // everything up to here has been delivered
};

// One watch. Errors end it: kOutOfRange when the start revision is compacted (list again),
// kUnavailable when the connection broke (watch again from the last revision + 1),
// kAborted when another store answers (list again), kPermissionDenied. After an error every call
// answers that error.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual asio::awaitable<Result<WatchBatch>> next() = 0;
  // Asks the store for a batch that proves it alive; the answer comes through next().
  virtual asio::awaitable<Result<void>> request_progress() = 0;
  // Ends the watch; a next() that waits answers kCancelled.
  virtual void cancel() = 0;
};

class Kv {
 public:
  virtual ~Kv() = default;
  virtual asio::awaitable<Result<RangeResult>> range(RangeRequest request) = 0;
  virtual asio::awaitable<Result<TxnResult>> txn(TxnRequest request) = 0;
  virtual asio::awaitable<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) = 0;
  virtual asio::awaitable<Result<std::int64_t>> lease_grant(std::chrono::seconds ttl) = 0;
  // One keep-alive; kNotFound when the lease is gone.
  virtual asio::awaitable<Result<void>> lease_keep_alive(std::int64_t lease) = 0;
  virtual asio::awaitable<Result<void>> lease_revoke(std::int64_t lease) = 0;

  // Conveniences over txn.
  asio::awaitable<Result<std::int64_t>> put(Put put);         // returns the revision
  asio::awaitable<Result<std::int64_t>> erase(Delete erase);  // returns the revision
  asio::awaitable<Result<std::optional<KeyValue>>> get(std::string key);
};

}  // namespace tombolo
