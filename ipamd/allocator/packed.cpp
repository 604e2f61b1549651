// Segments of texts, and the table of names.
#include "ipamd/allocator/packed.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tombolo {
namespace {

enum Kind : unsigned { kMac = 0, kLiteral = 1, kHex = 2, kUuid = 3 };
constexpr std::size_t kUuidLength = 36;
constexpr std::size_t kMacLength = 17;
constexpr std::size_t kLeastHex = 6;  // shorter runs are no gain

constexpr std::array<signed char, 256> kDigitValues = [] {
  std::array<signed char, 256> values{};
  values.fill(-1);
  for (int i = 0; i < 10; ++i)
    values[static_cast<std::size_t>('0' + i)] = static_cast<signed char>(i);
  for (int i = 10; i < 16; ++i)
    values[static_cast<std::size_t>('a' + i - 10)] = static_cast<signed char>(i);
  return values;
}();
// Of a digit in lower case; -1 of anything else.
int digit(char c) {
  return kDigitValues[static_cast<unsigned char>(c)];
}

// A digit where the shape has an x, else the shape's own character.
bool has_shape(std::string_view text, std::string_view shape) {
  if (text.size() < shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (shape[i] == 'x' ? digit(text[i]) < 0 : text[i] != shape[i]) return false;
  return true;
}
constexpr std::string_view kUuidShape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
constexpr std::string_view kMacShape = "xx:xx:xx:xx:xx:xx";

void segment(PackWriter& out, Kind kind, std::size_t length) {
  out.number(length << 2 | kind);
}

// What begins with a run of so many digits.
std::pair<Kind, std::size_t> segment_at(std::string_view text, std::size_t run) {
  if (run == 8 && has_shape(text, kUuidShape)) return {kUuid, kUuidLength};
  if (run == 2 && has_shape(text, kMacShape)) return {kMac, kMacLength};
  run -= run % 2;
  return {run >= kLeastHex ? kHex : kLiteral, run};
}

void digits(PackWriter& out, std::string_view text) {
  std::array<char, 64> bytes;
  std::size_t size = 0;
  int high = -1;
  for (char c : text) {
    int value = digit(c);
    if (value < 0) continue;  // a separator
    if (high >= 0) bytes[size++] = static_cast<char>(high << 4 | value);
    high = high >= 0 ? -1 : value;
    if (size < bytes.size()) continue;
    out.raw({bytes.data(), size});
    size = 0;
  }
  out.raw({bytes.data(), size});
}

}  // namespace

std::uint32_t NameTable::use(std::string_view text) {
  // Neighbours mostly use the same names: the last one of this length and end is tried first.
  std::size_t guess =
      (text.size() * 31 + (text.empty() ? 0U : static_cast<unsigned char>(text.back()))) %
      recent_.size();
  std::uint32_t recent = recent_[guess];
  if (recent < entries_.size() && entries_[recent].users > 0 && entries_[recent].text == text) {
    ++entries_[recent].users;
    return recent;
  }
  if (auto known = numbers_.find(text); known != numbers_.end()) {
    ++entries_[known->second].users;
    return recent_[guess] = known->second;
  }
  if (unused_.empty()) {
    unused_.push_back(static_cast<std::uint32_t>(entries_.size()));
    entries_.emplace_back();
  }
  std::uint32_t number = unused_.back();
  unused_.pop_back();
  entries_[number] = {std::string(text), 1};
  numbers_.emplace(text, number);
  return recent_[guess] = number;
}

void NameTable::release(std::uint32_t number) {
  Entry& entry = entries_.at(number);
  ENSURE(entry.users > 0, "the name {} has no users", number);
  if (--entry.users > 0) return;
  numbers_.erase(entry.text);
  entry.text.clear();
  unused_.push_back(number);
}

void PackWriter::number(std::uint64_t value) {
  for (; value >= 128; value >>= 7) byte(static_cast<unsigned>(value & 127) | 128);
  byte(static_cast<unsigned>(value));
}

void PackWriter::name(std::string_view text) {
  if (names_ != nullptr) return number(names_->use(text));
  number(text.size());
  raw(text);
}

void PackWriter::text(std::string_view text) {
  std::size_t literal = 0;  // what lies between it and `at` is not yet written
  std::size_t at = 0;
  auto flush = [&] {
    if (at == literal) return;
    segment(*this, kLiteral, at - literal);
    raw(text.substr(literal, at - literal));
  };
  while (at < text.size()) {
    std::size_t run = 0;
    while (at + run < text.size() && digit(text[at + run]) >= 0) ++run;
    auto [kind, length] = segment_at(text.substr(at), run);
    if (kind == kLiteral) {
      at += std::max<std::size_t>(run, 1);
      continue;
    }
    flush();
    segment(*this, kind, kind == kHex ? length : 1);
    digits(*this, text.substr(at, length));
    at += length;
    literal = at;
  }
  flush();
  number(0);
}

unsigned PackReader::byte() {
  if (in_.empty()) {
    ok_ = false;
    return 0;
  }
  auto value = static_cast<unsigned char>(in_.front());
  in_.remove_prefix(1);
  return value;
}

std::uint64_t PackReader::number() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    unsigned next = byte();
    value |= std::uint64_t{next & 127} << shift;
    if (next < 128) return value;
  }
  ok_ = false;
  return 0;
}

