// What a node claims and no lease of it has.
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

}  // namespace tombolo
