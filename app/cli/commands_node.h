// Commands of services that have a schema file of their own: node, and pool show | reclaim.
#pragma once

#include "app/cli/commands.h"
#include "schema/admin/v1/node.grpc.pb.h"
#include "schema/admin/v1/shared_pool.grpc.pb.h"

namespace tombolo::cli {

void add_node_commands(CLI::App& app, Session& session);  // node
// In the group "pool": show, reclaim.
void add_shared_pools(CLI::App* pool, Session& session);

}  // namespace tombolo::cli
