// The strict reader of client packets. See question.h.
#include "dns/question.h"

#include <algorithm>

namespace tombolo::dns {
namespace {

// A query carries OPT and perhaps a signature; more than this is no resolver's.
constexpr std::uint16_t kMaxAdditionals = 8;

bool read_options(std::span<const std::uint8_t> options, ClientQuery& query) {
  while (!options.empty()) {
    if (options.size() < 4) return false;
    std::size_t size = load16_be(&options[2]);
    if (options.size() < 4 + size) return false;
    if (load16_be(options.data()) == kOptionHopMarker && size == 9) {
      query.hop_process =
          (static_cast<std::uint64_t>(load32_be(&options[4])) << 32) | load32_be(&options[8]);
      query.hops = options[12];
    }
    options = options.subspan(4 + size);
  }
  return true;
}

// Moves `at` behind a name. The names of additional records are not used, so they are only
// measured.
bool skip_name(std::span<const std::uint8_t> packet, std::size_t& at) {
  for (int labels = 0; labels < 128 && at < packet.size(); ++labels) {
    std::uint8_t length = packet[at];
    if (length >= 0xc0) {
      at += 2;
      return true;
    }
    if (length > kMaxLabelSize) return false;
    at += length + 1U;
    if (length == 0) return true;
  }
  return false;
}

QueryVerdict read_additional(std::span<const std::uint8_t> packet, std::size_t& at,
                             ClientQuery& query) {
  bool is_root = packet.size() > at && packet[at] == 0;
  if (!skip_name(packet, at) || at + 10 > packet.size()) return QueryVerdict::kFormErr;
  auto type = static_cast<Type>(load16_be(&packet[at]));
  std::size_t size = load16_be(&packet[at + 8]);
  if (at + 10 + size > packet.size()) return QueryVerdict::kFormErr;
  auto rdata = packet.subspan(at + 10, size);
  const std::uint8_t* fixed = &packet[at];
  at += 10 + size;
  if (type == Type::kTsig) return QueryVerdict::kNotAuth;
  if (type != Type::kOpt) return QueryVerdict::kAnswer;
  if (!is_root || query.edns || !read_options(rdata, query)) return QueryVerdict::kFormErr;
  query.edns = true;
  query.udp_size = std::max<std::uint16_t>(load16_be(fixed + 2), kPlainUdpSize);
  query.edns_version = fixed[5];
  query.dnssec_ok = (fixed[6] & 0x80) != 0;
  return QueryVerdict::kAnswer;
}

}  // namespace

QueryVerdict read_query(std::span<const std::uint8_t> packet, ClientQuery& query) {
  query.question_size = 0;
  query.edns = query.dnssec_ok = false;
  query.edns_version = query.hops = 0;
  query.hop_process = 0;
  query.udp_size = kPlainUdpSize;
  query.type = static_cast<Type>(0);
  if (packet.size() < kHeaderSize) return QueryVerdict::kDrop;
  query.id = load16_be(packet.data());
  query.flags = load16_be(&packet[2]);
  if ((query.flags & kFlagQr) != 0) return QueryVerdict::kDrop;
  if ((query.flags & kOpcodeMask) != 0) return QueryVerdict::kNotImp;
  if (load16_be(&packet[4]) != 1) return QueryVerdict::kFormErr;
  if (!query.name.read(packet.subspan(kHeaderSize))) return QueryVerdict::kFormErr;
  std::size_t at = kHeaderSize + query.name.size;
  if (at + 4 > packet.size()) return QueryVerdict::kFormErr;
  query.type = static_cast<Type>(load16_be(&packet[at]));
  query.klass = load16_be(&packet[at + 2]);
  at += 4;
  query.question_size = at - kHeaderSize;
  // IXFR has the client's SOA in the authority section (RFC 1995); it is refused whatever it is.
  if (query.type == Type::kIxfr) return QueryVerdict::kAnswer;
  std::uint16_t additionals = load16_be(&packet[10]);
  if (load16_be(&packet[6]) != 0 || load16_be(&packet[8]) != 0 || additionals > kMaxAdditionals)
    return QueryVerdict::kFormErr;
  for (std::uint16_t i = 0; i < additionals; ++i)
    if (auto verdict = read_additional(packet, at, query); verdict != QueryVerdict::kAnswer)
      return verdict;
  return at == packet.size() ? QueryVerdict::kAnswer : QueryVerdict::kFormErr;
}

}  // namespace tombolo::dns
