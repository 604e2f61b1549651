// What policies say about one packet, read straight from the rules: the plain meaning that compiled
// tables are measured against, and what `tombolo policy explain` tells. Pure; cost grows with the
// number of rules.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/policy.h"
#include "core/tables.h"

namespace tombolo::policy {

// An absent label satisfies NotIn and DoesNotExist.
bool matches(const LabelSelector& selector, const StringMap& labels);
// "app=web, tier in (a, b), !legacy"; "everything" for the empty one.
std::string to_string(const LabelSelector& selector);

// One end of a packet. `identity` is null for the host, other nodes and the world outside.
struct Party {
  const Identity* identity = nullptr;
  std::optional<Ip> ip;
  std::span<const NamedPort> ports;  // of its containers; without an identity they do not count
};

// Without a protocol: none of TCP, UDP and SCTP (ICMP, say); then the port says nothing.
struct Traffic {
  std::optional<Protocol> protocol;
  Port port = 0;  // at the destination
};

// Whether the policy governs pods of this identity. Policies govern pods of their own cluster: the
// caller gives no others.
bool governs(const Policy& policy, const Identity& identity);
bool matches(const PolicyPeerMatch& match, const Party& party);
bool matches(const PolicyPortMatch& match, Traffic traffic, std::span<const NamedPort> ports);

// Why a rule did not match; for explanations.
struct Miss {
  const Policy* policy = nullptr;
  const PolicyRule* rule = nullptr;
  bool peers = false;  // nobody in the rule's list is the other end
  bool ports = false;  // the port is not in the rule's list
};

struct Judgement {
  bool allowed = true;
  const Policy* policy = nullptr;  // whose rule decided; null: not isolated, or no rule
  const PolicyRule* rule = nullptr;
  std::vector<const Policy*> isolating;  // governing policies that isolate, by key
  std::vector<Miss> misses;              // of a denial: every rule, nearest first
};

// One direction at the governed end. The first rule that allows decides, in the order of the
// policies' keys and then of their rules.
Judgement judge(std::span<const Policy* const> policies, PolicyDirection direction,
                const Party& governed, const Party& peer, Traffic traffic);

}  // namespace tombolo::policy
