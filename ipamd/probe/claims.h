// What packets of neighbours (ipamd/neighbor) say about who has an address, and the packets that
// ask for it: probes of RFC 5227, duplicate address detection of RFC 4862. Pure, any thread.
#pragma once

#include <optional>

#include "ipamd/neighbor/neighbor.h"

namespace tombolo::probe {

using neighbor::Mac;

// "Who has `target`?", from nobody's address (RFC 5227 section 1.1; RFC 4862 section 5.4.2): the
// bytes, and the address on Ethernet that they go to.
struct Question {
  std::vector<std::uint8_t> packet;
  Mac to{};
};
Question question_for(const Mac& own, Ip target);

struct Claim {
  Ip ip;
  // Of the packet's own fields; nothing when it does not say.
  std::optional<Mac> mac;
  // A probe of its own: whoever sent it wants the address, and has it not yet.
  bool asks = false;
};
// Of a packet of ARP or of neighbour discovery, by the family. Nothing when it is not well-formed
// (neighbor::parse_arp, neighbor::parse_ndp), or says nothing about an address.
std::optional<Claim> read_claim(Family family, neighbor::Bytes packet);

}  // namespace tombolo::probe
