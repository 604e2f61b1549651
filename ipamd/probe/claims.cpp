// By the sender's address of ARP, and by the kind of message of neighbour discovery.
#include "ipamd/probe/claims.h"

namespace tombolo::probe {
namespace {

std::optional<Claim> claim_of(const neighbor::Arp& arp) {
  Claim claim{arp.sender_ip, arp.sender_mac, false};
  if (arp.sender_ip.value() == 0) {
    if (arp.reply) return std::nullopt;
    claim.ip = arp.target_ip;
    claim.asks = true;
  }
  return claim;
}

std::optional<Claim> claim_of(const neighbor::Ndp& ndp) {
  if (const auto* said = std::get_if<neighbor::Advertisement>(&ndp))
    return Claim{said->target, said->target_mac, false};
  const auto* asked = std::get_if<neighbor::Solicitation>(&ndp);
  // A solicitation from an address asks for somebody else's, to talk to it.
  if (asked == nullptr || asked->source.value() != 0) return std::nullopt;
  return Claim{asked->target, std::nullopt, true};
}

}  // namespace

Question question_for(const Mac& own, Ip target) {
  if (target.is_v4()) {
    auto packet = neighbor::encode(neighbor::Arp{false, own, Ip::v4(0), Mac{}, target});
    return {{packet.begin(), packet.end()}, neighbor::kBroadcast};
  }
  Ip group = neighbor::solicited_node_group(target);
  neighbor::Solicitation asked{Ip::v6(0), target, std::nullopt};
  return {neighbor::encode(asked, group), neighbor::multicast_mac(group)};
}

std::optional<Claim> read_claim(Family family, neighbor::Bytes packet) {
  std::optional<Claim> claim;
  if (family == Family::kV6) {
    claim = claim_of(neighbor::parse_ndp(packet));
  } else if (auto arp = neighbor::parse_arp(packet)) {
    claim = claim_of(*arp);
  }
  if (claim && claim->ip.value() == 0) return std::nullopt;
  return claim;
}

}  // namespace tombolo::probe
