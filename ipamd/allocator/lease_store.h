// Where leases survive the process: the port and its SQLite engine. Blocking; runs on a Worker.
// What commit() acknowledged is on the disk (WAL, synchronous=FULL) before it returns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/ip.h"
#include "ipamd/allocator/lease.h"

namespace tombolo {

// Packed (lease_codec.h) where the lease is at hand, so that it is not copied.
struct PutLease {
  explicit PutLease(const Lease& lease);
  std::uint64_t sequence = 0;
  LeaseState state = LeaseState::kReserved;
  std::string packed;
};
struct MarkAttached {
  std::uint64_t sequence = 0;
};
struct EraseLease {
  std::uint64_t sequence = 0;
  std::vector<PooledIp> freed;  // remembered as freed now
  std::int64_t released_unix_ms = 0;
};
// The blocks last known, so that a restart without the cluster's store can go on allocating.
struct SetBlocks {
  std::string pool;
  std::vector<Prefix> blocks;
};
using LeaseChange = std::variant<PutLease, MarkAttached, EraseLease, SetBlocks>;

struct FreedAddress {
  std::string pool;
  Ip ip;
  std::int64_t released_unix_ms = 0;
};

// Leases as they are stored, packed (lease_codec.h): a million of them are 200 MB, not a GB.
class StoredLeaseList {
 public:
  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
  void add(LeaseState state, std::string_view packed);
  std::size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  void pop_back();
  std::string_view packed(std::size_t index) const;
  LeaseState state(std::size_t index) const { return ends_.at(index).state; }
  // kDataLoss when the bytes are no lease.
  Result<Lease> at(std::size_t index) const;
  Result<std::vector<Lease>> all() const;

 private:
  struct End {
    std::size_t offset;
    LeaseState state;
  };
  std::string bytes_;
  std::vector<End> ends_;
};

struct StoredLeases {
  std::uint64_t last_sequence = 0;  // never used again, also when its lease is gone
  StoredLeaseList leases;           // by sequence
  std::vector<FreedAddress> freed;  // longest free first; may name addresses in use again
  std::vector<SetBlocks> blocks;
};

class LeaseStore {
 public:
  virtual ~LeaseStore() = default;
  virtual Result<StoredLeases> load() = 0;
  // All of them in one transaction, in order. On an error nothing is changed.
  virtual Result<void> commit(const std::vector<LeaseChange>& changes) = 0;
};

struct SqliteSettings {
  std::string vfs;  // the name of one that was registered with SQLite; empty: the system's
  // Pages of log before they are copied into the file: a page that is written often is so copied
  // once for many commits.
  int checkpoint_pages = 4000;
  // Of freed addresses the last so many are remembered (and up to a quarter more): those before
  // count as never used after a restart.
  std::int64_t most_freed = 1'048'576;
};

// Opens or creates the file, migrates an older schema forward. kFailedPrecondition when the schema
// is newer than this program or the file is not a lease file; kUnavailable when another process
// has it open.
Result<std::unique_ptr<LeaseStore>> open_sqlite_lease_store(const std::string& path,
                                                            const SqliteSettings& settings = {});

}  // namespace tombolo
