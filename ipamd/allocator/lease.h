// What a lease is. A value; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/tables.h"
#include "ipamd/allocator/allocator.h"

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
  std::string network;             // name of the CNI configuration that asked
  std::vector<std::string> pools;  // of each of attachment.ips
  std::int64_t reserved_unix_ms = 0;
  // Of a fixed address of shared pools: whose it stays when the interface goes. Empty: nobody's.
  std::string identity;
  Attachment attachment;

  std::string key() const { return attachment.key(); }
  std::vector<PooledIp> addresses() const;
  void set_addresses(const std::vector<PooledIp>& addresses);
  bool operator==(const Lease&) const = default;
};

}  // namespace tombolo
