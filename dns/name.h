// Domain names: Name owns one in uncompressed wire form; QueryName is the bounded, lower-cased form
// in which a question is looked up without any allocation. Pure.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/ip.h"
#include "dns/wire.h"

namespace tombolo::dns {

class Name {
 public:
  Name() : wire_(1, '\0') {}  // the root

  // Presentation form of RFC 1035 section 5.1: labels with \. and \DDD escapes; a missing final dot
  // is added. kInvalidArgument names the fault: empty label, label over 63, name over 255 bytes.
  static Result<Name> parse(std::string_view text);
  // `wire` is a complete uncompressed name that the caller has checked (ENSUREs its end).
  static Name from_wire(std::string wire);
  // d.c.b.a.in-addr.arpa. or nibbles.ip6.arpa. (RFC 1035 3.5, RFC 3596 2.5).
  static Name reverse_of(const Ip& ip);

  const std::string& wire() const { return wire_; }
  std::string text() const;  // with the final dot; bytes that are not printable as \DDD
  Name lowered() const;
  int label_count() const;
  bool is_root() const { return wire_.size() == 1; }
  // Case-insensitive (RFC 4343).
  bool same_as(const Name& other) const;
  // True for the name itself too.
  bool is_under(const Name& ancestor) const;
  auto operator<=>(const Name&) const = default;  // exact, case and all

 private:
  std::string wire_;
};

// One label as wire bytes appended to `out`; false when it is empty, longer than 63 or has a byte
// other than a-z, 0-9, '-' and '_' (what Kubernetes allows in the names used).
bool append_label(std::string& out, std::string_view label);

// The name of a question: at most 127 labels and 255 bytes, lower case.
struct QueryName {
  std::array<std::uint8_t, kMaxNameSize> bytes;
  std::array<std::uint8_t, 128> label_at;  // offset of label i; [label_count] is the root's byte
  std::uint8_t size = 0;                   // with the root's byte
  std::uint8_t label_count = 0;

  // The wire bytes of labels [first, last).
  std::string_view labels(int first, int last) const {
    return {reinterpret_cast<const char*>(bytes.data()) + label_at[static_cast<std::size_t>(first)],
            static_cast<std::size_t>(label_at[static_cast<std::size_t>(last)] -
                                     label_at[static_cast<std::size_t>(first)])};
  }
  std::string_view wire() const { return {reinterpret_cast<const char*>(bytes.data()), size}; }
  // Reads an uncompressed name; false when it is malformed or has a compression pointer (a question
  // has nothing before it to point at).
  bool read(std::span<const std::uint8_t> from);
};

}  // namespace tombolo::dns
