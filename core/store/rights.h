// Who may do what in a cluster's store, from the name in the certificate:
// spiffe://FLEET/cluster/CLUSTER/{controller,node/NODE,operator/NAME}. Pure.
//
//   own controller, own operators    everything; operators with OU=viewer in their subject read
//   own node                         reads everything; writes its own node, address and lease
//   records controller of another cluster    reads what is published: heartbeat, cluster-config,
//   synced
//                                    marks, state, plan, fleet
//   anybody else                     nothing
#pragma once

#include <string>
#include <string_view>

#include "core/store/server.h"

namespace tombolo {

struct SpiffeName {
  enum class Role { kController, kNode, kOperator };
  std::string fleet;
  std::string cluster;
  Role role = Role::kController;
  std::string name;  // of the node or operator
  bool operator==(const SpiffeName&) const = default;
};

// kInvalidArgument names the URI and what is wrong with it.
Result<SpiffeName> parse_spiffe(std::string_view uri);
std::string to_string(const SpiffeName& name);

struct StoreOwner {
  std::string fleet;
  std::string cluster;
};

// kPermissionDenied says who wanted what; kUnauthenticated: the certificate has no usable name.
Result<void> authorize(const StoreOwner& owner, const Peer& peer, Access access,
                       std::string_view key, std::string_view range_end);
Authorizer make_authorizer(StoreOwner owner);

}  // namespace tombolo
