// The merge: one service as every cluster sees it -> what this cluster uses (a Frontend), what it
// publishes, and why. A pure function; the same input in any order gives the same output.
//
// Sharing and affinity are Cilium ClusterMesh's, in both spellings of the annotations
// (service.cilium.io/… and the older io.cilium/…). Where clusters disagree, the local annotation
// decides what this cluster does, and the oldest export (then the lowest cluster id) decides what
// the fleet shares, as KEP-1645 rules. Every disagreement is in the explanation. See
// docs/services.md.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/tables.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo::merge {

enum class Affinity { kNone, kLocal, kRemote };
std::string_view to_string(Affinity affinity);  // "none", "local", "remote"

// What the annotations of one service say. Lookup: the new key, else the old one; "true" in any
// case is true, every other text is false.
struct Intent {
  bool global = false;
  bool shared = false;  // true unless said otherwise when global; false when not
  Affinity affinity = Affinity::kNone;
  Selection selection = Selection::kRandom;
  std::vector<std::string> warnings;
  bool operator==(const Intent&) const = default;
};
Intent read_intent(const StringMap& annotations);
// clustermesh.cilium.io/global on the namespace; `otherwise` when it is absent.
bool namespace_is_global(const StringMap& annotations, bool otherwise);
// tombolo.io/import on the namespace: "*" or names separated by commas.
std::set<std::string> imports_of(const StringMap& namespace_annotations);
// tombolo.io/on-loss of a service: "keep" leaves the backends of a lost cluster in use, "drop" (and
// every other text) does not; nothing when it is not said.
std::optional<bool> keeps_lost(const StringMap& annotations);
// service.cilium.io/weight of an EndpointSlice: 0 quarantines its backends. A text that is no
// number from 0 to 65535 is warned about and counts as 100.
std::uint16_t read_weight(const EndpointSlice& slice, std::vector<std::string>& warnings);

// Which clusters' backends an affinity lets through. Healthy are those that are active or
// terminating; quarantined ones are neither.
struct HealthCounts {
  std::size_t local_active = 0;
  std::size_t local_healthy = 0;
  std::size_t remote_healthy = 0;
};
struct Use {
  bool local = true;
  bool remote = true;
  bool operator==(const Use&) const = default;
};
Use select_by_affinity(Affinity affinity, HealthCounts counts);

// The part of the fleet's clusterset range that a cluster allocates from: the range is cut into
// 2^cluster_bits equal slices, the slice's number is the cluster's id. Nothing when that leaves no
// address.
std::optional<Prefix> clusterset_slice(const Prefix& range, std::uint32_t cluster_id,
                                       int cluster_bits);

// ---- input

struct Remote {
  const cilium::ClusterService* service = nullptr;
  std::string excluded;  // why none of its backends may be used now; empty: they may
};

struct Input {
  std::string cluster;  // this one
  std::uint32_t cluster_id = 0;
  int cluster_bits = 8;
  bool namespaces_global = true;  // what a namespace without the annotation is
  std::string name_space;
  std::string name;
  const Namespace* name_space_row = nullptr;
  const Service* service = nullptr;  // of this cluster
  std::vector<const EndpointSlice*> slices;
  std::vector<Remote> remotes;
  std::string imported_by;         // what asks for an import: "namespace annotation", "command"
  std::vector<Ip> import_ips;      // allocated for the import
  std::vector<Ip> clusterset_ips;  // this cluster's candidates
  std::vector<Prefix> clusterset_ranges;
};

// ---- explanation

struct Candidate {
  Backend backend;
  bool used = false;
  std::string reason;  // why it is in or out
};

struct Decision {
  std::string property;  // "affinity", "ports", "type", …
  std::string value;     // what holds here
  std::string winner;    // the cluster that said so
  std::string rule;      // "the local annotation decides here", "the oldest export decides", …
  std::vector<std::pair<std::string, std::string>> said;  // cluster -> its value
};

struct AddressOrigin {
  Ip ip;
  std::string kind;  // "cluster", "clusterset" or "load balancer"
  std::string origin;
};

struct Explanation {
  std::string key;
  bool local = false;
  bool imported = false;
  bool exported = false;  // by this cluster
  bool namespace_global = true;
  Intent intent;
  std::vector<std::string> exporters;  // oldest first
  std::vector<Candidate> candidates;
  std::vector<Decision> decisions;  // only where clusters differ
  std::vector<AddressOrigin> addresses;
  std::vector<std::string> warnings;
};

// ---- output

// What the allocators are to provide.
struct Wants {
  std::vector<Family> import_families;      // cluster addresses for an import
  std::vector<Family> clusterset_families;  // this cluster's candidates
  bool operator==(const Wants&) const = default;
};

struct Output {
  std::optional<Frontend> frontend;
  std::optional<cilium::ClusterService> published;
  std::optional<cilium::ServiceExport> service_export;
  Wants wants;
  Explanation explanation;
};

Output merge(const Input& input);

}  // namespace tombolo::merge