std::string_view PackReader::raw(std::uint64_t size) {
  if (size > in_.size()) {
    ok_ = false;
    in_ = {};
    return {};
  }
  std::string_view bytes = in_.substr(0, size);
  in_.remove_prefix(size);
  return bytes;
}

std::string_view PackReader::name() {
  std::uint64_t value = number();
  if (names_ == nullptr) return raw(value);
  if (seen_ != nullptr) seen_->push_back(static_cast<std::uint32_t>(value));
  return names_->text(static_cast<std::uint32_t>(value));
}

std::string PackReader::text() {
  std::string result;
  append_text(result);
  return result;
}

void PackReader::append_text(std::string& to) {
  std::size_t before = to.size();
  while (std::uint64_t head = number()) {
    std::uint64_t length = head >> 2;
    switch (static_cast<Kind>(head & 3)) {
      case kLiteral:
        to += raw(length);
        break;
      case kHex:
        shaped(to, {}, length);
        break;
      case kUuid:
        shaped(to, kUuidShape, kUuidLength);
        break;
      case kMac:
        shaped(to, kMacShape, kMacLength);
        break;
    }
    if (!ok_ || to.size() - before > kLongestText) {
      ok_ = false;
      to.resize(before);
      return;
    }
  }
}

std::string_view PackReader::packed_text() {
  std::string_view from = in_;
  while (std::uint64_t head = number()) {
    constexpr std::uint64_t kUuidBytes = 16;
    constexpr std::uint64_t kMacBytes = 6;
    std::uint64_t length = head >> 2;
    switch (static_cast<Kind>(head & 3)) {
      case kLiteral:
        raw(length);
        break;
      case kHex:
        raw(length / 2 + length % 2);
        break;
      case kUuid:
        raw(kUuidBytes);
        break;
      case kMac:
        raw(kMacBytes);
        break;
    }
  }
  return ok_ ? from.substr(0, from.size() - in_.size()) : std::string_view();
}

// Appends `length` characters: digits, and separators where the shape has them.
void PackReader::shaped(std::string& out, std::string_view shape, std::uint64_t length) {
  if (length > kLongestText) {
    ok_ = false;
    return;
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::size_t at = out.size();
  out.resize(at + length);
  bool low = false;
  unsigned value = 0;
  for (std::size_t i = 0; i < length; ++i, ++at) {
    if (!shape.empty() && shape[i] != 'x') {
      out[at] = shape[i];
      continue;
    }
    if (!low) value = byte();
    out[at] = kDigits[low ? value & 15 : value >> 4];
    low = !low;
  }
}

}  // namespace tombolo
