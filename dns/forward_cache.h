// Answers of upstream servers, kept for their TTL (positive) or their SOA's (negative, RFC 2308);
// a failure is kept for a second (RFC 9520). Bounded: the answer that was not used for longest
// makes room. One thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/clock.h"
#include "dns/message.h"

namespace tombolo::dns {

// An answer, and how old it is.
struct CachedAnswer {
  std::shared_ptr<const Message> message;
  std::uint32_t age_s = 0;
};

class ForwardCache {
 public:
  explicit ForwardCache(std::size_t max_entries) : max_entries_(max_entries) {}

  // Keys are partitions of their own: name, type, and the bits that change an answer.
  const Message* find(const std::string& key, MonotonicTime now, CachedAnswer& found);
  // Keeps the message as long as it may be kept; a TTL of 0 or a very large message is not kept.
  void put(const std::string& key, std::shared_ptr<const Message> message, MonotonicTime now);
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Message> message;
    MonotonicTime stored;
    MonotonicTime expires;
  };
  std::size_t max_entries_;
  std::list<Entry> entries_;  // the last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

// Seconds that a message may be kept: the smallest TTL of its answers, the SOA's for a negative
// one, 1 for a failure; at most an hour.
std::uint32_t keep_s(const Message& message);

}  // namespace tombolo::dns
