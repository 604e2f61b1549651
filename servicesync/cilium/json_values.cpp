// Values that several records have: addresses, masks, maps, times. Pure.
#include <bit>

#include "servicesync/cilium/internal.h"

namespace tombolo::cilium {
namespace {

constexpr std::size_t kMaxRecordBytes = 1'572'864;  // etcd's limit on a request
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (i + j < bytes.size() ? static_cast<std::uint8_t>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j <= bytes.size() ? kAlphabet[group >> (18 - 6 * j) & 63U] : '=';
  }
  return out;
}

}  // namespace

Result<Record> parse_record(std::string_view key, std::string_view value) {
  Record record;
  record.place.name = key;
  auto parsed = parse_json(value, {.bytes = kMaxRecordBytes, .depth = 32});
  if (!parsed) return std::unexpected(std::move(parsed).error().with_context(key));
  record.value = std::move(*parsed);
  TRY_OK(record.root().expect_object());
  return record;
}

Result<void> expect_text(const Cursor& at, std::string_view expected) {
  TRY(text, at.string());
  if (text != expected)
    return at.error(fmt::format("'{}' where '{}' must stand", text.substr(0, 80), expected));
  return {};
}

Result<Ip> ip_at(const Cursor& at) {
  TRY(text, at.string());
  auto ip = Ip::parse(text);
  if (!ip) return at.error(ip.error().what);
  return ip;
}

Result<std::optional<Ip>> optional_ip_at(const Cursor& at) {
  TRY(text, at.string_or(""));
  if (text.empty()) return std::optional<Ip>();
  TRY(ip, ip_at(at));
  return std::optional<Ip>(ip);
}

Result<Port> port_at(const Cursor& at) {
  TRY(number, at.integer(1, 65535));
  return static_cast<Port>(number);
}

Result<Protocol> protocol_at(const Cursor& at) {
  TRY(text, at.string());
  auto protocol = parse_protocol(text);
  if (!protocol)
    return at.error(fmt::format("'{}' is not one of TCP, UDP, SCTP", text.substr(0, 80)));
  return protocol;
}

json::string json_text(std::string_view text) {
  return json::string(text);
}

json::value json_of(const StringMap& map) {
  json::object object;
  for (const auto& [key, value] : map) object.emplace(key, value);
  return object;
}

json::value json_or_null(const StringMap& map) {
  if (map.empty()) return nullptr;
  return json_of(map);
}

std::string mask_base64(Family family, int length) {
  uint128 ones = ~uint128{0};
  int bits = bits_of(family);
  uint128 mask = length == 0 ? 0 : ones << (128 - length) >> (128 - bits);
  return base64(Ip(family, mask).bytes_be());
}

// A mask is one of at most 129: no decoder is needed.
Result<int> length_of_mask(const Cursor& at, Family family) {
  TRY(text, at.string());
  for (int length = 0; length <= bits_of(family); ++length)
    if (mask_base64(family, length) == text) return length;
  return at.error(
      fmt::format("'{}' is not the base64 of an {} mask", text.substr(0, 80), to_string(family)));
}

Result<std::string_view> name_in_key(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix) || key.size() == prefix.size())
    return fail(Code::kInvalidArgument, "{}: is not a key below {}", key, prefix);
  return key.substr(prefix.size());
}

Result<WallTime> decode_time(std::string_view key, std::string_view value) {
  auto time = parse_rfc3339(value);
  if (!time) return std::unexpected(std::move(time).error().with_context(key));
  return time;
}

Result<void> check_record(RecordKind kind, std::string_view key, std::string_view name,
                          std::string_view value, const Origin& origin) {
  switch (kind) {
    case RecordKind::kNodes:
      TRY_OK(decode_node(key, name, value, origin));
      return {};
    case RecordKind::kServices:
      TRY_OK(decode_service(key, name, value, origin));
      return {};
    case RecordKind::kIdentities:
      TRY_OK(decode_identity(key, name, value, origin));
      return {};
    case RecordKind::kIps:
      TRY_OK(decode_ip(key, name, value, origin));
      return {};
    case RecordKind::kServiceExports:
      TRY_OK(decode_service_export(key, name, value, origin));
      return {};
  }
  return fail(Code::kInternal, "{}: unknown kind of record", key);
}

}  // namespace tombolo::cilium
