// Texts and numbers in few bytes. Numbers are LEB128 varints. A text is a list of segments, each
// with a varint head of length and kind, ended by a zero: runs of hexadecimal digits, UUIDs and MAC
// addresses are written as the bytes that they stand for. Names are texts that many records share:
// with a NameTable they are numbers of it. Pure, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"

namespace tombolo {

// Texts and their numbers; a text stays while somebody uses it.
class NameTable {
 public:
  std::uint32_t use(std::string_view text);
  void release(std::uint32_t number);
  const std::string& text(std::uint32_t number) const { return entries_.at(number).text; }
  std::size_t size() const { return numbers_.size(); }

 private:
  struct Entry {
    std::string text;
    std::uint32_t users = 0;
  };
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> unused_;
  std::array<std::uint32_t, 64> recent_{};
  // Looked up by string_view, without a copy.
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;  // NOLINT(readability-identifier-naming)
  };
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> numbers_;
};

inline constexpr std::size_t kLongestText = 16'384;

// Without a table the bytes stand alone.
class PackWriter {
 public:
  // Appends to `into`, whose memory is used again.
  explicit PackWriter(NameTable* names, std::string into = {})
      : names_(names), out_(std::move(into)) {
    out_.reserve(256);
  }
  void byte(unsigned value) { out_ += static_cast<char>(value); }
  void number(std::uint64_t value);
  void raw(std::string_view bytes) { out_ += bytes; }
  void name(std::string_view text);
  void text(std::string_view text);
  std::string take() { return std::move(out_); }

 private:
  NameTable* names_;
  std::string out_;
};

// After a mistake everything that is read is empty or zero, and ok() is false.
class PackReader {
 public:
  // `seen`, when given, gets the number of each name that is read.
  PackReader(std::string_view in, const NameTable* names,
             std::vector<std::uint32_t>* seen = nullptr)
      : in_(in), names_(names), seen_(seen) {}
  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }
  std::size_t left() const { return in_.size(); }  // bytes
  unsigned byte();
  std::uint64_t number();
  std::string_view raw(std::uint64_t size);
  std::string_view name();
  std::string text();
  void append_text(std::string& to);
  // A text as it is written.
  std::string_view packed_text();

 private:
  void shaped(std::string& out, std::string_view shape, std::uint64_t length);

  std::string_view in_;
  const NameTable* names_;
  std::vector<std::uint32_t>* seen_;
  bool ok_ = true;
};

}  // namespace tombolo
