// Joins a pod's manifest or template with its attachment.
#include "servicesync/derive/derive.h"

namespace tombolo::derive {
namespace {

void join(Workload& pod, const Attachment* attachment) {
  if (pod.finished) {
    pod.ready = false;
    pod.ips.clear();
    return;
  }
  if (attachment != nullptr) {
    pod.node = attachment->node;
    pod.ips = attachment->ips;
    return;
  }
  if (pod.host_network && !pod.ips.empty()) return;
  // Addresses that a file claims and no lease backs may be another pod's.
  pod.ips.clear();
  pod.ready = false;
}

const manifests::PodTemplate* best_template(
    std::string_view name, const std::vector<const manifests::PodTemplate*>& templates) {
  const manifests::PodTemplate* best = nullptr;
  for (const manifests::PodTemplate* candidate : templates) {
    if (!manifests::names_pod(*candidate, name)) continue;
    if (best == nullptr || candidate->name.size() > best->name.size() ||
        (candidate->name.size() == best->name.size() && candidate->key() < best->key()))
      best = candidate;
  }
  return best;
}

}  // namespace

const Attachment* primary_attachment(const std::vector<const Attachment*>& attachments) {
  const Attachment* best = nullptr;
  auto rank = [](const Attachment& attachment) {
    return std::pair(attachment.interface_name != "eth0", attachment.interface_name);
  };
  for (const Attachment* attachment : attachments)
    if (best == nullptr || rank(*attachment) <= rank(*best)) best = attachment;
  return best;
}

std::optional<Workload> derive_workload(std::string_view name_space, std::string_view name,
                                        const PodFacts& facts) {
  const Attachment* attachment = primary_attachment(facts.attachments);
  std::optional<Workload> pod;
  if (facts.manifest != nullptr) {
    pod = *facts.manifest;
    join(*pod, attachment);
    return pod;
  }
  if (attachment == nullptr) return pod;
  const manifests::PodTemplate* made_by = best_template(name, facts.templates);
  if (made_by == nullptr) return pod;
  pod = made_by->pod;
  pod->name_space = name_space;
  pod->name = name;
  if (made_by->hostname_is_name && is_dns_label(name)) pod->hostname = name;
  join(*pod, attachment);
  if (made_by->replicas == 0) {
    pod->terminating = true;
    pod->ready = false;
  }
  return pod;
}

}  // namespace tombolo::derive
