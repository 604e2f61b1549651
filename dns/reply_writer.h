// Appends header, question, record sets, SOA and OPT to a buffer of a fixed size. Names are written
// as pointers into the question or into earlier rdata. Used by responder.cpp only.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "dns/question.h"
#include "dns/zone.h"

namespace tombolo::dns {

inline constexpr std::uint16_t kQuestionPointer = 0xc000 | kHeaderSize;

class ReplyWriter {
 public:
  // `limit` counts everything; room for OPT is kept when the query had one.
  ReplyWriter(std::span<std::uint8_t> out, std::size_t limit, const ClientQuery& query,
              std::span<const std::uint8_t> packet);

  static constexpr std::size_t kMaxTargets = 64;
  enum class Section : std::uint8_t { kAnswer = 0, kAuthority = 1, kAdditional = 2 };

  std::size_t room() const { return limit_ - at_; }
  std::span<const std::uint8_t> written() const { return out_.first(at_); }
  // All of the following return false, and write nothing, when the record does not fit.
  // `count` records of the set in a circle from number `first`; counts `section`.
  bool put_set(Section section, std::uint16_t owner, const Rrset& set, std::uint32_t ttl_s,
               std::size_t first, std::size_t count);
  // One record with a name as its only rdata (CNAME, NS); `name_at` is where the name begins.
  bool put_name_record(Section section, std::uint16_t owner, Type type, std::uint32_t ttl_s,
                       std::string_view name, std::size_t& name_at);
  bool put_hinfo(std::uint32_t ttl_s);
  // SOA of `zone`; `owner` is a complete name in wire form, or a pointer.
  bool put_soa(Section section, std::string_view owner, const Zone& zone,
               std::uint32_t negative_ttl_s);
  // Where the SRV targets of the answer begin; no more than fit the array.
  std::span<const std::uint16_t> targets() const { return {targets_.data(), target_count_}; }

  // Takes back everything behind the question.
  void clear_records();
  // Header and OPT; returns the size of the message. `extended_error` below zero: none.
  std::size_t finish(std::uint16_t flags, Rcode rcode, int extended_error);

 private:
  void record_head(std::uint16_t owner, Type type, std::uint32_t ttl_s, std::size_t rdata_size);
  void bytes(std::string_view text);
  void count(Section section, std::size_t more);

  std::span<std::uint8_t> out_;
  const ClientQuery& query_;
  std::size_t limit_;
  std::size_t records_at_;
  std::size_t at_;
  std::array<std::uint16_t, 3> counts_{};
  std::array<std::uint16_t, kMaxTargets> targets_;
  std::size_t target_count_ = 0;
};

// The pointer to the last `labels` labels of the question's name.
std::uint16_t pointer_to_suffix(const QueryName& name, int labels);

}  // namespace tombolo::dns
