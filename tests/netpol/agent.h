// The agent's way of policy with nothing replaced but the store: tables -> compiler -> reconciler
// -> guard -> kernel, on the calling thread and the workers of the real parts. What
// tests/netpol and tests/bench/policy write into the tables, the store's mirrors write in the
// agent.
#pragma once

#include <memory>
#include <string>

#include "app/daemon/agent_policy.h"
#include "bpf/test_world.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"

namespace tombolo::netpol {

class PolicyAgent {
 public:
  // In the network namespace of the calling thread.
  PolicyAgent(const bpf::TestWorld& world, bpf::Hook hook);
  ~PolicyAgent();
  PolicyAgent(const PolicyAgent&) = delete;
  PolicyAgent& operator=(const PolicyAgent&) = delete;

  // A new interface, as CNI tells of it. The pod's name and ips may change later by the table.
  Result<void> add(const Attachment& attachment);
  // Returns when everything in the tables is in the kernel; 20 s at most. The error says what is
  // not.
  Result<void> settle();
  bpf::Guard& guard() { return *guard_; }

 private:
  Drive drive_;
  MemoryStore store_{drive_.executor()};
  MemoryKv kv_{store_};
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Rng> rng_ = make_seeded_rng(1);
  TaskGroup tasks_{drive_.executor()};
  AgentTables tables_;

 public:
  Table<Attachment>::Writer attachments = tables_.attachments.take_writer("test");
  Table<Policy>::Writer policies = tables_.policies.take_writer("test");
  Table<Identity>::Writer identities = tables_.identities.take_writer("test");
  Table<IpOwner>::Writer owners = tables_.ip_owners.take_writer("test");
  Table<LocalPod>::Writer local_pods = tables_.local_pods.take_writer("test");
  const AgentTables& tables() const { return tables_; }

 private:
  Table<ReconcileStatus>::Writer status_ = tables_.status.take_writer("test");
  Settling settling_;
  std::unique_ptr<bpf::Guard> guard_;
  std::unique_ptr<AgentPolicy> policy_;
};

}  // namespace tombolo::netpol
