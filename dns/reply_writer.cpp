// See reply_writer.h.
#include "dns/reply_writer.h"

#include <algorithm>

namespace tombolo::dns {
namespace {

constexpr std::size_t kRecordHead = 12;  // pointer, type, class, TTL, rdata size
constexpr std::size_t kOptSize = 11;
constexpr std::size_t kExtendedErrorSize = 6;

std::size_t fixed_rdata_size(Type type) {
  return type == Type::kA ? 4 : type == Type::kAaaa ? 16 : 0;
}

const std::uint8_t* raw(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

}  // namespace

ReplyWriter::ReplyWriter(std::span<std::uint8_t> out, std::size_t limit, const ClientQuery& query,
                         std::span<const std::uint8_t> packet)
    : out_(out),
      query_(query),
      limit_(std::min(out.size(), limit) - (query.edns ? kOptSize + kExtendedErrorSize : 0)),
      records_at_(kHeaderSize + query.question_size),
      at_(records_at_) {
  if (query.question_size > 0)
    std::memcpy(&out_[kHeaderSize], &packet[kHeaderSize], query.question_size);
}

void ReplyWriter::bytes(std::string_view text) {
  std::memcpy(&out_[at_], text.data(), text.size());
  at_ += text.size();
}

void ReplyWriter::count(Section section, std::size_t more) {
  auto& counter = counts_[static_cast<std::size_t>(section)];
  counter = static_cast<std::uint16_t>(counter + more);
}

void ReplyWriter::record_head(std::uint16_t owner, Type type, std::uint32_t ttl_s,
                              std::size_t rdata_size) {
  std::uint8_t* to = &out_[at_];
  store16_be(to, owner);
  store16_be(to + 2, static_cast<std::uint16_t>(type));
  store16_be(to + 4, kClassIn);
  store32_be(to + 6, ttl_s);
  store16_be(to + 10, static_cast<std::uint16_t>(rdata_size));
  at_ += kRecordHead;
}

bool ReplyWriter::put_set(Section section, std::uint16_t owner, const Rrset& set,
                          std::uint32_t ttl_s, std::size_t first, std::size_t wanted) {
  if (std::size_t size = fixed_rdata_size(set.type); size != 0) {
    if (wanted * (kRecordHead + size) > room()) return false;
    for (std::size_t i = 0, from = first; i < wanted; ++i, ++from) {
      if (from >= set.count) from = 0;
      record_head(owner, set.type, ttl_s, size);
      bytes(std::string_view(set.rdata).substr(from * size, size));
    }
    count(section, wanted);
    return true;
  }
  const std::size_t prefixes = 2U * set.count;
  if (wanted == set.count && set.count * kRecordHead + set.rdata.size() - prefixes > room())
    return false;
  // Find the record to begin with, then go around.
  std::string_view left = set.rdata;
  for (std::size_t i = 0; i < first; ++i) left.remove_prefix(2U + load16_be(raw(left)));
  for (std::size_t i = 0; i < wanted; ++i) {
    if (left.empty()) left = set.rdata;
    std::size_t size = load16_be(raw(left));
    if (kRecordHead + size > room()) return false;
    record_head(owner, set.type, ttl_s, size);
    if (set.type == Type::kSrv && section == Section::kAnswer && target_count_ < targets_.size())
      targets_[target_count_++] = static_cast<std::uint16_t>(at_ + 6);
    bytes(left.substr(2, size));
    count(section, 1);
    left.remove_prefix(2 + size);
  }
  return true;
}

bool ReplyWriter::put_name_record(Section section, std::uint16_t owner, Type type,
                                  std::uint32_t ttl_s, std::string_view name,
                                  std::size_t& name_at) {
  if (kRecordHead + name.size() > room()) return false;
  record_head(owner, type, ttl_s, name.size());
  name_at = at_;
  bytes(name);
  count(section, 1);
  return true;
}

bool ReplyWriter::put_hinfo(std::uint32_t ttl_s) {
  constexpr std::string_view kObsolete{"\7RFC8482\0", 9};
  if (kRecordHead + kObsolete.size() > room()) return false;
  record_head(kQuestionPointer, Type::kHinfo, ttl_s, kObsolete.size());
  bytes(kObsolete);
  count(Section::kAnswer, 1);
  return true;
}

bool ReplyWriter::put_soa(Section section, std::string_view owner, const Zone& zone,
                          std::uint32_t negative_ttl_s) {
  constexpr std::string_view kPrimary{"\2ns\3dns", 7};
  constexpr std::string_view kMailbox{"\12hostmaster", 11};
  const std::size_t names = kPrimary.size() + zone.name.size() + kMailbox.size() + 2;
  if (owner.size() + 10 + names + 20 > room()) return false;
  bytes(owner);
  at_ -= 2;  // record_head writes an owner pointer; the owner is there already
  std::uint16_t kept = load16_be(&out_[at_]);
  record_head(kept, Type::kSoa, negative_ttl_s, names + 20);
  bytes(kPrimary);
  auto zone_at = static_cast<std::uint16_t>(0xc000U | at_);
  bytes(zone.name);
  bytes(kMailbox);
  store16_be(&out_[at_], zone_at);
  at_ += 2;
  // Refresh, retry, expire: for secondaries, which cannot transfer from here.
  for (std::uint32_t value : {zone.serial, 7200U, 1800U, 86400U, negative_ttl_s}) {
    store32_be(&out_[at_], value);
    at_ += 4;
  }
  count(section, 1);
  return true;
}

void ReplyWriter::clear_records() {
  at_ = records_at_;
  counts_ = {};
  target_count_ = 0;
}

std::size_t ReplyWriter::finish(std::uint16_t flags, Rcode rcode, int extended_error) {
  std::uint8_t* head = out_.data();
  const auto code = static_cast<std::uint16_t>(rcode);
  store16_be(head, query_.id);
  store16_be(head + 2, static_cast<std::uint16_t>(flags | (code & kRcodeMask)));
  store16_be(head + 4, query_.question_size > 0 ? 1 : 0);
  store16_be(head + 6, counts_[0]);
  store16_be(head + 8, counts_[1]);
  store16_be(head + 10, static_cast<std::uint16_t>(counts_[2] + (query_.edns ? 1 : 0)));
  if (!query_.edns) return at_;
  std::uint8_t* opt = &out_[at_];
  opt[0] = 0;
  store16_be(opt + 1, static_cast<std::uint16_t>(Type::kOpt));
  store16_be(opt + 3, kUdpSize);
  opt[5] = static_cast<std::uint8_t>(code >> 4);
  opt[6] = 0;  // the EDNS version that is spoken here
  store16_be(opt + 7, query_.dnssec_ok ? 0x8000 : 0);
  store16_be(opt + 9, extended_error < 0 ? 0 : kExtendedErrorSize);
  at_ += kOptSize;
  if (extended_error >= 0) {
    store16_be(&out_[at_], kOptionExtendedError);
    store16_be(&out_[at_ + 2], 2);
    store16_be(&out_[at_ + 4], static_cast<std::uint16_t>(extended_error));
    at_ += kExtendedErrorSize;
  }
  return at_;
}

std::uint16_t pointer_to_suffix(const QueryName& name, int labels) {
  auto index = static_cast<std::size_t>(name.label_count - labels);
  return static_cast<std::uint16_t>(0xc000U | (kHeaderSize + name.label_at[index]));
}

}  // namespace tombolo::dns
