// See forward_cache.h.
#include "dns/forward_cache.h"

#include <algorithm>

namespace tombolo::dns {
namespace {

constexpr std::uint32_t kMaxKeepS = 3600;
constexpr std::uint32_t kMaxNegativeKeepS = 300;
constexpr std::uint32_t kFailureKeepS = 1;
constexpr std::size_t kMaxRdataBytes = 16384;

std::uint32_t negative_keep_s(const Message& message) {
  for (const Record& record : message.authorities) {
    if (record.type != Type::kSoa || record.rdata.size() < 4) continue;
    const auto* minimum =
        reinterpret_cast<const std::uint8_t*>(record.rdata.data() + record.rdata.size() - 4);
    return std::min({record.ttl_s, load32_be(minimum), kMaxNegativeKeepS});
  }
  return 0;  // without an SOA it is not cached (RFC 2308 section 5)
}

}  // namespace

std::uint32_t keep_s(const Message& message) {
  if (message.rcode != Rcode::kNoError && message.rcode != Rcode::kNxDomain) return kFailureKeepS;
  auto has_data = [&](const Record& record) {
    return message.questions.empty() || record.type == message.questions[0].type ||
           message.questions[0].type == Type::kAny;
  };
  bool negative =
      message.rcode == Rcode::kNxDomain || std::ranges::none_of(message.answers, has_data);
  std::uint32_t keep = negative ? negative_keep_s(message) : kMaxKeepS;
  for (const Record& record : message.answers) keep = std::min(keep, record.ttl_s);
  return keep;
}

const Message* ForwardCache::find(const std::string& key, MonotonicTime now, CachedAnswer& found) {
  auto at = by_key_.find(key);
  if (at == by_key_.end()) return nullptr;
  if (at->second->expires <= now) {
    entries_.erase(at->second);
    by_key_.erase(at);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, at->second);
  found.message = at->second->message;
  auto age = std::chrono::duration_cast<std::chrono::seconds>(now - at->second->stored);
  found.age_s = static_cast<std::uint32_t>(age.count());
  return found.message.get();
}

void ForwardCache::put(const std::string& key, std::shared_ptr<const Message> message,
                       MonotonicTime now) {
  std::uint32_t keep = keep_s(*message);
  std::size_t bytes = 0;
  for (const auto* section : {&message->answers, &message->authorities})
    for (const Record& record : *section) bytes += record.rdata.size() + record.name.wire().size();
  if (keep == 0 || bytes > kMaxRdataBytes || max_entries_ == 0) return;
  if (auto at = by_key_.find(key); at != by_key_.end()) {
    entries_.erase(at->second);
    by_key_.erase(at);
  }
  if (entries_.size() >= max_entries_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({key, std::move(message), now, now + std::chrono::seconds(keep)});
  by_key_[key] = entries_.begin();
}

}  // namespace tombolo::dns
