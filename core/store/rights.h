// Who may do what in a cluster's store, from the name in the certificate:
// spiffe://FLEET/cluster/CLUSTER/{controller,node/NODE,operator/NAME}. Pure.
//
//   own controller, own operators    everything; operators with OU=viewer in their subject read
//   own node                         reads everything; writes its own node, address and lease
//                                    records; single claims of shared pools and announcements of
//                                    load balancer addresses, whoever they name
//   controller of another cluster    reads what is published: heartbeat, cluster-config, synced
//                                    marks, state, plan, fleet, grants of shared pools
//   anybody else                     nothing
#pragma once

#include <string>
#include <string_view>

#include "core/spiffe.h"
#include "core/store/server.h"

namespace tombolo {

struct StoreOwner {
  std::string fleet;
  std::string cluster;
};

// kPermissionDenied says who wanted what; kUnauthenticated: the certificate has no usable name.
Result<void> authorize(const StoreOwner& owner, const Peer& peer, Access access,
                       std::string_view key, std::string_view range_end);
Authorizer make_authorizer(StoreOwner owner);

}  // namespace tombolo
