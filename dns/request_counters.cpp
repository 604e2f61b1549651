// See request_counters.h.
#include "dns/request_counters.h"

#include <string_view>

namespace tombolo::dns {
namespace {

constexpr std::array<Type, 11> kCountedTypes{Type::kA,   Type::kAaaa,  Type::kSrv, Type::kPtr,
                                             Type::kTxt, Type::kSoa,   Type::kNs,  Type::kCname,
                                             Type::kMx,  Type::kHttps, Type::kAny};
constexpr std::array<std::string_view, 4> kZoneNames{"cluster", "clusterset", "reverse", "other"};
// Upper bounds in seconds that a time is reported as; the histogram's own buckets.
constexpr std::array<double, 13> kBounds{1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2,
                                         3e-2, 1e-1, 3e-1, 1,    3,    10};

std::size_t type_index(Type type) {
  for (std::size_t i = 0; i < kCountedTypes.size(); ++i)
    if (kCountedTypes[i] == type) return i;
  return kCountedTypes.size();
}

metrics::Counter protocol_counter(const std::string& name, const std::string& help,
                                  const std::string& protocol) {
  return metrics::counter(name, help, {{"protocol", protocol}});
}

}  // namespace

RequestCounters::RequestCounters(std::string protocol)
    : protocol_(std::move(protocol)),
      truncated_total_(protocol_counter("tombolo_dns_truncated_total",
                                        "DNS answers sent empty with TC, for lack of room",
                                        protocol_)),
      malformed_total_(protocol_counter("tombolo_dns_malformed_total",
                                        "DNS packets dropped or refused as malformed", protocol_)),
      dropped_total_(protocol_counter("tombolo_dns_dropped_total",
                                      "DNS replies not sent: a full socket, or a limit",
                                      protocol_)),
      seconds_(metrics::latency_histogram("tombolo_dns_request_duration_seconds",
                                          "From a DNS packet's arrival in the process to its reply",
                                          {{"protocol", protocol_}})) {
  touched_.reserve(kCells);
}

void RequestCounters::count(ZoneLabel zone, Type type, Rcode rcode, bool truncated, Duration took) {
  std::size_t code = std::min<std::size_t>(static_cast<std::size_t>(rcode), kRcodes - 1);
  std::size_t cell = (static_cast<std::size_t>(zone) * kTypes + type_index(type)) * kRcodes + code;
  if (cells_[cell]++ == 0) touched_.push_back(static_cast<std::uint16_t>(cell));
  truncated_ += truncated ? 1U : 0U;
  double seconds = std::chrono::duration<double>(took).count();
  std::size_t bucket = 0;
  while (bucket + 1 < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
  ++times_[bucket];
}

const metrics::Counter& RequestCounters::cell_counter(std::size_t cell) {
  if (!counters_[cell]) {
    std::size_t rcode = cell % kRcodes;
    std::size_t type = cell / kRcodes % kTypes;
    metrics::Labels labels{
        {"zone", std::string(kZoneNames[cell / kRcodes / kTypes])},
        {"type", type < kCountedTypes.size() ? to_string(kCountedTypes[type]) : "other"},
        {"rcode", rcode < kRcodes - 1 ? to_string(static_cast<Rcode>(rcode)) : "other"},
        {"protocol", protocol_}};
    counters_[cell] =
        metrics::counter("tombolo_dns_requests_total", "DNS questions answered", labels);
  }
  return *counters_[cell];
}

void RequestCounters::flush() {
  for (std::uint16_t cell : touched_) cell_counter(cell).increment(std::exchange(cells_[cell], 0U));
  touched_.clear();
  auto carry = [](std::uint64_t& from, const metrics::Counter& to) {
    if (from > 0) to.increment(static_cast<double>(std::exchange(from, 0U)));
  };
  carry(truncated_, truncated_total_);
  carry(malformed_, malformed_total_);
  carry(dropped_, dropped_total_);
  for (std::size_t i = 0; i < times_.size(); ++i)
    if (times_[i] > 0) seconds_.observe_many(kBounds[i], std::exchange(times_[i], 0U));
}

}  // namespace tombolo::dns
