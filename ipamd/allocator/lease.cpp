// Small parts of leases.
#include "ipamd/allocator/lease.h"

#include "ipamd/allocator/lease_codec.h"
#include "ipamd/allocator/lease_store.h"

namespace tombolo {

std::string_view to_string(LeaseState state) {
  return state == LeaseState::kReserved ? "reserved" : "attached";
}

std::vector<PooledIp> Lease::addresses() const {
  ENSURE(pools.size() == attachment.ips.size(), "lease {} names {} pools for {} addresses",
         sequence, pools.size(), attachment.ips.size());
  std::vector<PooledIp> result;
  for (std::size_t i = 0; i < pools.size(); ++i) result.push_back({pools[i], attachment.ips[i]});
  return result;
}

void Lease::set_addresses(const std::vector<PooledIp>& addresses) {
  pools.clear();
  attachment.ips.clear();
  for (const PooledIp& address : addresses) {
    pools.push_back(address.pool);
    attachment.ips.push_back(address.ip);
  }
}

PutLease::PutLease(const Lease& lease)
    : sequence(lease.sequence), state(lease.state), packed(pack_lease(lease)) {}

void StoredLeaseList::add(LeaseState state, std::string_view packed) {
  bytes_ += packed;
  ends_.push_back({bytes_.size(), state});
}

void StoredLeaseList::pop_back() {
  ENSURE(!empty(), "no lease is stored");
  ends_.pop_back();
  bytes_.resize(empty() ? 0 : ends_.back().offset);
}

std::string_view StoredLeaseList::packed(std::size_t index) const {
  std::size_t begin = index == 0 ? 0 : ends_.at(index - 1).offset;
  return std::string_view(bytes_).substr(begin, ends_.at(index).offset - begin);
}

Result<Lease> StoredLeaseList::at(std::size_t index) const {
  TRY(lease, unpack_lease(packed(index)));
  lease.state = state(index);
  return lease;
}

Result<std::vector<Lease>> StoredLeaseList::all() const {
  std::vector<Lease> leases;
  for (std::size_t i = 0; i < size(); ++i) {
    TRY(lease, at(i));
    leases.push_back(std::move(lease));
  }
  return leases;
}

}  // namespace tombolo
