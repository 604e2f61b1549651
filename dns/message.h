// Whole DNS messages as values: parse_message checks every byte of a packet from outside,
// encode_message writes one with name compression. Used where speed is not the point (forwarding,
// the query command, tests); the answers of our own zones are written by responder.h. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "dns/name.h"
#include "dns/wire.h"

namespace tombolo::dns {

struct Question {
  Name name;
  Type type = Type::kA;
  std::uint16_t klass = kClassIn;
  bool operator==(const Question&) const = default;
};

struct Record {
  Name name;
  Type type = Type::kA;
  std::uint16_t klass = kClassIn;
  std::uint32_t ttl_s = 0;
  std::string rdata;  // wire form; names in it are never compressed
  bool operator==(const Record&) const = default;
};

struct EdnsOption {
  std::uint16_t code = 0;
  std::string data;
  bool operator==(const EdnsOption&) const = default;
};

// The OPT pseudo record (RFC 6891). The upper bits of the rcode are in Message::rcode.
struct Edns {
  std::uint16_t udp_size = kUdpSize;
  std::uint8_t version = 0;
  bool dnssec_ok = false;
  std::vector<EdnsOption> options;
  bool operator==(const Edns&) const = default;
};

struct Message {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;  // the header's second word without its four rcode bits
  Rcode rcode = Rcode::kNoError;
  std::vector<Question> questions;
  std::vector<Record> answers;
  std::vector<Record> authorities;
  std::vector<Record> additionals;  // without OPT
  std::optional<Edns> edns;
  bool operator==(const Message&) const = default;
};

// kInvalidArgument names the section and what is wrong: a name that loops or points forward, more
// than 127 labels or 255 bytes, rdata of a wrong shape, two OPT records, bytes after the end.
Result<Message> parse_message(std::span<const std::uint8_t> packet);

// At most `limit` bytes (512 to 65535). A message that does not fit is sent with its question and
// OPT only, and TC set (RFC 2181 section 9, the empty form).
std::string encode_message(const Message& message, std::size_t limit);

// A query for one question with a fresh id.
Message make_query(std::uint16_t id, Name name, Type type);

// How rdata is laid out when names are in it: fixed bytes, names, fixed bytes. Empty when the type
// has none or is unknown.
struct NameLayout {
  Type type;
  std::uint8_t before;
  std::uint8_t names;
  std::uint8_t after;
  bool compressible;  // RFC 3597 section 4: only the types of RFC 1035
};
const NameLayout* name_layout(Type type);

}  // namespace tombolo::dns
