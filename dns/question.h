// A client's packet, checked and taken apart without allocation: the first step of every answer.
// Runs on every DNS thread.
#pragma once

#include <cstdint>
#include <span>

#include "dns/name.h"
#include "dns/wire.h"

namespace tombolo::dns {

struct ClientQuery {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;
  QueryName name;
  std::size_t question_size = 0;  // bytes behind the header, 0 when no question could be read
  Type type = Type::kA;
  std::uint16_t klass = kClassIn;
  bool edns = false;
  std::uint8_t edns_version = 0;
  bool dnssec_ok = false;
  std::uint16_t udp_size = kPlainUdpSize;  // what the client takes, at least 512
  std::uint64_t hop_process = 0;           // of our own marker on forwarded queries, 0 without one
  std::uint8_t hops = 0;
};

// What to do with the packet.
enum class QueryVerdict {
  kDrop,     // shorter than a header, or a response: answering one could loop
  kFormErr,  // RFC 9619 (not one question), a malformed name or record, two OPT, bytes at the end
  kNotImp,   // an opcode other than QUERY; UPDATE and NOTIFY end here and go nowhere
  kNotAuth,  // signed (TSIG, RFC 8945): no key is known here
  kAnswer,
};

// Fills `query` as far as the packet could be read.
QueryVerdict read_query(std::span<const std::uint8_t> packet, ClientQuery& query);

}  // namespace tombolo::dns
