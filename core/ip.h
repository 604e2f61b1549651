// Addresses, prefixes and ports as types. Numbers are in host order everywhere but in bpf/abi.h and
// in wire codecs, where names end in _be.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tombolo {

enum class Family : std::uint8_t { kV4 = 4, kV6 = 6 };
enum class Protocol : std::uint8_t { kTcp = 6, kUdp = 17, kSctp = 132 };

using Port = std::uint16_t;
__extension__ using uint128 = unsigned __int128;  // NOLINT(readability-identifier-naming)

constexpr int bits_of(Family family) {
  return family == Family::kV4 ? 32 : 128;
}
std::string_view to_string(Family family);      // "IPv4" or "IPv6", as Kubernetes writes them
std::string_view to_string(Protocol protocol);  // "TCP", "UDP", "SCTP"
Result<Protocol> parse_protocol(std::string_view text);  // the three above, exact case

// One IPv4 or IPv6 address. value() is the address as a number, 32 or 128 bits.
class Ip {
 public:
  constexpr Ip() = default;
  constexpr Ip(Family family, uint128 value)
      : high_(static_cast<std::uint64_t>(value >> 64)),
        low_(static_cast<std::uint64_t>(value)),
        family_(family) {}
  static constexpr Ip v4(std::uint32_t value) { return {Family::kV4, value}; }
  static constexpr Ip v6(uint128 value) { return {Family::kV6, value}; }

  // Textual forms of RFC 4291 section 2.2 and dotted quads without leading zeros (inet_pton). No
  // zone, no prefix.
  static Result<Ip> parse(std::string_view text);
  // 4 or 16 bytes in network order.
  static Result<Ip> from_bytes_be(std::string_view bytes);
  // The 16 bytes, network order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), as the BPF maps have
  // them.
  std::array<std::uint8_t, 16> mapped_bytes_be() const;
  static Ip from_mapped_bytes_be(const std::array<std::uint8_t, 16>& bytes);

  constexpr Family family() const { return family_; }
  constexpr bool is_v4() const { return family_ == Family::kV4; }
  constexpr uint128 value() const { return static_cast<uint128>(high_) << 64 | low_; }
  std::string bytes_be() const;  // 4 or 16 bytes, network order
  std::string str() const;       // RFC 5952
  // The address `count` after this one; kOutOfRange past the end of the family's space.
  Result<Ip> plus(uint128 count) const;

  constexpr auto operator<=>(const Ip& other) const {
    if (auto order = family_ <=> other.family_; order != 0) return order;
    if (auto order = high_ <=> other.high_; order != 0) return order;
    return low_ <=> other.low_;
  }
  constexpr bool operator==(const Ip& other) const = default;

 private:
  // Not one uint128: its alignment of 16 is lost when clang 19 copies an argument that is passed in
  // memory into a coroutine's frame, and the next aligned load of it crashes.
  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
  Family family_ = Family::kV4;
};
static_assert(alignof(Ip) == 8);

// A CIDR prefix; the bits behind length() are zero.
class Prefix {
 public:
  constexpr Prefix() = default;
  // ENSUREs that length fits the family; clears the host bits.
  Prefix(Ip base, int length);
  // "10.0.0.0/8", "fd00::/48". Host bits that are set are refused with the prefix that was probably
  // meant.
  static Result<Prefix> parse(std::string_view text);
  static Prefix host(Ip ip) { return {ip, bits_of(ip.family())}; }

  Ip base() const { return base_; }
  int length() const { return length_; }
  Family family() const { return base_.family(); }
  int host_bits() const { return bits_of(family()) - length_; }
  // Number of addresses; a ::/0 is reported as the largest number that fits.
  uint128 size() const;
  Ip first() const { return base_; }
  Ip last() const;
  Ip at(uint128 index) const;  // ENSUREs index < size()
  bool contains(Ip ip) const;
  bool contains(const Prefix& inner) const;
  bool overlaps(const Prefix& other) const { return contains(other) || other.contains(*this); }
  std::string str() const;

  auto operator<=>(const Prefix& other) const = default;

 private:
  Ip base_;
  int length_ = 0;
};

// An address with the length of the network it sits in, as on an interface: "10.0.0.5/24".
struct InterfaceAddress {
  Ip ip;
  int prefix_length = 0;
  static Result<InterfaceAddress> parse(std::string_view text);
  std::string str() const;
  auto operator<=>(const InterfaceAddress&) const = default;
};

// "10.0.0.1:53", "[fd00::1]:53".
struct Endpoint {
  Ip ip;
  Port port = 0;
  static Result<Endpoint> parse(std::string_view text);
  std::string str() const;
  auto operator<=>(const Endpoint&) const = default;
};

}  // namespace tombolo

template <>
struct std::hash<tombolo::Ip> {
  std::size_t operator()(const tombolo::Ip& ip) const noexcept {
    auto low = static_cast<std::uint64_t>(ip.value());
    auto high = static_cast<std::uint64_t>(ip.value() >> 64);
    return std::hash<std::uint64_t>{}(low * 0x9e3779b97f4a7c15ULL ^ high) ^
           static_cast<std::size_t>(ip.family());
  }
};

template <>
struct fmt::formatter<tombolo::Ip> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const tombolo::Ip& ip, Context& context) const {
    return fmt::formatter<std::string>::format(ip.str(), context);
  }
};
template <>
struct fmt::formatter<tombolo::Prefix> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const tombolo::Prefix& prefix, Context& context) const {
    return fmt::formatter<std::string>::format(prefix.str(), context);
  }
};
