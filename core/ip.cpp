// Parsing and printing of addresses: inet_pton and inet_ntop do the work, so the forms are the C
// library's.
#include "core/ip.h"

#include <arpa/inet.h>

#include <charconv>

namespace tombolo {
namespace {

constexpr uint128 mask_of(int host_bits) {
  return host_bits == 128 ? ~uint128{0} : (uint128{1} << host_bits) - 1;
}

Result<int> parse_length(std::string_view text, Family family) {
  int length = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc{} || end != text.data() + text.size() || length < 0 ||
      length > bits_of(family) || (text.size() > 1 && text[0] == '0'))
    return fail(Code::kInvalidArgument, "prefix length '{}' is not a number from 0 to {}", text,
                bits_of(family));
  return length;
}

}  // namespace

std::string_view to_string(Family family) {
  return family == Family::kV4 ? "IPv4" : "IPv6";
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "TCP";
    case Protocol::kUdp:
      return "UDP";
    case Protocol::kSctp:
      return "SCTP";
  }
  return "?";
}

Result<Protocol> parse_protocol(std::string_view text) {
  if (text == "TCP") return Protocol::kTcp;
  if (text == "UDP") return Protocol::kUdp;
  if (text == "SCTP") return Protocol::kSctp;
  return fail(Code::kInvalidArgument, "protocol '{}' is not TCP, UDP or SCTP", text);
}

Result<Ip> Ip::parse(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  std::array<std::uint8_t, 16> bytes{};
  if (text.size() < buffer.size()) {
    text.copy(buffer.data(), text.size());
    if (text.find('\0') == std::string_view::npos) {
      if (inet_pton(AF_INET, buffer.data(), bytes.data()) == 1)
        return from_bytes_be({reinterpret_cast<const char*>(bytes.data()), 4});
      if (inet_pton(AF_INET6, buffer.data(), bytes.data()) == 1)
        return from_bytes_be({reinterpret_cast<const char*>(bytes.data()), 16});
    }
  }
  return fail(Code::kInvalidArgument, "'{}' is not an IPv4 or IPv6 address", text.substr(0, 64));
}

Result<Ip> Ip::from_bytes_be(std::string_view bytes) {
  if (bytes.size() != 4 && bytes.size() != 16)
    return fail(Code::kInvalidArgument, "an address has 4 or 16 bytes, not {}", bytes.size());
  uint128 value = 0;
  for (char byte : bytes) value = value << 8 | static_cast<std::uint8_t>(byte);
  return Ip(bytes.size() == 4 ? Family::kV4 : Family::kV6, value);
}

std::array<std::uint8_t, 16> Ip::mapped_bytes_be() const {
  uint128 mapped = is_v4() ? (uint128{0xffff} << 32 | value()) : value();
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 16; ++i) bytes[15 - i] = static_cast<std::uint8_t>(mapped >> (8 * i));
  return bytes;
}

Ip Ip::from_mapped_bytes_be(const std::array<std::uint8_t, 16>& bytes) {
  uint128 value = 0;
  for (std::uint8_t byte : bytes) value = value << 8 | byte;
  if (value >> 32 == 0xffff) return v4(static_cast<std::uint32_t>(value));
  return v6(value);
}

std::string Ip::bytes_be() const {
  std::string bytes(is_v4() ? 4 : 16, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[bytes.size() - 1 - i] = static_cast<char>(static_cast<std::uint8_t>(value() >> (8 * i)));
  return bytes;
}

std::string Ip::str() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  std::string bytes = bytes_be();
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes.data(), buffer.data(), buffer.size());
  return buffer.data();
}

Result<Ip> Ip::plus(uint128 count) const {
  if (count > mask_of(bits_of(family_)) - value())
    return fail(Code::kOutOfRange, "address past the end of {}", to_string(family_));
  return Ip(family_, value() + count);
}

Prefix::Prefix(Ip base, int length) : length_(length) {
  ENSURE(length >= 0 && length <= bits_of(base.family()), "length {}", length);
  base_ = Ip(base.family(), base.value() & ~mask_of(bits_of(base.family()) - length));
}

Result<Prefix> Prefix::parse(std::string_view text) {
  TRY(address, InterfaceAddress::parse(text));
  Prefix prefix(address.ip, address.prefix_length);
  if (prefix.base() != address.ip)
    return fail(Code::kInvalidArgument, "'{}' has host bits set; the prefix is {}", text,
                prefix.str());
  return prefix;
}

uint128 Prefix::size() const {
  return host_bits() == 128 ? ~uint128{0} : uint128{1} << host_bits();
}

Ip Prefix::last() const {
  return {family(), base_.value() | mask_of(host_bits())};
}

Ip Prefix::at(uint128 index) const {
  ENSURE(host_bits() == 128 || index < size(), "index past {}", str());
  return {family(), base_.value() + index};
}

bool Prefix::contains(Ip ip) const {
  return ip.family() == family() && (ip.value() & ~mask_of(host_bits())) == base_.value();
}

bool Prefix::contains(const Prefix& inner) const {
  return inner.length_ >= length_ && contains(inner.base_);
}

std::string Prefix::str() const {
  return fmt::format("{}/{}", base_.str(), length_);
}

Result<InterfaceAddress> InterfaceAddress::parse(std::string_view text) {
  auto slash = text.find('/');
  if (slash == std::string_view::npos)
    return fail(Code::kInvalidArgument, "'{}' has no prefix length (like 10.0.0.0/8)",
                text.substr(0, 64));
  TRY(ip, Ip::parse(text.substr(0, slash)));
  TRY(length, parse_length(text.substr(slash + 1), ip.family()));
  return InterfaceAddress{ip, length};
}

std::string InterfaceAddress::str() const {
  return fmt::format("{}/{}", ip.str(), prefix_length);
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return fail(Code::kInvalidArgument, "'{}' is not ADDRESS:PORT", text.substr(0, 80));
  auto host = text.substr(0, colon);
  bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  TRY(ip, Ip::parse(bracketed ? host.substr(1, host.size() - 2) : host));
  if (bracketed == ip.is_v4())
    return fail(Code::kInvalidArgument, "'{}': an IPv6 address stands in brackets, IPv4 does not",
                text.substr(0, 80));
  auto digits = text.substr(colon + 1);
  Port port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size())
    return fail(Code::kInvalidArgument, "'{}' is not a port from 0 to 65535", digits.substr(0, 16));
  return Endpoint{ip, port};
}

std::string Endpoint::str() const {
  return ip.is_v4() ? fmt::format("{}:{}", ip.str(), port) : fmt::format("[{}]:{}", ip.str(), port);
}

}  // namespace tombolo
