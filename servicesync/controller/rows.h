// Rows and tables inside the controller: what its stages and allocators pass to each other. Not for
// other folders.
#pragma once

#include "core/tables.h"
#include "servicesync/cilium/cilium.h"
#include "servicesync/mesh/mesh.h"
#include "servicesync/source/source.h"

namespace tombolo::controller {

using mesh::StoreRecord;

// A service (or import) that must have addresses.
struct AddressWant {
  std::string object;            // NS/NAME
  std::vector<Family> families;  // one address each
  std::vector<Ip> fixed;         // asked for by name; the others are chosen
  std::string problem;           // what was asked for cannot be read: no new address is given
  std::int64_t created_unix_s = 0;
  const std::string& key() const { return object; }
  bool operator==(const AddressWant&) const = default;
};

// Addresses from `first` to `last`, all of which may be given.
struct AddressSpan {
  Ip first;
  Ip last;
  bool contains(const Ip& ip) const {
    return ip.family() == first.family() && !(ip < first) && !(last < ip);
  }
};

// What the store holds for it.
struct AddressRecord {
  std::string object;
  std::vector<Ip> ips;
  std::int64_t created_unix_s = 0;  // of the object, or when it was first seen
  std::int64_t mod_revision = 0;    // of the record in the store
  const std::string& key() const { return object; }
  bool operator==(const AddressRecord&) const = default;
};

struct IdentityWant {
  std::string labels;  // as encode_labels writes them
  const std::string& key() const { return labels; }
  bool operator==(const IdentityWant&) const = default;
};

struct IdentityRow {
  std::string labels;
  std::uint32_t number = 0;
  const std::string& key() const { return labels; }
  bool operator==(const IdentityRow&) const = default;
};

// A service that the store asks to import.
struct Import {
  std::string object;
  const std::string& key() const { return object; }
  bool operator==(const Import&) const = default;
};

// How another cluster stood when this controller last knew.
struct RememberedRemote {
  std::string cluster;
  RemoteState state = RemoteState::kConnecting;
  const std::string& key() const { return cluster; }
  bool operator==(const RememberedRemote&) const = default;
};

struct InnerTables {
  explicit InnerTables(RevisionCounter& revisions)
      : source(revisions),
        identity_wants("identity_wants", revisions),
        identities("identities", revisions),
        cluster_ip_wants("cluster_ip_wants", revisions),
        cluster_ips("cluster_ips", revisions),
        clusterset_wants("clusterset_wants", revisions),
        clusterset_ips("clusterset_ips", revisions),
        load_balancer_wants("load_balancer_wants", revisions),
        load_balancer_ips("load_balancer_ips", revisions),
        remote_services("remote_services", revisions),
        imports("imports", revisions),
        remembered_remotes("remembered_remotes", revisions),
        workload_records("workload_records", revisions),
        published("published_services", revisions),
        exports("published_exports", revisions),
        configs("cluster_configs", revisions),
        canaries("canaries", revisions) {}
  source::SourceTables source;
  Table<IdentityWant> identity_wants;
  Table<IdentityRow> identities;
  Table<AddressWant> cluster_ip_wants;
  Table<AddressRecord> cluster_ips;
  Table<AddressWant> clusterset_wants;
  Table<AddressRecord> clusterset_ips;
  Table<AddressWant> load_balancer_wants;
  Table<AddressRecord> load_balancer_ips;
  Table<cilium::ClusterService> remote_services;  // key CLUSTER/NS/NAME
  Table<Import> imports;
  Table<RememberedRemote> remembered_remotes;
  Table<StoreRecord> workload_records;
  Table<StoreRecord> published;
  Table<StoreRecord> exports;
  Table<StoreRecord> configs;
  Table<StoreRecord> canaries;
};

// What holds for a cluster now: its link's word, or until that has one the word of an earlier life.
inline RemoteState remote_state(const ControllerTables& tables, const InnerTables& inner,
                                const std::string& cluster) {
  const RemoteCluster* row = tables.remote_clusters.find(cluster);
  if (row != nullptr && row->state != RemoteState::kConnecting) return row->state;
  const RememberedRemote* known = inner.remembered_remotes.find(cluster);
  return known == nullptr ? RemoteState::kConnecting : known->state;
}

// "NS" of "NS/NAME".
inline std::string_view namespace_of(std::string_view object) {
  return object.substr(0, object.find('/'));
}
inline std::string_view name_of(std::string_view object) {
  return object.substr(object.find('/') + 1);
}

// One derivation: told by its trackers what changed, it brings its output tables up to date.
class Stage {
 public:
  virtual ~Stage() = default;
  // Every input has been listed: before, the stage does nothing, so that a restart does not write
  // half of what is true.
  virtual bool ready() const = 0;
  // Works off at most `limit` changed keys; returns how many it did. 0: nothing is left.
  virtual std::size_t step(std::size_t limit) = 0;
  // Something has changed that step() has not worked off.
  virtual bool pending() const = 0;
  // Marks the outputs synced once the inputs are and nothing is left to do.
  virtual void settle() = 0;
};

}  // namespace tombolo::controller
