// One node of the test's own making: pods' network namespaces, each behind a veth whose host end is
// guarded, addressed and routed as the CNI plugin does it (/32 and /128, one link-local next hop,
// neighbours known). Clusters reach the kernel through the agent's tables.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "bpf/internal.h"
#include "tests/netpol/agent.h"
#include "tests/netpol/cases.h"

namespace tombolo::netpol {

class Fabric {
 public:
  // Why this machine cannot have one, or nothing.
  static std::optional<std::string> missing();
  // A pod for each IPv4 address; its IPv6 address is of the fabric's choice.
  Fabric(bpf::Hook hook, const std::set<Ip>& addresses);
  ~Fabric();
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;

  // Slots 0 … pods() - 1 are pods in the order of their addresses, slot pods() is the node.
  std::size_t pods() const { return addresses_.size(); }
  std::size_t node() const { return addresses_.size(); }
  Ip address(std::size_t slot, Family family) const;
  std::optional<std::size_t> slot_of(const Ip& ip) const;
  std::size_t slot_of(const Workload& pod) const;

  // Runs `body` on the calling thread inside the slot's network namespace, and leaves the thread in
  // the node's.
  void inside(std::size_t slot, const std::function<void()>& body) const;

  // The step's cluster instead of the last one's: only the difference is written into the tables.
  // Returns when it is in the kernel.
  Result<void> enter(const Step& step);

  // What enter() made of a pod, for the oracle.
  const Identity& identity_of(const Workload& pod) const;

 private:
  void make_pod(std::size_t slot);
  Attachment attachment_of(std::size_t slot) const;
  std::uint32_t number_of(const Step& step, const Workload& pod);
  void leave(std::size_t slot);

  bpf::TestWorld world_;
  std::vector<Ip> addresses_;  // IPv4, sorted
  Descriptor node_;
  std::vector<Descriptor> pods_;
  PolicyAgent agent_;
  std::map<std::tuple<std::string, StringMap, StringMap>, Identity> identities_;
  std::map<std::string, std::uint32_t> identity_of_pod_;
  std::map<std::size_t, std::string> pod_at_;  // slot -> "ns/name"
};

}  // namespace tombolo::netpol
