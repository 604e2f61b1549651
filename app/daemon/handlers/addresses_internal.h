// What PoolApi and IpApi read alike. Control thread.
#pragma once

#include "app/daemon/handlers/status.h"
#include "app/daemon/pool_keeper.h"
#include "ipamd/pools/pools.h"

namespace tombolo {

// The controller knows all nodes of the cluster, an agent its own.
inline const Table<NodeBlock>& blocks_of(const DaemonView& view) {
  return view.controller != nullptr ? view.controller->node_blocks : view.agent->node_blocks;
}
inline const Table<Attachment>& attachments_of(const DaemonView& view) {
  return view.controller != nullptr ? view.controller->attachments : view.agent->attachments;
}

// Of a controller.
inline PoolCatalog catalog_in_force(const DaemonView& view) {
  auto catalog = catalog_of(view.pools->in_force());
  // What is in force was judged good.
  return catalog ? std::move(*catalog) : PoolCatalog();
}

}  // namespace tombolo
