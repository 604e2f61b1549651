// Keyed by pod: whatever changes is turned into the pods that it concerns.
#include "servicesync/controller/workload_stage.h"

#include <algorithm>

#include "servicesync/derive/derive.h"

namespace tombolo::controller {

WorkloadStage::WorkloadStage(std::string cluster, const source::Catalog& catalog,
                             ControllerTables& tables, InnerTables& inner,
                             std::function<void()> wake)
    : cluster_(std::move(cluster)),
      catalog_(catalog),
      tables_(tables),
      inner_(inner),
      workloads_(tables.workloads.take_writer("workload stage")),
      identity_wants_(inner.identity_wants.take_writer("workload stage")),
      records_(inner.workload_records.take_writer("workload stage")),
      pods_(inner.source.pods.track(wake)),
      templates_(inner.source.templates.track(wake)),
      attachments_(tables.attachments.track(wake)),
      namespaces_(tables.namespaces.track(wake)),
      identities_(inner.identities.track(wake)) {}

bool WorkloadStage::ready() const {
  return catalog_.listed() && tables_.attachments.synced() && inner_.identities.synced();
}

void WorkloadStage::collect() {
  due_.merge(pods_->take());
  for (const std::string& key : attachments_->take()) follow_attachment(key);
  for (const std::string& key : templates_->take()) follow_template(key);
  for (const std::string& name_space : namespaces_->take()) {
    std::string prefix = name_space + "/";
    for (auto at = labels_of_.lower_bound(prefix);
         at != labels_of_.end() && at->first.starts_with(prefix); ++at)
      due_.insert(at->first);
  }
  for (const std::string& labels : identities_->take())
    if (auto pods = pods_with_.find(labels); pods != pods_with_.end())
      due_.insert(pods->second.begin(), pods->second.end());
}

void WorkloadStage::follow_attachment(const std::string& key) {
  if (auto old = pod_of_.find(key); old != pod_of_.end()) {
    due_.insert(old->second);
    auto others = attachments_of_.find(old->second);
    others->second.erase(key);
    if (others->second.empty()) attachments_of_.erase(others);
    pod_of_.erase(old);
  }
  const Attachment* attachment = tables_.attachments.find(key);
  if (attachment == nullptr || attachment->pod_name.empty()) return;
  std::string pod = object_key(attachment->name_space, attachment->pod_name);
  attachments_of_[pod].insert(key);
  pod_of_[key] = pod;
  due_.insert(pod);
}

// "NAMESPACE/KIND/NAME": every attached pod whose name begins with NAME.
void WorkloadStage::follow_template(const std::string& key) {
  std::string_view name = std::string_view(key).substr(key.rfind('/') + 1);
  std::string prefix = fmt::format("{}/{}-", namespace_of(key), name);
  for (auto at = attachments_of_.lower_bound(prefix);
       at != attachments_of_.end() && at->first.starts_with(prefix); ++at)
    due_.insert(at->first);
}

std::size_t WorkloadStage::step(std::size_t limit) {
  collect();
  std::size_t done = 0;
  while (done < limit && !due_.empty()) {
    derive(due_.extract(due_.begin()).value());
    ++done;
  }
  return done;
}

// One without a manifest has what the API server gives every namespace.
StringMap WorkloadStage::namespace_labels(std::string_view name_space) const {
  if (const Namespace* row = tables_.namespaces.find(name_space)) return row->labels;
  return {{"kubernetes.io/metadata.name", std::string(name_space)}};
}

void WorkloadStage::derive(const std::string& pod) {
  derive::PodFacts facts;
  facts.manifest = inner_.source.pods.find(pod);
  std::string_view name_space = namespace_of(pod);
  std::vector<std::pair<std::uint64_t, const Attachment*>> attachments;
  if (auto keys = attachments_of_.find(pod); keys != attachments_of_.end())
    for (const std::string& key : keys->second)
      if (auto row = tables_.attachments.rows().find(key); row != tables_.attachments.rows().end())
        attachments.emplace_back(row->second.revision, &row->second.row);
  std::ranges::sort(attachments);
  for (const auto& [revision, attachment] : attachments) facts.attachments.push_back(attachment);
  if (facts.manifest == nullptr) {
    const auto& rows = inner_.source.templates.rows();
    std::string prefix = fmt::format("{}/", name_space);
    for (auto at = rows.lower_bound(prefix); at != rows.end() && at->first.starts_with(prefix);
         ++at)
      facts.templates.push_back(&at->second.row);
  }
  auto workload = derive::derive_workload(name_space, name_of(pod), facts);
  if (!workload) {
    use_labels(pod, {});
    in_force_.erase(pod);
    publish(pod, nullptr);
    workloads_.erase(pod);
    return;
  }
  std::string labels = cilium::encode_labels(
      cilium::identity_labels(*workload, namespace_labels(name_space), cluster_));
  workload->identity = identity_for(pod, labels, !workload->ips.empty());
  publish(pod, &*workload);
  workloads_.upsert(std::move(*workload));
}

// The identity of these labels; while they have none yet, the one that the pod has had, so that a
// change of labels is one step for everybody. A pod without addresses starts anew.
std::uint32_t WorkloadStage::identity_for(const std::string& pod, const std::string& labels,
                                          bool has_addresses) {
  std::set<std::string> used{labels};
  const IdentityRow* identity = inner_.identities.find(labels);
  if (auto known = in_force_.find(pod);
      identity == nullptr && has_addresses && known != in_force_.end() && known->second != labels) {
    identity = inner_.identities.find(known->second);
    if (identity != nullptr) used.insert(known->second);
  } else if (identity != nullptr && has_addresses) {
    in_force_[pod] = labels;
  } else {
    in_force_.erase(pod);
  }
  use_labels(pod, used);
  return identity == nullptr ? 0 : identity->number;
}

// Keeps count of who uses which labels: those of a pod, and those whose identity it still has.
void WorkloadStage::use_labels(const std::string& pod, const std::set<std::string>& labels) {
  std::set<std::string> old = std::move(labels_of_[pod]);
  labels_of_[pod] = labels;
  if (labels.empty()) labels_of_.erase(pod);
  for (const std::string& one : labels)
    if (pods_with_[one].insert(pod).second && pods_with_[one].size() == 1)
      identity_wants_.upsert({one});
  for (const std::string& one : old) {
    if (labels.contains(one)) continue;
    auto users = pods_with_.find(one);
    users->second.erase(pod);
    if (!users->second.empty()) continue;
    identity_wants_.erase(one);
    pods_with_.erase(users);
  }
}

void WorkloadStage::publish(const std::string& pod, const Workload* workload) {
  bool told = workload != nullptr && !workload->node.empty() && !workload->ips.empty();
  std::string key =
      told ? keys::workload(workload->node, workload->name_space, workload->name) : "";
  if (auto old = record_of_.find(pod); old != record_of_.end() && old->second != key) {
    records_.erase(old->second);
    record_of_.erase(old);
  }
  if (!told) return;
  cilium::WorkloadRecord record;
  record.identity = workload->identity;
  record.service_account = workload->service_account;
  for (const NamedPort& port : workload->ports)
    if (!port.name.empty()) record.named_ports.push_back(port);
  record_of_[pod] = key;
  records_.upsert({key, cilium::encode(record)});
}

bool WorkloadStage::pending() const {
  return !due_.empty() || pods_->pending() || templates_->pending() || attachments_->pending() ||
         namespaces_->pending() || identities_->pending();
}

void WorkloadStage::settle() {
  if (!catalog_.complete() || !ready()) return;
  workloads_.mark_synced();
  identity_wants_.mark_synced();
  records_.mark_synced();
}

}  // namespace tombolo::controller
