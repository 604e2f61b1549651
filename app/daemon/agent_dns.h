// DNS in the agent: the node-local addresses on the loopback interface, the server, and the
// reconciler that turns frontends into snapshots. Control thread; the server answers on threads of
// its own.
#pragma once

#include <memory>
#include <vector>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/net.h"
#include "core/tables.h"
#include "core/worker.h"
#include "dns/dns.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo {

// agent.dns.listen, as endpoints.
Result<std::vector<Endpoint>> dns_addresses(const config::v1::DaemonConfig& config);

class AgentDns {
 public:
  static Result<std::unique_ptr<AgentDns>> open(const config::v1::DaemonConfig& config,
                                                Table<Frontend>& frontends,
                                                Table<ReconcileStatus>::Writer status, Net& net,
                                                Worker& worker, RoleContext context);
  // Puts the addresses on lo and serves; the reconciler is registered in `settling`.
  asio::awaitable<Result<void>> start(Settling& settling);
  // What the table has is what was last known of the store: answers with it instead of SERVFAIL.
  // Before start().
  void serve_known();
  void stop() { server_->stop(); }

 private:
  AgentDns(std::vector<Endpoint> listen, Table<Frontend>& frontends,
           std::unique_ptr<dns::DnsServer> server, Net& net, Worker& worker, RoleContext context)
      : listen_(std::move(listen)),
        frontends_(frontends),
        server_(std::move(server)),
        net_(net),
        worker_(worker),
        context_(context) {}

  std::vector<Endpoint> listen_;
  Table<Frontend>& frontends_;
  std::unique_ptr<dns::DnsServer> server_;
  Net& net_;
  Worker& worker_;
  RoleContext context_;
  std::unique_ptr<dns::ZonePublisher> publisher_;
  std::unique_ptr<Reconciler<Frontend>> reconciler_;
};

}  // namespace tombolo
