// Rows from rows, pure: a pod's manifest and its attachment become a workload, a service's selector
// and the workloads become its endpoint slices. Between sources and merge; control thread.
#pragma once

#include <optional>
#include <vector>

#include "servicesync/manifests/manifests.h"

namespace tombolo::derive {

// All that is known of one pod.
struct PodFacts {
  const Workload* manifest = nullptr;
  std::vector<const manifests::PodTemplate*> templates;  // of its namespace, in any order
  std::vector<const Attachment*> attachments;            // in the order of their last change
};

// The interface whose addresses are the pod's: eth0, else the first by name; the last change wins.
const Attachment* primary_attachment(const std::vector<const Attachment*>& attachments);

// The workload, or nothing when neither a manifest nor a template describes the pod. `identity` is
// left 0.
//  - With a manifest: node and addresses are the attachment's, ready is "attached, unless a
//    condition says no". On the host's network there is no attachment: the status' addresses count.
//  - Without: the template with the longest name that fits describes it. A template that is scaled
//    to zero makes it terminating and not ready, so that it is nobody's endpoint.
std::optional<Workload> derive_workload(std::string_view name_space, std::string_view name,
                                        const PodFacts& facts);

bool selects(const StringMap& selector, const StringMap& labels);

// Slices as the EndpointSlice controller would make them: one per family and set of port numbers.
// Nothing for services without a selector. `pods` are those of the namespace, in any order.
std::vector<EndpointSlice> compute_slices(const Service& service,
                                          const std::vector<const Workload*>& pods);

}  // namespace tombolo::derive
