// Policy at the interfaces of pods: programs on the host side of every veth, both directions, whose
// tables are made equal to verdict_sets, guarded_pods, policy_peers and numbered_rules. How a
// packet is judged and in which order tables change: docs/datapath.md; keys and values: bpf/abi.h.
//
// Everything that blocks runs on a worker behind co_await; open() and the functions that say so
// block their caller. Control thread, but for what says "any thread".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/reconciler.h"
#include "core/tables.h"

namespace tombolo {
class Worker;  // core/worker.h
}

namespace tombolo::bpf {

enum class Hook {
  kAuto,    // tcx where the kernel has it (Linux 6.6), else clsact
  kTcx,     // links, pinned
  kClsact,  // a clsact qdisc with a direct-action filter
};

// Entries. A pinned map keeps the size with which it was made.
struct GuardSizes {
  std::uint32_t flows = 65536;    // rounded up to buckets of 7; 69 bytes each
  std::uint32_t peers = 262144;   // whole addresses
  std::uint32_t ranges = 16384;   // shorter prefixes
  std::uint32_t sets = 4096;      // verdict sets
  std::uint32_t blocks = 262144;  // 64 bytes each: what verdict sets are made of
  std::uint32_t rules = 65536;    // higher rule numbers are enforced, but neither counted nor kept
  std::uint32_t pods = 2048;
  std::uint32_t event_bytes = 1 << 20;
};

struct GuardSettings {
  std::string bpffs_root;  // as Settings::bpffs_root; both may be the same
  Hook hook = Hook::kAuto;
  GuardSizes sizes{};
};

// ---- the port to the kernel's tables; the real one is behind Guard::open. Calls block; worker
// thread only. Every call is safe to repeat.
struct PodInForce {
  std::string host_interface;
  bool open = false;
  std::string ingress;  // VerdictSet::id; empty: not isolated
  std::string egress;
  std::uint32_t identity = 0;
  std::vector<Ip> ips;
  bool operator==(const PodInForce&) const = default;
};
struct PolicyInForce {
  std::vector<std::pair<RuleNumber, std::uint64_t>> rules;  // number, digest
  std::vector<std::string> sets;
  std::vector<PolicyPeer> peers;
  std::vector<PodInForce> pods;  // every guarded interface
};
class PolicyMaps {
 public:
  virtual ~PolicyMaps() = default;
  virtual Result<PolicyInForce> in_force() = 0;
  // Digest 0 forgets the number. Another digest starts its counters at 0.
  virtual Result<void> put_rule(RuleNumber number, std::uint64_t digest) = 0;
  // A set that is there already is not written again: sets are immutable.
  virtual Result<void> put_set(const VerdictSet& set) = 0;
  // Opens the interface, or lets it go from its sets to others: no packet sees a mixture. kNotFound
  // while the interface is not attached, kFailedPrecondition when a set is not there: a direction
  // that was open is closed then, one that had another set keeps it.
  virtual Result<void> put_pod(const GuardedPod& pod) = 0;
  virtual Result<void> close_pod(const std::string& host_interface) = 0;  // of the absent: ok
  virtual Result<void> put_peer(const PolicyPeer& peer) = 0;
  virtual Result<void> erase_peer(const Prefix& prefix) = 0;
  // Flows that were judged before are judged again when their next packet comes.
  virtual Result<void> bump_generation() = 0;
  // kFailedPrecondition while an interface still refers to it.
  virtual Result<void> erase_set(const std::string& id) = 0;
  // All that should be in force is: programs and maps of other ABI versions have done their duty.
  virtual Result<void> drop_other_versions() { return {}; }
  // Returns when no program runs any more that began before the call.
  virtual Result<void> wait_for_readers() = 0;
};

// ---- the reconciler over any such port
class GuardReconciler : public ReconcilerView {
 public:
  // Until cancelled: waits for changes, writes them in one order (rules, sets, pods, peers, the
  // generation, peers that go, sets that go), tries again what failed. Nothing is taken away before
  // all four tables are synced.
  virtual asio::awaitable<void> run() = 0;
  // A pod that failed with kNotFound is tried again at once: call it after an attach.
  virtual void wake() = 0;
};
// `status` is a writer shared with other reconcilers (a copy). All must outlive the join of
// `tasks`.
std::unique_ptr<GuardReconciler> make_guard_reconciler(PolicyMaps& maps, Worker& worker,
                                                       AgentTables& tables,
                                                       Table<ReconcileStatus>::Writer status,
                                                       TaskGroup& tasks, Clock& clock, Rng& rng,
                                                       Logger log);

// ---- what is seen
enum class FlowReason : std::uint8_t {
  kPolicy,            // the rule that is named
  kRevoked,           // an established flow that the rule no longer allows
  kClosed,            // the pod's policy is not known yet
  kSourceRefused,     // the pod used an address that is not its own
  kUnknownInterface,  // guarded, but not by a living attachment
  kFragment,          // a later fragment whose first was not seen
  kMalformed,         // headers that are cut off or too deep
  kNotIp,             // an ethertype or a VLAN tag that an isolated pod may not use
  kIcmpError,         // about a flow that is not known
};
std::string_view to_string(FlowReason reason);  // "policy", "revoked", …

struct FlowEvent {
  std::uint64_t sequence = 0;  // without gaps; from 1
  WallTime time{};
  bool allowed = false;  // accepts are told of new flows only, and on request
  FlowReason reason = FlowReason::kPolicy;
  PolicyDirection direction = PolicyDirection::kIngress;
  std::string host_interface;
  Endpoint source;  // of the packet; port 0 where the protocol has none
  Endpoint destination;
  std::uint8_t protocol = 0;   // IANA; 0 for what is not IP
  std::uint32_t identity = 0;  // of the pod at host_interface
  std::uint32_t peer = 0;      // of the other side
  std::uint32_t peer_identity = 0;
  RuleNumber rule = 0;
  std::uint32_t length = 0;  // bytes with the Ethernet header
};
struct FlowPage {
  std::vector<FlowEvent> events;  // oldest first
  std::uint64_t missed = 0;       // events after `after` that are no longer kept
  std::uint64_t last = 0;         // ask for what comes after this one next
};

struct RuleCounters {
  RuleNumber rule = 0;
  std::uint64_t flows = 0;  // how often it was named for a new flow
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

// One number that has a name, since the maps were made: "source_refused", "events_lost", …
struct GuardCounter {
  std::string name;
  std::uint64_t value = 0;
};

// An interface inside a pod's network namespace. No interface of the agent's own namespace, and
// none in another pod, has the index.
struct InterfaceInPod {
  std::string netns_path;
  std::uint32_t index = 0;
};

class Guard {
 public:
  // Mounts the bpffs when needed, takes over pinned maps, gives every guarded interface the new
  // programs in one step each. What the maps say stays in force. Errors as LoadBalancer::open, and
  // kFailedPrecondition when the hook that was asked for is not there.
  static Result<std::unique_ptr<Guard>> open(GuardSettings settings, Clock& clock, Logger log);
  virtual ~Guard() = default;

