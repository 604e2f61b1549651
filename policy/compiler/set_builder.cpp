// Peers first: those that the same rules let through, with the same ports, are one class.
#include "policy/compiler/set_builder.h"

#include <algorithm>

namespace tombolo::policy {

SetBuilder::SetBuilder(PolicyDirection direction, std::vector<RuleInForce> rules,
                       std::vector<NamedPort> own_ports, RuleNumber isolation,
                       std::size_t cell_limit)
    : direction_(direction),
      rules_(std::move(rules)),
      own_ports_(std::move(own_ports)),
      isolation_(isolation),
      cell_limit_(cell_limit) {}

// On egress the peer's own ports decide what a name stands for, so they are part of the grant.
SetBuilder::Grant SetBuilder::grant_of(std::uint32_t rule, const PeerKey& peer) {
  const RuleInForce& in_force = rules_[rule];
  if (!in_force.names_ports) return {rule, 0};
  const std::vector<NamedPort>& ports =
      direction_ == PolicyDirection::kIngress ? own_ports_ : peer.ports;
  auto [at, fresh] =
      resolved_index_.try_emplace(ports, static_cast<std::uint32_t>(resolved_.size()));
  if (fresh) resolved_.push_back(ports);
  return {rule, at->second};
}

bool SetBuilder::selects(const RuleInForce& rule, const PeerKey& peer) const {
  if (rule.rule->peers.empty()) return true;
  for (const auto& selector : rule.selectors)
    if (peer.identity != 0 && selector->identities.contains(peer.identity)) return true;
  if (!peer.cell) return false;
  return std::ranges::any_of(rule.prefixes, [&](const PolicyPeerMatch* match) {
    return match->prefix->contains(*peer.cell) &&
           std::ranges::none_of(match->except,
                                [&](const Prefix& except) { return except.contains(*peer.cell); });
  });
}

std::uint16_t SetBuilder::class_of(Signature signature) {
  auto known = class_index_.find(signature);
  if (known != class_index_.end()) return known->second;
  if (classes_.size() > UINT16_MAX) {
    too_many_ = true;
    return 0;
  }
  auto number = static_cast<std::uint16_t>(classes_.size());
  classes_.push_back(signature);
  class_index_.emplace(std::move(signature), number);
  return number;
}

// What all of them may use.
SetBuilder::Signature SetBuilder::common(const std::set<std::uint32_t>& peers,
                                         const std::vector<Signature>& signatures) {
  Signature result = signatures[*peers.begin()];
  for (std::uint32_t peer : peers) {
    Signature both;
    std::ranges::set_intersection(result, signatures[peer], std::back_inserter(both));
    result = std::move(both);
  }
  return result;
}

void SetBuilder::classify(const PeerBook& book) {
  std::vector<Signature> signatures(book.end());
  const auto& peers = book.peers();
  auto grant = [&](std::uint32_t rule, std::uint32_t number) {
    auto peer = peers.find(number);
    if (peer == peers.end()) return;
    Grant next = grant_of(rule, peer->second);
    if (signatures[number].empty() || signatures[number].back() != next)
      signatures[number].push_back(next);
  };
  for (std::uint32_t index = 0; index < rules_.size(); ++index) {
    const RuleInForce& rule = rules_[index];
    if (rule.rule->peers.empty())
      for (const auto& [number, key] : peers) grant(index, number);
    for (const auto& selector : rule.selectors)
      for (std::uint32_t identity : selector->identities)
        if (const auto* numbers = book.of_identity(identity))
          for (std::uint32_t number : *numbers) grant(index, number);
    for (const PolicyPeerMatch* match : rule.prefixes)
      for (std::uint32_t number : book.inside(*match->prefix, match->except)) grant(index, number);
  }
  // Whoever is still looked up by an old number gets no more than what holds for all who had it,
  // and, where they are alike, what they have now: no gap and no wrong verdict.
  for (const auto& [number, successors] : book.retired())
    if (std::ranges::all_of(successors, [&](std::uint32_t peer) { return peer < book.end(); }))
      signatures[number] = common(successors, signatures);
  class_index_.clear();
  classes_.clear();
  too_many_ = false;
  class_of({});  // class 0: whom no rule lets through
  peer_classes_.assign(book.end(), 0);
  for (std::uint32_t number = 0; number < book.end(); ++number)
    peer_classes_[number] = class_of(std::move(signatures[number]));
  classes_at_first_ = classes_.size();
}

bool SetBuilder::classify(const PeerBook& book, const std::vector<std::uint32_t>& fresh) {
  bool changed = false;
  peer_classes_.resize(std::max<std::size_t>(peer_classes_.size(), book.end()), 0);
  for (std::uint32_t number : fresh) {
    auto peer = book.peers().find(number);
    if (peer == book.peers().end()) continue;
    Signature signature;
    for (std::uint32_t index = 0; index < rules_.size(); ++index)
      if (selects(rules_[index], peer->second)) signature.push_back(grant_of(index, peer->second));
    std::uint16_t next = class_of(std::move(signature));
    changed = changed || next != peer_classes_[number];
    peer_classes_[number] = next;
  }
  return changed || too_many_;
}

}  // namespace tombolo::policy
