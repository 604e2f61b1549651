// Policies in words, for the admin API: what a rule says, why it does not apply, who decided. Pure.
#pragma once

#include <string>

#include "core/policy.h"
#include "core/tables.h"
#include "policy/rules/rules.h"

namespace tombolo {

// "NetworkPolicy/stars/allow-ui" -> "stars/allow-ui".
std::string short_policy(const std::string& key);

// "from pods role=frontend of namespace stars, 10.0.0.0/8 except 10.1.0.0/16 to TCP/6379".
std::string rule_text(const PolicyRule& rule);

// "ingress[0] of stars/allow-ui", "isolation of stars/a, stars/b".
std::string decided_by(const NumberedRule& rule);
std::string isolation_of(const std::vector<const Policy*>& policies);

// Which term of the rule fails, of the peer that comes nearest: "labels do not match role=frontend;
// TCP/80 is not TCP/6379". `name_space` of the other end, `ports` of the destination's containers.
std::string why_missed(const policy::Miss& miss, const policy::Party& peer,
                       policy::Traffic traffic);

// "TCP", "ICMPv6", "47"; "-" for 0.
std::string protocol_name(std::uint8_t protocol);
// "TCP/80", "ICMP or another protocol without ports".
std::string traffic_text(policy::Traffic traffic);

}  // namespace tombolo
