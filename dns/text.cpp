// See text.h. rdata comes from parse_message, which has checked its shape.
#include "dns/text.h"

#include "core/ip.h"

namespace tombolo::dns {
namespace {

std::string unknown_text(const std::string& rdata) {
  std::string out = fmt::format("\\# {}", rdata.size());
  if (!rdata.empty()) out.push_back(' ');
  for (char c : rdata) out += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
  return out;
}

std::string strings_text(std::string_view left) {
  std::string out;
  while (!left.empty()) {
    std::size_t size = static_cast<std::uint8_t>(left[0]);
    if (!out.empty()) out.push_back(' ');
    out.push_back('"');
    for (char c : left.substr(1, size)) {
      if (c == '"' || c == '\\')
        out += fmt::format("\\{}", c);
      else if (c >= ' ' && c < 127)
        out.push_back(c);
      else
        out += fmt::format("\\{:03d}", static_cast<unsigned>(static_cast<std::uint8_t>(c)));
    }
    out.push_back('"');
    left.remove_prefix(std::min(size + 1, left.size()));
  }
  return out;
}

// Numbers of `width` bytes each, blank before every one.
std::string numbers_text(std::string_view bytes, std::size_t width) {
  std::string out;
  for (; bytes.size() >= width; bytes.remove_prefix(width)) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(bytes.data());
    out += fmt::format("{} ", width == 2 ? load16_be(at) : load32_be(at));
  }
  return out;
}

std::string names_text(const NameLayout& layout, std::string_view left) {
  std::string out = numbers_text(left.substr(0, layout.before), 2);
  left.remove_prefix(layout.before);
  for (int i = 0; i < layout.names; ++i) {
    std::size_t size = 0;
    while (left[size] != '\0') size += static_cast<std::uint8_t>(left[size]) + 1U;
    out += Name::from_wire(std::string(left.substr(0, size + 1))).text() + " ";
    left.remove_prefix(size + 1);
  }
  out += numbers_text(left, 4);
  out.pop_back();
  return out;
}

}  // namespace

std::string rdata_text(Type type, const std::string& rdata) {
  if (type == Type::kA || type == Type::kAaaa) {
    auto ip = Ip::from_bytes_be(rdata);
    return ip ? ip->str() : unknown_text(rdata);
  }
  if (type == Type::kTxt || type == Type::kHinfo) return strings_text(rdata);
  const NameLayout* layout = name_layout(type);
  return layout == nullptr ? unknown_text(rdata) : names_text(*layout, rdata);
}

std::string record_text(const Record& record) {
  std::string klass =
      record.klass == kClassIn ? std::string("IN") : fmt::format("CLASS{}", record.klass);
  return fmt::format("{} {} {} {} {}", record.name.text(), record.ttl_s, klass,
                     to_string(record.type), rdata_text(record.type, record.rdata));
}

}  // namespace tombolo::dns
