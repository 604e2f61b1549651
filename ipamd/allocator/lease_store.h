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
#include "core/tables.h"

namespace tombolo {

enum class LeaseState : std::uint8_t {
  kReserved = 1,  // addresses are taken, the interface may not be complete
  kAttached = 2,  // the interface was complete
};
std::string_view to_string(LeaseState state);  // "reserved", "attached"

// Addresses in the hands of one interface of one container.
struct Lease {
  std::uint64_t sequence = 0;
  LeaseState state = LeaseState::kReserved;
  std::string network;  // name of the CNI configuration that asked
  std::string pool;
  std::int64_t reserved_unix_ms = 0;
  Attachment attachment;
  std::string key() const { return attachment.key(); }
  bool operator==(const Lease&) const = default;
};

struct PutLease {
  Lease lease;
};
struct MarkAttached {
  std::uint64_t sequence = 0;
};
struct EraseLease {
  std::uint64_t sequence = 0;
  std::string pool;
  std::vector<Ip> ips;  // remembered as freed now
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
};

struct StoredLeases {
  std::uint64_t last_sequence = 0;  // never used again, also when its lease is gone
  std::vector<Lease> leases;        // by sequence
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

// Opens or creates the file, migrates an older schema forward. kFailedPrecondition when the schema
// is newer than this program or the file is not a lease file; kUnavailable when another process
// has it open.
Result<std::unique_ptr<LeaseStore>> open_sqlite_lease_store(const std::string& path);

}  // namespace tombolo
