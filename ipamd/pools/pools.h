// Pools of addresses as objects that operators write, and which of them a pod's interface gets its
// addresses from. Pure, any thread.
//
//   IPPool, IPReservation documents -> PoolCatalog        (parse_pools)
//   pod, namespace, node, interface -> PoolSelection      (select_pools)
//   PoolSelection of each interface -> wishes of one transaction of the allocator
//
// The fields of an IPPool have the names of Spiderpool's SpiderIPPool (v2beta1), which is read too,
// and Spiderpool's annotations are understood, so that its users can move. Precedence is in
// docs/ipam.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/ip.h"
#include "core/json.h"
#include "core/policy.h"
#include "core/tables.h"
#include "core/yaml.h"
#include "ipamd/allocator/allocator.h"

namespace tombolo {

enum class PoolKind {
  kOverlay,   // cut into blocks, one or more per node
  kUnderlay,  // any address on any node
};
std::string_view to_string(PoolKind kind);  // "overlay", "underlay"

struct PoolRoute {
  Prefix destination;
  Ip gateway;
  bool operator==(const PoolRoute&) const = default;
};

// Whom a pool is for: everything that is said must hold. Names may have wildcards (* ? [a-c]).
struct PoolAffinity {
  LabelSelector pods;
  LabelSelector namespaces;
  LabelSelector nodes;
  std::vector<std::string> namespace_names;
  std::vector<std::string> node_names;
  std::vector<std::string> networks;    // "NAME" or "NAMESPACE/NAME" of the network attachment
  std::vector<std::string> owners;      // "KIND/NAME", of the pod's controller
  std::vector<std::string> interfaces;  // names in the pod
};

// Of an underlay pool that several clusters use: docs/adr/0009.
struct PoolSharing {
  std::string home;                   // the cluster that grants parts of it
  std::vector<std::string> clusters;  // to whom; the home's own document counts. Sorted
  int part_length = 0;                // prefix length of a part
  bool operator==(const PoolSharing&) const = default;
};

struct IpPool {
  std::string name;
  std::string place;  // "FILE:LINE", for errors
  PoolKind kind = PoolKind::kUnderlay;
  Family family = Family::kV4;
  Prefix subnet;
  std::vector<IpRange> ranges;  // inside of the subnet; empty: all of it
  std::vector<IpRange> excluded;
  std::optional<Ip> gateway;
  std::vector<PoolRoute> routes;
  int vlan = 0;          // 0: none
  int block_length = 0;  // of a node's block, overlay only
  bool is_default = false;
  bool disabled = false;
  std::optional<PoolSharing> sharing;
  bool load_balancer = false;  // allowedUses: [LoadBalancer]: for services, never for pods
  // Before use, where the call names the device: does anybody else have the address, and does the
  // gateway answer (ipamd/probe). By default of underlay pools, the second when there is a gateway.
  bool conflict_probe = false;
  bool gateway_probe = false;
  Rest rest;
  PoolAffinity affinity;
};

// What of a pool never changes (subnet, kind, blockLength, sharing.home), as a text for errors:
// "subnet is 10.0.0.0/24, in force is 10.0.0.0/25"; empty: nothing differs.
std::string changed_for_ever(const IpPool& now, const IpPool& in_force);

// Addresses that no pool gives out.
struct IpReservation {
  std::string name;
  std::string place;
  std::vector<IpRange> ranges;
};

// "10.0.0.5", "10.0.0.5-10.0.0.9", "10.0.0.0/28". kInvalidArgument.
Result<IpRange> parse_ip_range(std::string_view text);
// What is in `from` and in none of `without`, ascending and merged.
std::vector<IpRange> subtract(std::vector<IpRange> from, std::vector<IpRange> without);

Result<IpPool> parse_ip_pool(const Cursor& document);
Result<IpReservation> parse_ip_reservation(const Cursor& document);

class PoolCatalog {
 public:
  // kInvalidArgument: two of one name, or two pools that would give out one address; the error
  // names both.
  static Result<PoolCatalog> make(std::vector<IpPool> pools,
                                  std::vector<IpReservation> reservations);
  const IpPool* find(std::string_view name) const;
  const std::vector<IpPool>& pools() const { return pools_; }  // by name
  const std::vector<IpReservation>& reservations() const { return reservations_; }
  // What may be given out: the ranges without excluded and reserved addresses, the gateway, and the
  // network and broadcast address of the subnet.
  std::vector<IpRange> usable(const IpPool& pool) const;

