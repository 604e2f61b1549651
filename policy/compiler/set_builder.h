// One verdict set: the rules of the policies that govern a group of pods in one direction, first
// into classes of peers, then into classes of ports. Part of the compiler.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/policy.h"
#include "policy/compiler/peers.h"
#include "policy/compiler/selectors.h"

namespace tombolo::policy {

// One rule in force, ready to be matched.
struct RuleInForce {
  const PolicyRule* rule = nullptr;
  std::string policy;  // Policy::key()
  RuleNumber number = 0;
  std::vector<std::shared_ptr<const SelectorIndex::Entry>> selectors;
  std::vector<const PolicyPeerMatch*> prefixes;
  bool names_ports = false;
};

class SetBuilder {
 public:
  // `rules` in the order in which they decide. `own_ports`: the named ports of the governed pods
  // (ingress); for egress the peers' own count.
  SetBuilder(PolicyDirection direction, std::vector<RuleInForce> rules,
             std::vector<NamedPort> own_ports, RuleNumber isolation, std::size_t cell_limit);

  // Puts every peer into its class.
  void classify(const PeerBook& book);
  // The same for numbers that mean something new. Whether any is in another class now.
  bool classify(const PeerBook& book, const std::vector<std::uint32_t>& fresh);
  // The rows' content from the classes. kResourceExhausted: too many classes; then a set that
  // denies all.
  Result<void> build();

  // Many classes that no peer has any more: classify all anew.
  bool wasteful() const { return classes_.size() > 64 + 2 * classes_at_first_; }

  const VerdictSet& row() const { return row_; }
  const std::vector<RuleInForce>& rules() const { return rules_; }

 private:
  // What a peer may use: rules by index, each with the ports that its names stand for.
  struct Grant {
    std::uint32_t rule = 0;
    std::uint32_t ports = 0;  // index into resolved_; 0: the rule names none
    auto operator<=>(const Grant&) const = default;
  };
  using Signature = std::vector<Grant>;
  struct Interval {
    std::uint8_t protocol = 0;
    std::uint32_t first = 0;
    std::uint32_t last = 0;
  };

  Grant grant_of(std::uint32_t rule, const PeerKey& peer);
  bool selects(const RuleInForce& rule, const PeerKey& peer) const;
  static Signature common(const std::set<std::uint32_t>& peers,
                          const std::vector<Signature>& signatures);
  std::uint16_t class_of(Signature signature);
  std::vector<Interval> intervals_of(const Grant& grant) const;
  void cut();
  void paint(std::size_t peer_class, std::vector<Verdict>& cells) const;
  void merge_columns(const std::vector<Verdict>& cells);
  void close();
  void name();

  PolicyDirection direction_;
  std::vector<RuleInForce> rules_;
  std::vector<NamedPort> own_ports_;
  RuleNumber isolation_;
  std::size_t cell_limit_;
  std::vector<std::vector<NamedPort>> resolved_{{}};
  std::map<std::vector<NamedPort>, std::uint32_t> resolved_index_;
  std::map<Signature, std::uint16_t> class_index_;
  std::vector<Signature> classes_;
  std::size_t classes_at_first_ = 0;
  bool too_many_ = false;
  std::vector<std::uint16_t> peer_classes_;
  std::vector<Interval> spans_;
  VerdictSet row_;
};

}  // namespace tombolo::policy
