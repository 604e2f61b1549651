// The packets of probes, as bytes: ARP (RFC 826, probes of RFC 5227) and neighbour discovery
// (RFC 4861, duplicate address detection of RFC 4862). Without link headers. Pure, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/ip.h"

namespace tombolo::probe {

using Mac = std::array<std::uint8_t, 6>;
std::string to_text(const Mac& mac);  // "02:00:00:00:00:01"

inline constexpr Mac kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

// "Who has `target`?", from nobody's address (RFC 5227 section 1.1). ENSUREs IPv4.
std::string encode_arp_probe(const Mac& own, Ip target);
// A neighbour solicitation from :: to the solicited-node group of `target`, with its IPv6 header
// and no option (RFC 4862 section 5.4.2). ENSUREs IPv6.
std::string encode_solicitation(Ip target);
// The group's address on Ethernet (RFC 2464 section 7).
Mac solicited_node_mac(Ip target);

// What a packet says about who has an address.
struct Claim {
  Ip ip;
  // Of the packet's own fields; nothing when it does not say.
  std::optional<Mac> mac;
  // A probe of its own: whoever sent it wants the address, and has it not yet.
  bool asks = false;
};
// Nothing when it is no well-formed packet of its kind, or says nothing about an address.
std::optional<Claim> read_arp(std::string_view packet);
// `packet` begins with the IPv6 header. Advertisements, and solicitations from ::; checked as
// RFC 4861 sections 7.1.1 and 7.1.2 ask (hop limit 255, checksum, lengths, targets).
std::optional<Claim> read_neighbour(std::string_view packet);

}  // namespace tombolo::probe