 private:
  std::vector<IpPool> pools_;
  std::vector<IpReservation> reservations_;
};

// An IPPool or IPReservation (or Spiderpool's of the same meaning) as a row, checked. For sources,
// which read documents of every kind.
Result<PoolObject> parse_pool_object(const Cursor& document);
// The catalog that the rows make up; those that leave are disabled. Errors name the places of the
// rows.
Result<PoolCatalog> catalog_of(const std::vector<PoolObject>& objects);
// What catalog_of takes: the rows of both tables.
std::vector<PoolObject> objects_of(const Table<PoolObject>& pools,
                                   const Table<PoolObject>& reservations);

// IPPool and IPReservation (tombolo.io/v1alpha1), SpiderIPPool and SpiderReservedIP
// (spiderpool.spidernet.io/v2beta1); other kinds are refused.
Result<PoolCatalog> parse_pools(const std::vector<YamlDocument>& documents);

// One interface that wants addresses, and what is known about its pod.
struct PoolRequest {
  std::string interface_name = "eth0";
  std::string network;  // of the CNI configuration
  std::string name_space;
  std::string pod_name;
  std::string owner;  // "KIND/NAME" of its controller; empty: none
  StringMap pod_labels;
  StringMap pod_annotations;
  StringMap namespace_labels;
  StringMap namespace_annotations;
  std::string node;
  StringMap node_labels;
  std::vector<std::string> configured_ipv4;  // the CNI configuration's default_ipv4_ippool
  std::vector<std::string> configured_ipv6;
  // That must all be there. Empty: those that the deciding level names.
  std::vector<Family> families;
};

struct PoolSelection {
  std::string source;             // what decided, as it stands in errors
  std::vector<std::string> ipv4;  // pools in the order in which they are asked; empty: no address
  std::vector<std::string> ipv6;
  bool node_blocks = false;    // nobody names a pool: the node's own blocks (kNodePool)
  bool clean_gateway = false;  // no default route by this interface
  // For the allocator; none with node_blocks, where Allocator::wishes(kNodePool, …) knows them.
  std::vector<AddressWish> wishes() const;
};

// The first level that names a pool decides, for all families. kNotFound: a named pool does not
// exist, or a wildcard has no match; kInvalidArgument: an annotation cannot be read;
// kFailedPrecondition: no pool of a wanted family is left, with the reason for each. Errors name
// the annotation and the pool.
Result<PoolSelection> select_pools(const PoolCatalog& catalog, const PoolRequest& request);

// Who keeps an address over restarts, as a claim of it says.
struct FixedIdentity {
  std::string name;           // "StatefulSet/NAMESPACE/NAME/ORDINAL", "Deployment/NAMESPACE/NAME",
                              // "VirtualMachine/NAMESPACE/NAME", "Pod/NAMESPACE/NAME"
  std::size_t room = 1;       // how many addresses of a family it may have
  bool over_scaling = false;  // kept when the controller is scaled down
};
// The identity of the pod `pod_name`, of which `info` tells; nullopt: any address will do. The
// rules are in docs/ipam.md. kInvalidArgument names the annotation.
Result<std::optional<FixedIdentity>> fixed_identity(const PodInfo& info,
                                                    const std::string& pod_name);
// "KIND/NAMESPACE/NAME" of what such an identity would be of: the pod's machine, its controller,
// the pod, or the controller that `info` is of. Empty: none.
std::string workload_of(const PodInfo& info);
// The same of an identity, which may have an ordinal and an interface behind it.
std::string_view workload_of(std::string_view identity);
// Whether a pod of that name, which begins with the controller's and a dash, may be one of its
// pods: a pod makes none, and a StatefulSet only NAME-ORDINAL.
bool may_make(const PodInfo& controller, std::string_view pod_name);

// For whom addresses may still be kept: those whose pods may come again.
class AliveIdentities {
 public:
  explicit AliveIdentities(const std::vector<PodInfo>& infos);
  // How many addresses of a family an identity of a claim (with the interface) may have; 0: none
  // any more, also of one of no known form.
  std::size_t room(std::string_view identity) const;
  // Its workload is there, so that the room is what that says of itself.
  bool knows(std::string_view identity) const { return find(identity).has_value(); }

 private:
  std::optional<std::size_t> find(std::string_view identity) const;
  std::map<std::string, std::size_t, std::less<>> rooms_;
  std::map<std::string, std::size_t, std::less<>> sets_;  // of StatefulSets: ordinals below
};

// The addresses that the pod's annotation ipam.tombolo.io/ip asks for at this interface; empty:
// none. kInvalidArgument names the annotation.
Result<std::vector<Ip>> asked_addresses(const PodInfo& info, const std::string& pod_name,
                                        const std::string& interface_name);

// A pod that asks for an interface.
struct PodQuestion {
  std::string interface_name;
  std::string network;
  std::string name_space;  // empty, with pod_name: the runtime gave none
  std::string pod_name;
  std::string node;
  StringMap node_labels;
  std::vector<std::string> configured_ipv4;
  std::vector<std::string> configured_ipv6;
  std::vector<Family> families;
};
// What one interface gets: the node's blocks (selection.node_blocks), or addresses of pools of one
// kind each.
struct InterfaceChoice {
  std::string interface_name;
  PoolSelection selection;
  std::vector<AddressWish> wishes;  // of selection.wishes(), with exact addresses and one kind
  std::string identity;             // with the interface; empty: none
  std::size_t room = 1;
};
// For the interface that asks, first, and for every other one that the pod's annotation names: they
// are one transaction. `info` is null for a pod without a name. Errors of select_pools,
// fixed_identity and asked_addresses.
Result<std::vector<InterfaceChoice>> choose_for_pod(const PoolCatalog& catalog, const PodInfo* info,
                                                    const PodQuestion& question);

// Shell-like: * ? [abc] [a-c] [!a]. No escape; an unclosed [ stands for itself.
bool matches_wildcard(std::string_view pattern, std::string_view text);

}  // namespace tombolo
