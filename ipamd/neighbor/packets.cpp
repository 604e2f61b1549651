// Bytes to packets and back; everything on the wire is in network order.
#include <fmt/format.h>

#include <algorithm>

#include "ipamd/neighbor/neighbor.h"

namespace tombolo::neighbor {
namespace {

constexpr std::size_t kArpSize = 28;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kNdpFixed = 24;  // type, code, checksum, flags, target
constexpr std::uint8_t kIcmpv6 = 58;
constexpr std::uint8_t kSolicitation = 135;
constexpr std::uint8_t kAdvertisement = 136;
constexpr std::uint8_t kSourceMacOption = 1;
constexpr std::uint8_t kTargetMacOption = 2;
constexpr std::uint8_t kSolicitedFlag = 0x40;
constexpr std::uint8_t kOverrideFlag = 0x20;

std::uint16_t read16_be(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

void write16_be(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

Mac read_mac(Bytes bytes, std::size_t at) {
  Mac mac;
  std::ranges::copy(bytes.subspan(at, mac.size()), mac.begin());
  return mac;
}

Ip read_ip(Bytes bytes, std::size_t at, Family family) {
  uint128 value = 0;
  std::size_t size = family == Family::kV4 ? 4 : 16;
  for (std::uint8_t byte : bytes.subspan(at, size)) value = value << 8 | byte;
  return {family, value};
}

void write_ip(std::span<std::uint8_t> bytes, std::size_t at, const Ip& ip) {
  std::size_t size = ip.is_v4() ? 4 : 16;
  uint128 value = ip.value();
  for (std::size_t i = size; i-- > 0; value >>= 8) bytes[at + i] = static_cast<std::uint8_t>(value);
}

bool is_multicast(const Ip& ip) {
  return static_cast<std::uint8_t>(ip.value() >> 120) == 0xff;
}

// Of the ICMPv6 message with its pseudo header (RFC 8200 section 8.1); 0 over a message whose
// checksum is right.
std::uint16_t checksum(const Ip& source, const Ip& destination, Bytes message) {
  std::array<std::uint8_t, 40> pseudo{};
  write_ip(pseudo, 0, source);
  write_ip(pseudo, 16, destination);
  write16_be(pseudo, 34, static_cast<std::uint16_t>(message.size()));
  pseudo[39] = kIcmpv6;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < pseudo.size(); i += 2) sum += read16_be(pseudo, i);
  for (std::size_t i = 0; i + 1 < message.size(); i += 2) sum += read16_be(message, i);
  if (message.size() % 2 == 1) sum += static_cast<std::uint32_t>(message.back()) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

struct Options {
  bool sound = true;
  std::optional<Mac> mac;
};

// The link-layer address of the wanted type; an option of length 0 spoils the packet.
Options read_options(Bytes options, std::uint8_t wanted) {
  Options found;
  while (!options.empty()) {
    if (options.size() < 2) return {false, std::nullopt};
    std::size_t size = std::size_t{options[1]} * 8;
    if (size == 0 || size > options.size()) return {false, std::nullopt};
    if (options[0] == wanted && size == 8 && !found.mac) found.mac = read_mac(options, 2);
    options = options.subspan(size);
  }
  return found;
}

std::vector<std::uint8_t> ndp_packet(const Ip& source, const Ip& destination, std::uint8_t type,
                                     std::uint8_t flags, const Ip& target, std::uint8_t option_type,
                                     const std::optional<Mac>& mac) {
  std::size_t payload = kNdpFixed + (mac ? 8 : 0);
  std::vector<std::uint8_t> packet(kIpv6Header + payload);
  packet[0] = 0x60;
  write16_be(packet, 4, static_cast<std::uint16_t>(payload));
  packet[6] = kIcmpv6;
  packet[7] = 255;
  write_ip(packet, 8, source);
  write_ip(packet, 24, destination);
  std::span<std::uint8_t> message = std::span(packet).subspan(kIpv6Header);
  message[0] = type;
  message[4] = flags;
  write_ip(message, 8, target);
  if (mac) {
    message[kNdpFixed] = option_type;
    message[kNdpFixed + 1] = 1;
    std::ranges::copy(*mac, message.begin() + kNdpFixed + 2);
  }
  write16_be(message, 2, checksum(source, destination, message));
  return packet;
}

}  // namespace

std::string to_string(const Mac& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

std::optional<Arp> parse_arp(Bytes packet) {
  constexpr std::uint16_t kEthernet = 1;
  constexpr std::uint16_t kIpv4 = 0x0800;
  if (packet.size() < kArpSize || read16_be(packet, 0) != kEthernet ||
      read16_be(packet, 2) != kIpv4 || packet[4] != 6 || packet[5] != 4)
    return std::nullopt;
  std::uint16_t operation = read16_be(packet, 6);
  if (operation != 1 && operation != 2) return std::nullopt;
  return Arp{operation == 2, read_mac(packet, 8), read_ip(packet, 14, Family::kV4),
             read_mac(packet, 18), read_ip(packet, 24, Family::kV4)};
}

std::array<std::uint8_t, 28> encode(const Arp& arp) {
  std::array<std::uint8_t, kArpSize> packet{0, 1, 8, 0, 6, 4, 0, 1};
  if (arp.reply) packet[7] = 2;
  std::ranges::copy(arp.sender_mac, packet.begin() + 8);
  write_ip(packet, 14, arp.sender_ip);
  std::ranges::copy(arp.target_mac, packet.begin() + 18);
  write_ip(packet, 24, arp.target_ip);
  return packet;
}

Ndp parse_ndp(Bytes packet) {
  if (packet.size() < kIpv6Header + kNdpFixed || packet[0] >> 4 != 6 || packet[6] != kIcmpv6 ||
      packet[7] != 255)
    return {};
  std::size_t payload = read16_be(packet, 4);
  if (payload < kNdpFixed || packet.size() < kIpv6Header + payload) return {};
  Ip source = read_ip(packet, 8, Family::kV6);
  Ip destination = read_ip(packet, 24, Family::kV6);
  Bytes message = packet.subspan(kIpv6Header, payload);
  if (message[1] != 0 || checksum(source, destination, message) != 0) return {};
  Ip target = read_ip(message, 8, Family::kV6);
  if (is_multicast(target)) return {};
  Bytes rest = message.subspan(kNdpFixed);
  if (message[0] == kSolicitation) {
    Options options = read_options(rest, kSourceMacOption);
    if (!options.sound) return {};
    bool wants_it = source.value() == 0;
    if (wants_it && (options.mac || destination != solicited_node_group(target))) return {};
    return Solicitation{source, target, options.mac};
  }
  if (message[0] != kAdvertisement) return {};
  Options options = read_options(rest, kTargetMacOption);
  bool solicited = (message[4] & kSolicitedFlag) != 0;
  if (!options.sound || (solicited && is_multicast(destination))) return {};
  return Advertisement{
      source, destination, target, solicited, (message[4] & kOverrideFlag) != 0, options.mac};
}

std::vector<std::uint8_t> encode(const Advertisement& advertisement) {
  auto flags = static_cast<std::uint8_t>((advertisement.solicited ? kSolicitedFlag : 0) |
                                         (advertisement.override_others ? kOverrideFlag : 0));
  return ndp_packet(advertisement.source, advertisement.destination, kAdvertisement, flags,
                    advertisement.target, kTargetMacOption, advertisement.target_mac);
}

std::vector<std::uint8_t> encode(const Solicitation& solicitation, const Ip& destination) {
  return ndp_packet(solicitation.source, destination, kSolicitation, 0, solicitation.target,
                    kSourceMacOption, solicitation.source_mac);
}

Ip all_nodes() {
  return Ip::v6(uint128{0xff02} << 112 | 1);
}

Ip solicited_node_group(const Ip& ip) {
  return Ip::v6(uint128{0xff02} << 112 | uint128{1} << 32 | 0xff000000U |
                static_cast<std::uint32_t>(ip.value() & 0xffffff));
}

Mac multicast_mac(const Ip& ipv6_group) {
  auto low = static_cast<std::uint32_t>(ipv6_group.value());
  return {0x33,
          0x33,
          static_cast<std::uint8_t>(low >> 24),
          static_cast<std::uint8_t>(low >> 16),
          static_cast<std::uint8_t>(low >> 8),
          static_cast<std::uint8_t>(low)};
}

}  // namespace tombolo::neighbor
