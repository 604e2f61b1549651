// Policy at the interfaces of one simulated node: what bpf/guard.h promises of the kernel, kept as
// it was written, and the way of a new flow through it. The tables outlive the agent, as pinned
// maps do; each life of the agent has its own Guard over them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bpf/guard.h"
#include "core/worker.h"
#include "tests/sim/kernel.h"

namespace tombolo::sim {

class SimPolicy final : public bpf::PolicyMaps {
 public:
  SimPolicy(World& world, std::string node, Mistake mistake)
      : world_(world), node_(std::move(node)), mistake_(mistake) {}
  void attach(Alive user) { user_ = std::move(user); }
  double refuse = 0;
  // Whether the node has an interface of this name.
  std::function<bool(const std::string&)> exists;

  // What a new flow to or from `peer` meets at the interface. True at an unguarded one.
  bool passes(const std::string& host_interface, PolicyDirection direction, const Ip& peer,
              Port port) const;
  bool guards(const std::string& host_interface) const {
    return interfaces_.contains(host_interface);
  }

  Result<void> add_interface(const std::string& name, const std::vector<Ip>& ips);
  Result<void> remove_interface(const std::string& name);

  Result<bpf::PolicyInForce> in_force() override;
  Result<void> put_rule(RuleNumber number, std::uint64_t digest) override;
  Result<void> put_set(const VerdictSet& set) override;
  Result<void> put_pod(const GuardedPod& pod) override;
  Result<void> close_pod(const std::string& host_interface) override;
  Result<void> put_peer(const PolicyPeer& peer) override;
  Result<void> erase_peer(const Prefix& prefix) override;
  Result<void> bump_generation() override { return admit(); }
  Result<void> erase_set(const std::string& id) override;
  Result<void> wait_for_readers() override { return admit(); }

 private:
  struct Interface {
    std::vector<Ip> ips;
    bool open = false;
    std::string ingress;
    std::string egress;
    std::uint32_t identity = 0;
  };
  Result<void> admit();
  std::uint32_t peer_of(const Ip& ip) const;

  World& world_;
  std::string node_;
  Mistake mistake_;
  Alive user_;
  std::map<std::string, Interface> interfaces_;
  std::map<std::string, VerdictSet> sets_;
  std::map<Prefix, PolicyPeer> peers_;
  std::map<RuleNumber, std::uint64_t> rules_;
};

// One life's way to it. Nothing is seen of packets that do not exist.
class SimGuard final : public bpf::Guard {
 public:
  SimGuard(SimPolicy& policy, std::unique_ptr<Worker> worker);

  asio::awaitable<Result<void>> attach(std::string host_interface, std::vector<Ip> ips) override;
  asio::awaitable<Result<void>> attach_inside(std::string name, bpf::InterfaceInPod pod,
                                              std::vector<Ip> ips) override;
  asio::awaitable<Result<void>> detach(std::string host_interface) override;
  asio::awaitable<Result<std::vector<bpf::PodInForce>>> interfaces() override;
  const std::vector<PolicyPeer>& peers() const override { return at_open_.peers; }
  const std::vector<std::pair<RuleNumber, std::uint64_t>>& rules() const override {
    return at_open_.rules;
  }
  bpf::PolicyMaps& maps() override { return policy_; }
  Worker& worker() override { return *worker_; }
  bpf::FlowPage flows(std::uint64_t, std::size_t) override { return {}; }
  bool wait_flows(std::uint64_t, Duration) override { return false; }
  Result<void> trace_accepts(bool) override { return {}; }
  asio::awaitable<Result<std::vector<bpf::RuleCounters>>> rule_counters() override;
  asio::awaitable<Result<std::vector<bpf::GuardCounter>>> stats() override;
  bool uses_tcx() const override { return true; }
  int program_fd(std::string_view) const override { return -1; }

 private:
  SimPolicy& policy_;
  std::unique_ptr<Worker> worker_;
  bpf::PolicyInForce at_open_;
};

}  // namespace tombolo::sim
