// A lease file may be damaged: whatever bytes stand for a lease, reading them ends with a lease or
// an error, both readers agree on which, and a lease that was read is written and read as itself.
#include <cstddef>
#include <cstdint>

#include "ipamd/allocator/lease_codec.h"

using namespace tombolo;

// libFuzzer's entry point: its name and form are given.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  NameTable names;
  auto lease = unpack_lease(bytes);
  Repacked repacked;
  auto read = repack_lease(bytes, LeaseState::kAttached, names, repacked);
  if (!lease) {
    ENSURE(lease.error().code == Code::kDataLoss);
    return 0;
  }
  auto again = unpack_lease(pack_lease(*lease));
  ENSURE(again && *again == *lease);
  if (!read) {
    ENSURE(read.error().code == Code::kDataLoss);
    ENSURE(size > 2 * kLeaseBytes, "a lease that can be read cannot be kept: {}",
           read.error().what);
    return 0;
  }
  Lease kept = unpack_lease(repacked.bytes, names);
  ENSURE(repacked.sequence == lease->sequence && repacked.addresses == lease->addresses());
  ENSURE(unpack_key(repacked.bytes, names) == lease->key());
  lease->state = LeaseState::kAttached;
  ENSURE(kept == *lease);
  release_names(repacked.bytes, names);
  ENSURE(names.size() == 0);
  return 0;
}
