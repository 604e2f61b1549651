// The admin API's gRPC server: a unix socket for admins, optionally one for viewers, and TCP with
// mutual TLS. It decides who calls and what that one may, keeps the audit log, and runs handlers on
// the control thread through a Bridge per listener. Health checking and reflection are on.
//
// Rights: whoever may open the admin socket (mode 0600) is an admin, whoever may open the viewers'
// socket (mode 0666) is a viewer. Over TCP only an operator's certificate of this fleet and cluster
// gives rights, those of its role; every other certificate, though trusted, gives none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "app/admin/bridge.h"
#include "app/admin/handlers.h"
#include "app/pki/pki.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/task_group.h"

namespace tombolo::admin {

struct ServerOptions {
  std::string socket;               // a path; empty: none
  std::string viewer_socket;        // a path; empty: none
  std::vector<std::string> listen;  // host:port; port 0 takes a free one
  pki::TlsFiles tls;                // for `listen`
  unsigned tls_refresh_s = 10;      // how soon changed TLS files are used
  std::string fleet;
  std::string cluster;
  std::string audit_file;
  std::uint64_t audit_rotate_bytes = 16U << 20U;
  Bridge::Limits limits;  // of each listener
};

class AdminServer {
 public:
  // Control thread. `handlers`, `tasks` and `clock` outlive the server; `tasks` is cancelled and
  // joined after stop() and before they go. Errors: a socket that another daemon serves
  // (kAlreadyExists), an address in use (kUnavailable), TLS files that do not fit together.
  static Result<std::unique_ptr<AdminServer>> start(ServerOptions options, AdminHandlers handlers,
                                                    TaskGroup& tasks, Clock& clock, Logger log);
  ~AdminServer();  // stops

  // Answers what is in flight with kUnavailable and closes the sockets. Does not block on handlers.
  void stop();
  // What health checks answer for the daemon as a whole; true from the start.
  void set_serving(bool serving);
  // Of `listen`, in its order.
  const std::vector<int>& ports() const;

 private:
  class Impl;
  explicit AdminServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tombolo::admin
