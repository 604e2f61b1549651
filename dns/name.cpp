// Text and wire forms of names. Pure.
#include "dns/name.h"

namespace tombolo::dns {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The byte that an escape stands for; moves `at` behind it, or fails.
Result<char> unescape(std::string_view text, std::size_t& at) {
  if (at + 1 >= text.size())
    return fail(Code::kInvalidArgument, "name '{}' ends in a lone backslash", text);
  if (!is_digit(text[at + 1])) {
    at += 2;
    return text[at - 1];
  }
  if (at + 3 >= text.size() || !is_digit(text[at + 2]) || !is_digit(text[at + 3]))
    return fail(Code::kInvalidArgument, "name '{}': \\ needs three digits", text);
  int value = (text[at + 1] - '0') * 100 + (text[at + 2] - '0') * 10 + (text[at + 3] - '0');
  if (value > 255) return fail(Code::kInvalidArgument, "name '{}': \\{} is no byte", text, value);
  at += 4;
  return static_cast<char>(value);
}

}  // namespace

Result<Name> Name::parse(std::string_view text) {
  if (text.empty()) return fail(Code::kInvalidArgument, "a name is empty");
  Name name;
  if (text == ".") return name;
  name.wire_.clear();
  std::string label;
  for (std::size_t at = 0; at <= text.size();) {
    bool end = at == text.size();
    if (end || text[at] == '.') {
      if (label.empty()) return fail(Code::kInvalidArgument, "name '{}' has an empty label", text);
      if (label.size() > kMaxLabelSize)
        return fail(Code::kInvalidArgument, "name '{}': a label is longer than 63 bytes", text);
      name.wire_.push_back(static_cast<char>(label.size()));
      name.wire_ += label;
      label.clear();
      ++at;
      if (at >= text.size()) break;
      continue;
    }
    if (text[at] == '\\') {
      TRY(byte, unescape(text, at));
      label.push_back(byte);
    } else {
      label.push_back(text[at++]);
    }
  }
  name.wire_.push_back('\0');
  if (name.wire_.size() > kMaxNameSize)
    return fail(Code::kInvalidArgument, "name '{}' is longer than 255 bytes", text);
  return name;
}

Name Name::from_wire(std::string wire) {
  ENSURE(!wire.empty() && wire.size() <= kMaxNameSize && wire.back() == '\0');
  Name name;
  name.wire_ = std::move(wire);
  return name;
}

Name Name::reverse_of(const Ip& ip) {
  std::string bytes = ip.bytes_be();
  std::string text;
  for (auto at = bytes.rbegin(); at != bytes.rend(); ++at) {
    auto byte = static_cast<std::uint8_t>(*at);
    text += ip.is_v4() ? fmt::format("{}.", byte) : fmt::format("{:x}.{:x}.", byte & 15, byte >> 4);
  }
  auto name = parse(text + (ip.is_v4() ? "in-addr.arpa." : "ip6.arpa."));
  ENSURE(name.has_value());
  return *name;
}

std::string Name::text() const {
  if (is_root()) return ".";
  std::string out;
  for (std::size_t at = 0; wire_[at] != '\0';) {
    auto size = static_cast<std::uint8_t>(wire_[at]);
    for (char c : wire_.substr(at + 1, size)) {
      if (c == '.' || c == '\\')
        out += fmt::format("\\{}", c);
      else if (c > ' ' && c < 127)
        out.push_back(c);
      else
        out += fmt::format("\\{:03d}", static_cast<unsigned>(static_cast<std::uint8_t>(c)));
    }
    out.push_back('.');
    at += size + 1U;
  }
  return out;
}

Name Name::lowered() const {
  Name copy = *this;
  // Length bytes are below 64 and so never change.
  for (char& c : copy.wire_) c = static_cast<char>(lower(static_cast<std::uint8_t>(c)));
  return copy;
}

int Name::label_count() const {
  int count = 0;
  for (std::size_t at = 0; wire_[at] != '\0'; at += static_cast<std::uint8_t>(wire_[at]) + 1U)
    ++count;
  return count;
}

bool Name::same_as(const Name& other) const {
  return wire_.size() == other.wire_.size() && lowered().wire_ == other.lowered().wire_;
}

bool Name::is_under(const Name& ancestor) const {
  if (wire_.size() < ancestor.wire_.size()) return false;
  std::size_t start = wire_.size() - ancestor.wire_.size();
  for (std::size_t at = 0; at <= start; at += static_cast<std::uint8_t>(wire_[at]) + 1U) {
    if (at == start) return from_wire(wire_.substr(at)).same_as(ancestor);
    if (wire_[at] == '\0') return false;
  }
  return false;
}

bool append_label(std::string& out, std::string_view label) {
  if (label.empty() || label.size() > kMaxLabelSize) return false;
  out.push_back(static_cast<char>(label.size()));
  for (char c : label) {
    if (!is_digit(c) && (c < 'a' || c > 'z') && c != '-' && c != '_') return false;
    out.push_back(c);
  }
  return true;
}

bool QueryName::read(std::span<const std::uint8_t> from) {
  std::size_t at = 0;
  label_count = 0;
  while (at < from.size()) {
    std::uint8_t length = from[at];
    if (length > kMaxLabelSize || at + length + 1 > kMaxNameSize) return false;
    if (label_count >= 127 && length != 0) return false;
    label_at[label_count] = static_cast<std::uint8_t>(at);
    bytes[at] = length;
    if (length == 0) {
      size = static_cast<std::uint8_t>(at + 1);
      return true;
    }
    if (at + 1 + length >= from.size()) return false;
    ++label_count;
    for (std::size_t i = 1; i <= length; ++i) bytes[at + i] = lower(from[at + i]);
    at += length + 1U;
  }
  return false;
}

}  // namespace tombolo::dns
