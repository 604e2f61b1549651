// Names of types and response codes, and the hash of the snapshot's tables. Pure.
#include "dns/wire.h"

#include <array>
#include <charconv>
#include <utility>

#include "core/clock.h"

namespace tombolo::dns {
namespace {

constexpr std::array<std::pair<Type, std::string_view>, 19> kTypes{{
    {Type::kA, "A"},       {Type::kNs, "NS"},       {Type::kCname, "CNAME"},
    {Type::kSoa, "SOA"},   {Type::kPtr, "PTR"},     {Type::kHinfo, "HINFO"},
    {Type::kMx, "MX"},     {Type::kTxt, "TXT"},     {Type::kAaaa, "AAAA"},
    {Type::kSrv, "SRV"},   {Type::kOpt, "OPT"},     {Type::kHttps, "HTTPS"},
    {Type::kTkey, "TKEY"}, {Type::kTsig, "TSIG"},   {Type::kIxfr, "IXFR"},
    {Type::kAxfr, "AXFR"}, {Type::kMailb, "MAILB"}, {Type::kMaila, "MAILA"},
    {Type::kAny, "ANY"},
}};

constexpr std::array<std::pair<Rcode, std::string_view>, 8> kRcodes{{
    {Rcode::kNoError, "NOERROR"},
    {Rcode::kFormErr, "FORMERR"},
    {Rcode::kServFail, "SERVFAIL"},
    {Rcode::kNxDomain, "NXDOMAIN"},
    {Rcode::kNotImp, "NOTIMP"},
    {Rcode::kRefused, "REFUSED"},
    {Rcode::kNotAuth, "NOTAUTH"},
    {Rcode::kBadVers, "BADVERS"},
}};

// Not a source of behaviour: answers do not depend on it, only the order of slots does.
std::uint64_t hash_seed() {
  static const std::uint64_t seed = [] { return make_system_rng()->next(); }();
  return seed;
}

__extension__ using Wide = unsigned __int128;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

std::string to_string(Type type) {
  for (const auto& [value, name] : kTypes)
    if (value == type) return std::string(name);
  return fmt::format("TYPE{}", static_cast<unsigned>(type));
}

std::string to_string(Rcode rcode) {
  for (const auto& [value, name] : kRcodes)
    if (value == rcode) return std::string(name);
  return fmt::format("RCODE{}", static_cast<unsigned>(rcode));
}

Result<Type> parse_type(std::string_view text) {
  std::string upper(text);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  for (const auto& [value, name] : kTypes)
    if (name == upper) return value;
  if (upper.starts_with("TYPE")) {
    std::uint16_t number = 0;
    const char* end = upper.data() + upper.size();
    auto [stop, error] = std::from_chars(upper.data() + 4, end, number);
    if (error == std::errc{} && stop == end) return static_cast<Type>(number);
  }
  return fail(Code::kInvalidArgument,
              "unknown record type '{}'; say A, AAAA, SRV, PTR, TXT, … or TYPE<number>", text);
}

std::uint64_t hash_bytes(std::string_view bytes) {
  constexpr std::uint64_t kOdd1 = 0x9e3779b97f4a7c15ULL;
  constexpr std::uint64_t kOdd2 = 0xe7037ed1a0b428dbULL;
  std::uint64_t state = hash_seed() ^ (bytes.size() * kOdd1);
  while (bytes.size() >= 8) {
    std::uint64_t chunk = 0;
    std::memcpy(&chunk, bytes.data(), 8);
    state = mix(state ^ chunk, kOdd1);
    bytes.remove_prefix(8);
  }
  std::uint64_t tail = 0;
  std::memcpy(&tail, bytes.data(), bytes.size());
  return mix(state ^ tail ^ kOdd2, kOdd2 | 1);
}

}  // namespace tombolo::dns
