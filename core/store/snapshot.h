// Backups: a store's whole content as a snapshot file of etcd's (a bbolt file with a SHA-256 behind
// it), which `etcdctl snapshot status|restore` reads; and a store's file from such a snapshot, ours
// or a real etcd's. So a cluster moves between the two engines with its history. Blocking.
#pragma once

#include <cstdint>
#include <filesystem>

#include "core/error.h"

namespace tombolo {

struct SnapshotFacts {
  std::int64_t revision = 0;
  std::int64_t compacted = 0;
  std::size_t versions = 0;  // of all keys
  std::size_t leases = 0;
};

// Writes what the store holds at one moment; the store may be in use meanwhile.
Result<SnapshotFacts> write_snapshot(const std::filesystem::path& store,
                                     const std::filesystem::path& snapshot);

// Makes a store's file, which must not exist, with a new cluster id: clients must not take it for
// the store that the snapshot is from. kDataLoss: the snapshot is damaged (its SHA-256 is checked
// when it has one).
Result<SnapshotFacts> restore_snapshot(const std::filesystem::path& snapshot,
                                       const std::filesystem::path& store);

}  // namespace tombolo
