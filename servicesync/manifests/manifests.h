// Ordinary Kubernetes manifests as rows. First stage of the flow when there is no Kubernetes API: a
// folder of files -> objects -> (derive) tables. The decoders are pure and follow the validation of
// Kubernetes' API server where a wrong value would do harm; every complaint is "FILE:LINE: path:
// what". Fields that Tombolo does not use are ignored.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/names.h"
#include "core/tables.h"

namespace tombolo::manifests {

// A Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController or VirtualMachine, as far
// as it describes pods that have no manifest of their own: those whose name begins with "NAME-".
struct PodTemplate {
  std::string kind;
  std::string name;
  Workload pod;                     // its namespace, labels, ports, …; no name, no addresses
  std::uint32_t replicas = 1;       // wanted; a DaemonSet has no number and says 1
  std::uint32_t first_ordinal = 0;  // of a StatefulSet (spec.ordinals.start)
  bool hostname_is_name = false;    // StatefulSet: each pod's hostname is its name
  std::string key() const;          // "NAMESPACE/KIND/NAME"
  bool operator==(const PodTemplate&) const = default;
};

// Whether `pod_name` may have been made from the template.
bool names_pod(const PodTemplate& pods, std::string_view pod_name);

Result<Namespace> decode_namespace(Cursor root);
// `ready` is false when a condition says so, else true: the caller knows whether it is attached.
// `ips` come from the status; none when the pod is finished.
Result<Workload> decode_pod(Cursor root);
Result<PodTemplate> decode_pod_template(Cursor root);
// A VirtualMachine of kubevirt.io/v1, as the maker of the pods that run it: "virt-launcher-NAME-…".
Result<PodTemplate> decode_virtual_machine(Cursor root);
// `cluster_ips` and `families` only as far as the manifest gives them.
Result<Service> decode_service(Cursor root);
// Only addressType IPv4 and IPv6.
Result<EndpointSlice> decode_endpoint_slice(Cursor root);

// What one file holds.
struct Objects {
  std::vector<Namespace> namespaces;
  std::vector<Workload> pods;
  std::vector<PodTemplate> templates;
  std::vector<Service> services;
  std::vector<EndpointSlice> endpoint_slices;
  std::vector<Policy> policies;
  std::vector<PoolObject> pool_objects;
  std::size_t ignored = 0;           // objects of other kinds
  std::map<std::string, int> lines;  // "Service shop/web" -> line of the object, for messages
};

// Kinds whose meaning lives in a sibling folder; the role that composes both hands the decoders in.
// Without one, objects of the kind are ignored.
struct ForeignDecoders {
  std::function<Result<Policy>(Cursor)> network_policy;  // networking.k8s.io/v1, NetworkPolicy
  // tombolo.io/v1alpha1, IPPool and IPReservation; spiderpool.spidernet.io/v2beta1, SpiderIPPool
  // and SpiderReservedIP
  std::function<Result<PoolObject>(Cursor)> pool_object;
};

// All objects of a YAML stream or JSON text, `kind: List` unfolded. All or nothing: the first error
// refuses the file. An object that stands twice is an error.
Result<Objects> decode_objects(std::string_view text, std::string file,
                               const ForeignDecoders& foreign = {});

}  // namespace tombolo::manifests
