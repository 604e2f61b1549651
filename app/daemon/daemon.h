// tombolod as a whole: the store, the roles, the admin API and metrics, started in the order in
// which they need each other and stopped in the reverse one. Everything but gRPC's, the store's and
// DNS's threads runs on the thread that calls run().
#pragma once

#include "core/error.h"
#include "core/log.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo {

// Runs until SIGTERM or SIGINT. An error means that it could not start.
Result<void> run_daemon(const config::v1::DaemonConfig& config, Logger log);

}  // namespace tombolo
