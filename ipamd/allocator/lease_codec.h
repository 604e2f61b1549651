// A lease as few bytes: for the disk, where the bytes stand alone, and for memory, where texts that
// many leases share (node, network, pool, namespace, folder of the network namespaces, the upper
// half of IPv6 addresses) are numbers of a NameTable. Pure, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "ipamd/allocator/lease.h"
#include "ipamd/allocator/packed.h"

namespace tombolo {

// What a lease may weigh: one longer is refused before it is made.
inline constexpr std::size_t kLeaseBytes = 16'384;

// Bytes that stand alone. Their first byte is the format: 1, or 2 where an identity follows what
// format 1 has. What was written once is read for ever.
std::string pack_lease(const Lease& lease);
// kDataLoss when these are no such bytes.
Result<Lease> unpack_lease(std::string_view bytes);

// From the form that stands alone to the one with names, without unpacking every text.
struct Repacked {
  std::uint64_t sequence = 0;
  std::string bytes;
  std::vector<PooledIp> addresses;
};
// Into `result`, whose memory is used again. `state` replaces the state in the bytes. kDataLoss as
// unpack_lease.
Result<void> repack_lease(std::string_view bytes, LeaseState state, NameTable& names,
                          Repacked& result);

// Bytes that use names of the table; whoever drops them calls release_names.
std::string pack_lease(const Lease& lease, NameTable& names);
Lease unpack_lease(std::string_view bytes, const NameTable& names);
std::string unpack_key(std::string_view bytes, const NameTable& names);
void unpack_key(std::string_view bytes, const NameTable& names, std::string& into);
// What a release has to know.
struct LeasedAddresses {
  std::uint64_t sequence = 0;
  std::vector<PooledIp> addresses;
};
LeasedAddresses unpack_addresses(std::string_view bytes, const NameTable& names);
// Writes the state into the bytes, whose length stays.
void set_packed_state(std::span<char> bytes, LeaseState state, const NameTable& names);
void release_names(std::string_view bytes, NameTable& names);

}  // namespace tombolo
