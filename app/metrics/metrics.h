// GET /metrics over HTTP, in Prometheus' text format: the process's registry (core/metrics.h) and
// what the kernel says of the process. Its two threads are civetweb's; they touch no table.
#pragma once

#include <memory>
#include <string>

#include "core/clock.h"
#include "core/error.h"

namespace tombolo::metrics {

class Server {
 public:
  // `listen` is "address:port" ("127.0.0.1:9470", "[::1]:9470"); port 0 takes a free one.
  // kInvalidArgument when it is not, kUnavailable when nothing can listen there. `version` and
  // `started` are exported as tombolo_build_info and process_start_time_seconds.
  static Result<std::unique_ptr<Server>> start(const std::string& listen, std::string_view version,
                                               WallTime started);
  ~Server();  // stops; waits for requests in flight
  int port() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tombolo::metrics
