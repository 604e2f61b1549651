// Where a node's claims and its leases disagree.
#include <algorithm>

#include "ipamd/claims/internal.h"

namespace tombolo {

std::vector<AddressClaim> without_lease(const ClaimView& view,
                                        const std::vector<ClaimedLease>& leases,
                                        const std::multiset<std::string, std::less<>>& under_way) {
  std::set<std::pair<std::string, PooledIp>> leased;
  for (const ClaimedLease& lease : leases)
    for (const PooledIp& address : lease.addresses) leased.emplace(lease.holder, address);
  std::vector<AddressClaim> claims = view.claims_of_node();
  std::erase_if(claims, [&](const AddressClaim& claim) {
    return under_way.contains(claim.holder) ||
           leased.contains({claim.holder, {claim.pool, claim.ip}});
  });
  return claims;
}

bool is_claimed(const ClaimView& view, const ClaimedLease& lease) {
  return std::ranges::all_of(lease.addresses, [&](const PooledIp& address) {
    if (view.pool(address.pool) == nullptr) return true;
    const AddressClaim* claim = view.find(address).occupied;
    return claim != nullptr && claim->holder == lease.holder && claim->node == view.node();
  });
}

}  // namespace tombolo
