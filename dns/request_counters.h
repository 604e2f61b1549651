// What one DNS thread has answered. Counting touches only the thread's own memory; flush() carries
// the sums to the process's metrics a few times a second.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/clock.h"
#include "core/metrics.h"
#include "dns/responder.h"

namespace tombolo::dns {

class RequestCounters {
 public:
  // `protocol` is "udp" or "tcp".
  explicit RequestCounters(std::string protocol);

  // One reply, and how long the client's packet waited for it.
  void count(ZoneLabel zone, Type type, Rcode rcode, bool truncated, Duration took);
  // A packet that got no reply because it was none to answer.
  void count_malformed() { ++malformed_; }
  // A reply that could not be sent or was given up at a limit.
  void count_dropped() { ++dropped_; }
  bool dirty() const { return !touched_.empty() || malformed_ > 0 || dropped_ > 0; }
  void flush();

 private:
  static constexpr std::size_t kZones = 4;
  static constexpr std::size_t kTypes = 12;
  static constexpr std::size_t kRcodes = 7;
  static constexpr std::size_t kCells = kZones * kTypes * kRcodes;

  const metrics::Counter& cell_counter(std::size_t cell);

  std::string protocol_;
  std::array<std::uint32_t, kCells> cells_{};
  std::vector<std::uint16_t> touched_;
  std::array<std::optional<metrics::Counter>, kCells> counters_;
  std::array<std::uint64_t, 13> times_{};  // by bucket of the histogram
  std::uint64_t truncated_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint64_t dropped_ = 0;
  metrics::Counter truncated_total_;
  metrics::Counter malformed_total_;
  metrics::Counter dropped_total_;
  metrics::Histogram seconds_;
};

}  // namespace tombolo::dns
