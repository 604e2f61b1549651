// Constants of the DNS wire format (RFC 1035 and successors) and big-endian loads and stores. The
// only place of this folder where network order is touched; used from every DNS thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tombolo::dns {

// IANA "Resource Record TYPEs". Any other 16-bit value is a valid unknown type (RFC 3597).
enum class Type : std::uint16_t {
  kA = 1,
  kNs = 2,
  kCname = 5,
  kSoa = 6,
  kPtr = 12,
  kHinfo = 13,
  kMx = 15,
  kTxt = 16,
  kAaaa = 28,
  kSrv = 33,
  kOpt = 41,
  kHttps = 65,
  kTkey = 249,
  kTsig = 250,
  kIxfr = 251,
  kAxfr = 252,
  kMailb = 253,
  kMaila = 254,
  kAny = 255,
};

enum class Rcode : std::uint16_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kNotAuth = 9,
  kBadVers = 16,  // needs OPT: the upper eight bits are there (RFC 6891)
};

std::string to_string(Type type);    // "AAAA", else "TYPE65280" (RFC 3597 section 5)
std::string to_string(Rcode rcode);  // "NXDOMAIN", else "RCODE11"
Result<Type> parse_type(std::string_view text);

inline constexpr std::uint16_t kClassIn = 1;
inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::size_t kMaxNameSize = 255;  // RFC 1035 section 3.1, with the root's byte
inline constexpr std::size_t kMaxLabelSize = 63;
inline constexpr std::size_t kMaxMessageSize = 65535;
inline constexpr std::size_t kPlainUdpSize = 512;
// The size that crosses every path without fragments (DNS flag day 2020, RFC 9715).
inline constexpr std::size_t kUdpSize = 1232;

// Bits of the header's second 16-bit word.
inline constexpr std::uint16_t kFlagQr = 0x8000;
inline constexpr std::uint16_t kOpcodeMask = 0x7800;
inline constexpr std::uint16_t kFlagAa = 0x0400;
inline constexpr std::uint16_t kFlagTc = 0x0200;
inline constexpr std::uint16_t kFlagRd = 0x0100;
inline constexpr std::uint16_t kFlagRa = 0x0080;
inline constexpr std::uint16_t kFlagAd = 0x0020;
inline constexpr std::uint16_t kFlagCd = 0x0010;
inline constexpr std::uint16_t kRcodeMask = 0x000f;

// EDNS options that are read or written here.
inline constexpr std::uint16_t kOptionExtendedError = 15;  // RFC 8914
// "Local/experimental" (RFC 6891): eight bytes that name the forwarding process and one hop count.
inline constexpr std::uint16_t kOptionHopMarker = 65331;
inline constexpr std::uint16_t kErrorNotReady = 14;  // RFC 8914 section 4.15

inline std::uint16_t load16_be(const std::uint8_t* at) {
  return static_cast<std::uint16_t>((at[0] << 8) | at[1]);
}
inline std::uint32_t load32_be(const std::uint8_t* at) {
  return (static_cast<std::uint32_t>(load16_be(at)) << 16) | load16_be(at + 2);
}
inline void store16_be(std::uint8_t* at, std::uint16_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}
inline void store32_be(std::uint8_t* at, std::uint32_t value) {
  store16_be(at, static_cast<std::uint16_t>(value >> 16));
  store16_be(at + 2, static_cast<std::uint16_t>(value));
}
inline void append16_be(std::string& out, std::uint16_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value & 0xff));
}
inline void append32_be(std::string& out, std::uint32_t value) {
  append16_be(out, static_cast<std::uint16_t>(value >> 16));
  append16_be(out, static_cast<std::uint16_t>(value));
}
// ASCII only, as RFC 4343 says.
constexpr std::uint8_t lower(std::uint8_t c) {
  return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c + 32) : c;
}

// A 64-bit hash of a canonical name or an address. Seeded once per process, so that nobody outside
// can prepare collisions.
std::uint64_t hash_bytes(std::string_view bytes);

}  // namespace tombolo::dns
