// Policies, identities and addresses -> what the kernel of one node looks up. A state machine
// without input or output: it is told what changed and answers with the rows that changed. The
// agent and the simulation drive it. Single-threaded.
//
//   policies ─┐                    ┌-> numbered rules    what a verdict's number stands for
//   identities┼-> peers, sets ─────┼-> verdict sets      peer class x port class -> verdict
//   owners ───┤                    ├-> policy peers      address or range -> peer number
//   local pods┘                    └-> guarded pods      pod -> verdict set per direction
//
// A peer is everything that all rules in force on this node treat alike: same identity, same named
// ports, inside the same of the prefixes that rules name. Pods that the same rules govern share a
// set, so that the cost of a look-up depends on neither the number of rules nor that of pods.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/policy.h"
#include "core/tables.h"

namespace tombolo::policy {

// A pod of this node. Without a pod key (the runtime told no name) no policy can mean it.
struct LocalGuarded {
  std::string attachment;  // Attachment::key()
  std::string host_interface;
  std::string pod;  // "NAMESPACE/NAME"
  std::vector<Ip> ips;
  std::uint32_t identity = 0;  // 0: not known yet; then closed wherever its namespace isolates
  std::vector<NamedPort> ports;
  bool operator==(const LocalGuarded&) const = default;
};

struct Changes {
  std::vector<NumberedRule> rules;
  std::vector<RuleNumber> erased_rules;
  std::vector<VerdictSet> sets;
  std::vector<std::string> erased_sets;
  std::vector<PolicyPeer> peers;
  std::vector<Prefix> erased_peers;
  std::vector<GuardedPod> pods;
  std::vector<std::string> erased_pods;
  bool empty() const;
};

struct CompilerLimits {
  std::uint32_t peers = kMaxPeers;          // numbers; at the bound new peers are denied everywhere
  RuleNumber rules = kMaxRuleNumber;        // at the bound a rule's verdicts carry number 0
  std::size_t cells_per_set = 512U << 10U;  // peer classes x port classes; beyond it: closed
  Duration quarantine = std::chrono::seconds(60);  // before a freed number gets a new meaning
};

class Compiler {
 public:
  explicit Compiler(CompilerLimits limits = {});
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  // What the kernel still has from an earlier life: numbers keep their meaning. Before compile().
  void seed_peers(const std::vector<PolicyPeer>& rows);
  void seed_rules(const std::vector<std::pair<RuleNumber, std::uint64_t>>& digests);

  void set_policy(Policy policy);
  void erase_policy(const std::string& key);  // Policy::key()
  void set_identity(Identity identity);
  void erase_identity(std::uint32_t number);
  void set_owner(IpOwner owner);
  void erase_owner(const Ip& ip);
  void set_pod(LocalGuarded pod);
  void erase_pod(const std::string& attachment);

  // When new rules tell addresses apart that share a number until now: the rows that give them
  // numbers of their own under the rules that were in force. They must be in the kernel before
  // compile() is called; whoever does not care for the moments in between calls compile() at once,
  // as when there is nothing.
  std::optional<Changes> prepare(MonotonicTime now);
  // The rows that differ from those of the last call, prepare() included. `now` decides which freed
  // numbers may be given again.
  Changes compile(MonotonicTime now);

  // What could not be compiled as written, by object; those are closed.
  const std::map<std::string, std::string>& errors() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What the kernel does with the tables; for tests, the matrix and explanations. `protocol`: an IP
// protocol number; every one but TCP, UDP and SCTP is looked up as 0.
Verdict look_up(const VerdictSet& set, std::uint32_t peer, std::uint8_t protocol, Port port);

}  // namespace tombolo::policy
