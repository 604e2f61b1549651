// The snapshot that answers are made from, and the builder that makes the next one from changed
// rows. The builder belongs to the control thread; a ZoneSet is immutable and shared by every DNS
// thread. Changing one service costs that service's records plus about two microseconds of shared
// structure (sharded_map.h), independent of how many services there are.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/ip.h"
#include "core/tables.h"
#include "dns/name.h"
#include "dns/records.h"
#include "dns/sharded_map.h"

namespace tombolo::dns {

struct ZoneSettings {
  std::string cluster_zone = "cluster.local";        // empty: not served here
  std::string clusterset_zone = "clusterset.local";  // empty: not served here
  std::string cluster;                               // this cluster's name
  std::uint32_t ttl_s = 5;                           // of addresses, SRV, PTR, CNAME
  std::uint32_t negative_ttl_s = 2;                  // SOA TTL and MINIMUM (RFC 2308)
  std::vector<Ip> server_ips;                        // what ns.dns.ZONE answers
  // Addresses whose reverse names are answered here also when nothing has them (NXDOMAIN); reverse
  // names of other addresses without a record go upstream.
  std::vector<Prefix> reverse_prefixes;
  // Headless names of cluster_zone show endpoints of other clusters too. Off: cluster.local means
  // what it means without a mesh (KEP-1645), and web-0 stays one pod.
  bool remote_endpoints = false;
};

struct NamespaceEntry {
  std::string key;  // one wire label
};

struct ReverseEntry {
  std::string key;  // 4 or 16 address bytes
  Node node;        // one PTR set
};

struct Zone {
  ZoneKind kind = ZoneKind::kCluster;
  std::string name;  // wire form, lower case
  int label_count = 0;
  std::uint32_t serial = 0;
  Node version;      // TXT of dns-version
  Node name_server;  // A and AAAA of ns.dns
  ShardedMap<ServiceRecords> services;
  ShardedMap<NamespaceEntry> namespaces;
};

// Where a question leads. `node` is set for names that exist.
struct Found {
  enum class Kind { kOutside, kNotThere, kExists, kZoneApex } kind = Kind::kOutside;
  const Zone* zone = nullptr;  // the zone that answers; for reverse names the first one
  const Node* node = nullptr;
  bool reverse = false;
  bool subset_allowed = false;  // an answer may show a part of the addresses (clusterset, headless)
  int zone_labels = 0;          // how many of the question's last labels are the zone's name
};

struct ZoneSet {
  bool synced = false;
  std::uint64_t generation = 0;
  std::uint32_t ttl_s = 5;
  std::uint32_t negative_ttl_s = 2;
  std::vector<Zone> zones;
  ShardedMap<ReverseEntry> reverse;
  std::vector<Prefix> reverse_prefixes;

  Found find(const QueryName& name) const;
};

class ZoneBuilder {
 public:
  // kInvalidArgument: a zone's name is malformed, both are the same, or one is below the other.
  static Result<ZoneBuilder> make(ZoneSettings settings);

  // The row now stands under `key`; nullptr when it is gone. Returns what of the row cannot be a
  // name, one line each.
  std::vector<std::string> apply(const std::string& key, const Frontend* row);
  // A namespace exists besides those that services are in.
  void apply_namespace(const std::string& name, bool exists);
  void mark_synced() { synced_ = true; }
  bool synced() const { return synced_; }
  // The zones as they are now. The serial of a zone that changed grows: the larger of one more and
  // `unix_s`, so that it also grows over restarts (RFC 1982).
  std::shared_ptr<const ZoneSet> snapshot(std::uint32_t unix_s);

 private:
  struct ZoneDraft {
    Zone zone;
    RecordOptions options;
    std::map<std::string, std::size_t> namespace_uses;
    std::optional<ShardedMap<ServiceRecords>::Editor> services;
    std::optional<ShardedMap<NamespaceEntry>::Editor> namespaces;
    bool changed = true;
    bool touched() const { return changed || services || namespaces; }
  };
  // What a row left in the structures, to take it back.
  struct Contribution {
    std::vector<std::string> service_keys;      // by zone; empty: no name there
    std::vector<std::string> namespace_labels;  // by zone; empty: not part of it
    std::vector<ReverseRecord> reverse;
  };

  explicit ZoneBuilder(ZoneSettings settings) : settings_(std::move(settings)) {}
  void use_namespace(ZoneDraft& draft, const std::string& label, bool more);
  void change_reverse(const std::vector<ReverseRecord>& before,
                      const std::vector<ReverseRecord>& after);

  ZoneSettings settings_;
  std::vector<ZoneDraft> drafts_;
  std::unordered_map<std::string, Contribution> contributions_;
  std::set<std::string> named_namespaces_;
  std::unordered_map<Ip, std::map<std::string, std::size_t>> reverse_uses_;
  ShardedMap<ReverseEntry> reverse_;
  std::optional<ShardedMap<ReverseEntry>::Editor> reverse_editor_;
  std::uint64_t generation_ = 0;
  bool synced_ = false;
};

}  // namespace tombolo::dns
