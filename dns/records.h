// From one Frontend row to the records of one service in one zone: Kubernetes DNS specification
// 1.1.0 (cluster.local) and the multicluster DNS specification 1.0.0 of KEP-1645
// (clusterset.local). Pure; runs on the control thread, the result is immutable.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/ip.h"
#include "core/tables.h"
#include "dns/name.h"
#include "dns/wire.h"

namespace tombolo::dns {

// All records of one name and type. rdata is ready for the wire, one after the other: 4 bytes each
// for A, 16 for AAAA, else each with its length (16 bits, big endian) in front.
struct Rrset {
  Type type = Type::kA;
  std::uint16_t count = 0;
  // Of A and AAAA: the first `paired` entries of both belong to the same endpoints, in this order.
  // An answer that must be a subset takes only these, so that both families show the same one.
  std::uint16_t paired = 0;
  std::string rdata;
};

// One name. Without sets it is an empty non-terminal: it exists and has no data (RFC 8020).
class Node {
 public:
  // Addresses of both families, and SRV or another one: there are never more.
  static constexpr std::size_t kMaxSets = 3;

  const Rrset* find(Type type) const;
  std::span<const Rrset> sets() const { return {sets_.data(), count_}; }
  void add(Rrset set);

 private:
  // In place, so that an answer needs no further step through memory.
  std::array<Rrset, kMaxSets> sets_;
  std::size_t count_ = 0;
};

// The labels SERVICE, NAMESPACE in wire form, in place for the same reason.
class ServiceKey {
 public:
  ServiceKey() = default;
  explicit ServiceKey(std::string_view text) : size_(static_cast<std::uint8_t>(text.size())) {
    ENSURE(text.size() <= text_.size());
    std::copy(text.begin(), text.end(), text_.begin());
  }
  operator std::string_view() const { return {text_.data(), size_}; }

 private:
  std::uint8_t size_ = 0;
  std::array<char, 2 * (kMaxLabelSize + 1)> text_;
};

// A service's name and everything below it.
struct ServiceRecords {
  ServiceKey key;
  bool headless = false;
  Node apex;
  // Wire labels in front of the service's name -> node, sorted; empty non-terminals are there too.
  std::vector<std::pair<std::string, Node>> below;
  const Node* find_below(std::string_view labels) const;
};

enum class ZoneKind { kCluster, kClusterset };

struct RecordOptions {
  ZoneKind kind = ZoneKind::kCluster;
  std::string suffix;             // wire form of "svc.ZONE."
  std::string cluster;            // this cluster's name
  bool remote_endpoints = false;  // headless names of cluster.local show other clusters' too
};

struct ReverseRecord {
  Ip ip;
  std::string target;  // wire form
  auto operator<=>(const ReverseRecord&) const = default;
};

struct ServiceBuild {
  // Empty when the service has no name in the zone: not part of it, or headless without an endpoint
  // that takes traffic (specification 1.1.0 section 2.4.1: NXDOMAIN).
  std::shared_ptr<const ServiceRecords> records;
  std::vector<ReverseRecord> reverse;  // only of cluster.local
  std::vector<std::string> problems;   // parts of the row that cannot be names, and why
};
ServiceBuild build_service(const Frontend& row, const RecordOptions& options);

// "10-0-0-1", "fd00--1": the id of an endpoint that has no hostname. A '-' at an end gets a 0.
std::string dashed(const Ip& ip);

// Wire form of SERVICE, NAMESPACE; empty when one is no DNS label.
std::string service_key(std::string_view name_space, std::string_view name);

// Adds one record with its length in front.
void append_rdata(Rrset& set, std::string_view rdata);

// The most address records that one answer over TCP could carry (65,535 bytes, 16 each).
inline constexpr std::size_t kMaxRecordsOfName = 4094;

}  // namespace tombolo::dns
