// One order of fields for both forms.
#include "ipamd/allocator/lease_codec.h"

#include <algorithm>
#include <array>
#include <optional>

namespace tombolo {
namespace {

constexpr unsigned char kFormat = 1;
constexpr unsigned char kFormatWithIdentity = 2;
constexpr std::size_t kMostAddresses = 64;
constexpr int kNames = 4;  // network, namespace, node, folder of the network namespace
constexpr int kTexts = 5;  // rest of that path, pod, its uid, host interface, MAC

void write_ip(PackWriter& out, Ip ip) {
  auto mapped = ip.mapped_bytes_be();
  std::string_view bytes(reinterpret_cast<const char*>(mapped.data()), mapped.size());
  constexpr std::size_t kUpper = 8;
  if (ip.is_v4()) {
    out.byte(4);
    return out.raw(bytes.substr(12));
  }
  out.byte(16);
  out.name(bytes.substr(0, kUpper));
  out.raw(bytes.substr(kUpper));
}

std::string pack(const Lease& lease, NameTable* names) {
  PackWriter out(names);
  const Attachment& attachment = lease.attachment;
  ENSURE(lease.pools.size() == attachment.ips.size(), "lease {} names {} pools for {} addresses",
         lease.sequence, lease.pools.size(), attachment.ips.size());
  out.text(attachment.container_id);  // the key comes first
  out.name(attachment.interface_name);
  out.number(lease.sequence);
  out.byte(static_cast<unsigned>(lease.state));
  out.number(static_cast<std::uint64_t>(lease.reserved_unix_ms));
  for (const std::string* name : {&lease.network, &attachment.name_space, &attachment.node})
    out.name(*name);
  std::size_t folder = attachment.netns_path.rfind('/') + 1;  // 0 when there is none
  out.name(std::string_view(attachment.netns_path).substr(0, folder));
  out.text(std::string_view(attachment.netns_path).substr(folder));
  for (const std::string* text :
       {&attachment.pod_name, &attachment.pod_uid, &attachment.host_interface, &attachment.mac})
    out.text(*text);
  out.number(attachment.ips.size());
  for (std::size_t i = 0; i < attachment.ips.size(); ++i) {
    out.name(lease.pools[i]);
    write_ip(out, attachment.ips[i]);
  }
  // In memory always: there is one format only.
  if (names != nullptr || !lease.identity.empty()) out.text(lease.identity);
  return out.take();
}

// The format of bytes that stand alone; nothing when it is unknown.
std::optional<unsigned char> format_of(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  auto format = static_cast<unsigned char>(bytes[0]);
  if (format != kFormat && format != kFormatWithIdentity) return std::nullopt;
  return format;
}

std::optional<Ip> read_ip(PackReader& in) {
  unsigned size = in.byte();
  std::string_view upper = size > 8 ? in.name() : std::string_view();
  std::string_view lower = in.raw(size > 8 ? 8 : size);
  std::array<char, 16> bytes;
  if (!in.ok() || size > bytes.size() || upper.size() + lower.size() != size) return std::nullopt;
  std::ranges::copy(lower, std::ranges::copy(upper, bytes.begin()).out);
  auto ip = Ip::from_bytes_be({bytes.data(), size});
  if (!ip) return std::nullopt;
  return *ip;
}

// What is wrong, or nothing.
std::optional<std::string> read(PackReader& in, Lease& lease, bool with_identity) {
  Attachment& attachment = lease.attachment;
  attachment.container_id = in.text();
  attachment.interface_name = in.name();
  lease.sequence = in.number();
  unsigned state = in.byte();
  lease.state = static_cast<LeaseState>(state);
  lease.reserved_unix_ms = static_cast<std::int64_t>(in.number());
  for (std::string* name : {&lease.network, &attachment.name_space, &attachment.node})
    *name = in.name();
  attachment.netns_path = in.name();
  attachment.netns_path += in.text();
  for (std::string* text :
       {&attachment.pod_name, &attachment.pod_uid, &attachment.host_interface, &attachment.mac})
    *text = in.text();
  std::uint64_t count = in.number();
  if (!in.ok()) return "it is cut short";
  if (state != 1 && state != 2) return fmt::format("it has the unknown state {}", state);
  if (count > kMostAddresses) return fmt::format("it has {} addresses", count);
  for (std::uint64_t i = 0; i < count; ++i) {
    lease.pools.emplace_back(in.name());
    auto ip = read_ip(in);
    if (!ip) return "it has an address that is none";
    attachment.ips.push_back(*ip);
  }
  if (with_identity) lease.identity = in.text();
  if (!in.ok()) return "its identity is cut short";
  return std::nullopt;
}

}  // namespace

std::string pack_lease(const Lease& lease) {
  unsigned char format = lease.identity.empty() ? kFormat : kFormatWithIdentity;
  return static_cast<char>(format) + pack(lease, nullptr);
}

Result<Lease> unpack_lease(std::string_view bytes) {
  auto format = format_of(bytes);
  if (!format) return fail(Code::kDataLoss, "a lease of an unknown format");
  PackReader in(bytes.substr(1), nullptr);
  Lease lease;
  if (auto wrong = read(in, lease, *format == kFormatWithIdentity))
    return fail(Code::kDataLoss, "lease {} of {}: {}", lease.sequence, lease.key(), *wrong);
  if (!in.at_end())
    return fail(Code::kDataLoss, "lease {} of {} goes on after its end", lease.sequence,
                lease.key());
  return lease;
}

Result<void> repack_lease(std::string_view bytes, LeaseState state, NameTable& names,
                          Repacked& result) {
  auto format = format_of(bytes);
  if (!format) return fail(Code::kDataLoss, "a lease of an unknown format");
  PackReader in(bytes.substr(1), nullptr);
  result.bytes.clear();
  PackWriter out(&names, std::move(result.bytes));
  out.raw(in.packed_text());
  out.name(in.name());
  out.number(result.sequence = in.number());
  in.byte();
  out.byte(static_cast<unsigned>(state));
  out.number(in.number());
  for (int i = 0; i < kNames; ++i) out.name(in.name());
  for (int i = 0; i < kTexts; ++i) out.raw(in.packed_text());
  std::uint64_t count = in.number();
  out.number(count);
  bool fits = in.ok() && count <= kMostAddresses && bytes.size() <= 2 * kLeaseBytes;
  result.addresses.resize(fits ? count : 0);
  for (PooledIp& address : result.addresses) {
    address.pool = in.name();
    out.name(address.pool);
    auto ip = read_ip(in);
    if (!ip) return fail(Code::kDataLoss, "lease {} has an address that is none", result.sequence);
    write_ip(out, *ip);
    address.ip = *ip;
  }
  if (*format == kFormatWithIdentity)
    out.raw(in.packed_text());
  else
    out.text("");
  if (!fits || !in.ok() || !in.at_end())
    return fail(Code::kDataLoss, "lease {} is cut short or too long", result.sequence);
  result.bytes = out.take();
  return {};
}

std::string pack_lease(const Lease& lease, NameTable& names) {
  return pack(lease, &names);
}

Lease unpack_lease(std::string_view bytes, const NameTable& names) {
  PackReader in(bytes, &names);
  Lease lease;
  auto wrong = read(in, lease, true);
  ENSURE(!wrong, "a lease in memory is damaged: {}", *wrong);
  return lease;
}

void unpack_key(std::string_view bytes, const NameTable& names, std::string& into) {
  PackReader in(bytes, &names);
  into.clear();
  in.append_text(into);
  into += '/';  // as object_key() has it
  into += in.name();
}

std::string unpack_key(std::string_view bytes, const NameTable& names) {
  std::string key;
  unpack_key(bytes, names, key);
  return key;
}

LeasedAddresses unpack_addresses(std::string_view bytes, const NameTable& names) {
  PackReader in(bytes, &names);
  LeasedAddresses result;
  in.packed_text();
  in.name();
  result.sequence = in.number();
  in.byte();
  in.number();
  for (int i = 0; i < kNames; ++i) in.name();
  for (int i = 0; i < kTexts; ++i) in.packed_text();
  result.addresses.resize(std::min<std::uint64_t>(in.number(), kMostAddresses));
  for (PooledIp& address : result.addresses) {
    address.pool = in.name();
    auto ip = read_ip(in);
    ENSURE(ip, "a lease in memory is damaged");
    address.ip = *ip;
  }
  in.packed_text();
  ENSURE(in.ok() && in.at_end(), "a lease in memory is damaged");
  return result;
}

void set_packed_state(std::span<char> bytes, LeaseState state, const NameTable& names) {
  PackReader in({bytes.data(), bytes.size()}, &names);
  in.packed_text();
  in.name();
  in.number();
  ENSURE(in.ok() && in.left() > 0, "a lease in memory is damaged");
  bytes[bytes.size() - in.left()] = static_cast<char>(state);
}

void release_names(std::string_view bytes, NameTable& names) {
  std::vector<std::uint32_t> seen;
  PackReader in(bytes, &names, &seen);
  Lease lease;
  auto wrong = read(in, lease, true);
  ENSURE(!wrong, "a lease in memory is damaged: {}", *wrong);
  for (std::uint32_t number : seen) names.release(number);
}

}  // namespace tombolo
