// The agent role: what runs on every node. It follows its own cluster's store and makes the node's
// kernel and DNS equal to it, serves CNI, and publishes the node's own records.
//
//   store --mirrors--> node_blocks, nodes, frontends  --reconcilers--> routes, load balancer, DNS
//   store --mirrors--> policies, identities, ip_owners, local_pods --compiler--> verdicts --> guard
//   CNI   -----------> attachments                    --publishers---> leases, addresses, node
//   record
//
// Control thread. Nothing here waits for the store: without it the node goes on with what it knows,
// also after a restart (known.db in the state folder has what was last read).
#pragma once

#include <memory>

#include "app/daemon/published.h"
#include "app/daemon/settling.h"
#include "core/tables.h"
#include "schema/config/v1/config.pb.h"

namespace tombolo::bpf {
class Guard;  // bpf/guard.h
}

namespace tombolo {

class Agent {
 public:
  // Reads what was last known and takes the DNS settings. Before the control loop runs. `context`
  // and `config` outlive it.
  static Result<std::unique_ptr<Agent>> open(const config::v1::DaemonConfig& config,
                                             RoleContext context);
  virtual ~Agent() = default;

  // The three steps of a start, in this order. Names first: they are away while no agent runs, and
  // what comes after them may take the kernel long; what its programs do goes on meanwhile.
  virtual asio::awaitable<Result<void>> start_names() = 0;
  // eBPF, and the lease file.
  virtual asio::awaitable<Result<void>> open_datapath() = 0;
  // Everything else in the task group; answers when CNI is served.
  virtual asio::awaitable<Result<void>> start() = 0;
  // Stops threads that are not the control thread's; after the task group was joined. eBPF stays as
  // it is.
  virtual void stop() = 0;

  virtual AgentTables& tables() = 0;
  virtual Settling& settling() = 0;
  // What enforces policy on this node; null when the subsystem is off. From open_datapath() on.
  virtual bpf::Guard* guard() = 0;
};

}  // namespace tombolo