  // Guards an interface of this network namespace in both directions. New ones are closed (only ARP
  // and neighbour discovery pass) until a GuardedPod row opens them; one that is already guarded
  // stays as open as it is. `ips` are the only sources that the pod may use (8 at most).
  virtual asio::awaitable<Result<void>> attach(std::string host_interface, std::vector<Ip> ips) = 0;
  // The same for a device that was moved into a pod: guarded there, from the other side. `name` is
  // what it is called here and nowhere else.
  virtual asio::awaitable<Result<void>> attach_inside(std::string name, InterfaceInPod pod,
                                                      std::vector<Ip> ips) = 0;
  // Takes programs and entry away; also after the interface is gone. Of the absent: ok.
  virtual asio::awaitable<Result<void>> detach(std::string host_interface) = 0;
  // Interfaces that are guarded, gone ones too: for a prune after a start.
  virtual asio::awaitable<Result<std::vector<PodInForce>>> interfaces() = 0;

  // What the pinned maps had at open(), for the compiler to keep its numbers.
  virtual const std::vector<PolicyPeer>& peers() const = 0;
  virtual const std::vector<std::pair<RuleNumber, std::uint64_t>>& rules() const = 0;

  // For make_guard_reconciler.
  virtual PolicyMaps& maps() = 0;
  virtual Worker& worker() = 0;

  // Events after number `after`, up to `limit`. The newest 8,192 are kept. Any thread.
  virtual FlowPage flows(std::uint64_t after, std::size_t limit) = 0;
  // Waits until there is an event after `after` or the time is over; blocks. Any thread.
  virtual bool wait_flows(std::uint64_t after, Duration limit) = 0;
  virtual Result<void> trace_accepts(bool on) = 0;  // any thread

  // Exact sums over all CPUs, of rules that were named at least once, sorted.
  virtual asio::awaitable<Result<std::vector<RuleCounters>>> rule_counters() = 0;
  virtual asio::awaitable<Result<std::vector<GuardCounter>>> stats() = 0;
  virtual bool uses_tcx() const = 0;
  // "from_pod", "to_pod" and "nothing" (which costs what a program costs that does nothing): for
  // tests and benchmarks that run them.
  virtual int program_fd(std::string_view name) const = 0;
};

}  // namespace tombolo::bpf
