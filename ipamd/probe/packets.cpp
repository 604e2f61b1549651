// Fields by their offsets.
#include "ipamd/probe/packets.h"

#include <algorithm>

namespace tombolo::probe {
namespace {

constexpr std::size_t kArpBytes = 28;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kTarget = 8;  // in a message of neighbour discovery
constexpr std::size_t kMessage = 24;
constexpr std::uint8_t kIcmpV6 = 58;
constexpr std::uint8_t kHopLimit = 255;
constexpr std::uint8_t kSolicitation = 135;
constexpr std::uint8_t kAdvertisement = 136;
constexpr std::uint8_t kTargetLinkAddress = 2;  // option

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}
unsigned word_at(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned>(byte_at(bytes, at)) << 8U | byte_at(bytes, at + 1);
}
void put_word(std::string& bytes, std::size_t at, unsigned value) {
  bytes[at] = static_cast<char>(value >> 8U);
  bytes[at + 1] = static_cast<char>(value & 255U);
}
Mac mac_at(std::string_view bytes, std::size_t at) {
  Mac mac;
  for (std::size_t i = 0; i < mac.size(); ++i) mac[i] = byte_at(bytes, at + i);
  return mac;
}
Ip ip_at(std::string_view bytes, std::size_t at, std::size_t size) {
  return Ip::from_bytes_be(bytes.substr(at, size)).value();
}

// RFC 4443 section 2.3, over the pseudo-header and the message as it is.
unsigned checksum(std::string_view packet) {
  std::string_view message = packet.substr(kIpv6Header);
  std::uint64_t sum = message.size() + kIcmpV6;
  for (std::size_t at = 8; at < kIpv6Header; at += 2) sum += word_at(packet, at);
  for (std::size_t at = 0; at + 1 < message.size(); at += 2) sum += word_at(message, at);
  if (message.size() % 2 == 1)
    sum += static_cast<unsigned>(byte_at(message, message.size() - 1)) << 8U;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  return static_cast<unsigned>(~sum & 0xffff);
}

Ip solicited_node_group(Ip target) {
  constexpr uint128 kGroup = uint128{0xff02'0000'0000'0000} << 64U | 0x1'ff00'0000U;
  return Ip::v6(kGroup | (target.value() & 0xff'ffffU));
}

// The last target link-layer address among the options; false when they are malformed.
bool read_options(std::string_view options, std::optional<Mac>& mac) {
  while (!options.empty()) {
    if (options.size() < 2) return false;
    std::size_t size = std::size_t{8} * byte_at(options, 1);
    if (size == 0 || size > options.size()) return false;
    if (byte_at(options, 0) == kTargetLinkAddress) mac = mac_at(options, 2);
    options.remove_prefix(size);
  }
  return true;
}

}  // namespace

std::string to_text(const Mac& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

std::string encode_arp_probe(const Mac& own, Ip target) {
  ENSURE(target.is_v4(), "{} is asked for by ARP", target.str());
  // Ethernet, IPv4, lengths 6 and 4, a request.
  std::string packet("\x00\x01\x08\x00\x06\x04\x00\x01", 8);
  packet.append(reinterpret_cast<const char*>(own.data()), own.size());
  packet.append(4 + 6, '\0');
  packet += target.bytes_be();
  return packet;
}

std::string encode_solicitation(Ip target) {
  ENSURE(!target.is_v4(), "{} is asked for by neighbour discovery", target.str());
  std::string packet(kIpv6Header + kMessage, '\0');
  packet[0] = 0x60;
  put_word(packet, 4, kMessage);
  packet[6] = kIcmpV6;
  packet[7] = static_cast<char>(kHopLimit);
  packet.replace(24, 16, solicited_node_group(target).bytes_be());
  packet[kIpv6Header] = static_cast<char>(kSolicitation);
  packet.replace(kIpv6Header + kTarget, 16, target.bytes_be());
  put_word(packet, kIpv6Header + 2, checksum(packet));
  return packet;
}

Mac solicited_node_mac(Ip target) {
  auto low = static_cast<std::uint32_t>(target.value());
  return {0x33,
          0x33,
          0xff,
          static_cast<std::uint8_t>(low >> 16U),
          static_cast<std::uint8_t>(low >> 8U),
          static_cast<std::uint8_t>(low)};
}

std::optional<Claim> read_arp(std::string_view packet) {
  // Ethernet pads what is shorter than 46 bytes.
  if (packet.size() < kArpBytes) return std::nullopt;
  if (packet.substr(0, 6) != std::string_view("\x00\x01\x08\x00\x06\x04", 6)) return std::nullopt;
  unsigned operation = word_at(packet, 6);
  if (operation != 1 && operation != 2) return std::nullopt;
  Ip sender = ip_at(packet, 14, 4);
  Claim claim{sender, mac_at(packet, 8), false};
  if (sender.value() == 0) {
    if (operation != 1) return std::nullopt;
    claim.ip = ip_at(packet, 24, 4);
    claim.asks = true;
  }
  if (claim.ip.value() == 0) return std::nullopt;
  return claim;
}

std::optional<Claim> read_neighbour(std::string_view packet) {
  if (packet.size() < kIpv6Header + kMessage || byte_at(packet, 0) >> 4U != 6) return std::nullopt;
  std::size_t length = word_at(packet, 4);
  if (length < kMessage || packet.size() < kIpv6Header + length) return std::nullopt;
  packet = packet.substr(0, kIpv6Header + length);
  if (byte_at(packet, 6) != kIcmpV6 || byte_at(packet, 7) != kHopLimit) return std::nullopt;
  std::string_view message = packet.substr(kIpv6Header);
  std::uint8_t type = byte_at(message, 0);
  if (type != kSolicitation && type != kAdvertisement) return std::nullopt;
  if (byte_at(message, 1) != 0 || checksum(packet) != 0) return std::nullopt;
  Claim claim{ip_at(message, kTarget, 16), std::nullopt, type == kSolicitation};
  if (byte_at(message, kTarget) == 0xff || claim.ip.value() == 0) return std::nullopt;
  // A solicitation from an address asks for somebody else's, to talk to it.
  if (claim.asks && ip_at(packet, 8, 16).value() != 0) return std::nullopt;
  std::optional<Mac> mac;
  if (!read_options(message.substr(kMessage), mac)) return std::nullopt;
  if (!claim.asks) claim.mac = mac;
  return claim;
}

}  // namespace tombolo::probe
