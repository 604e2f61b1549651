// Keyed by service: a workload concerns the services whose selector fits its labels, before or
// after the change.
#include "servicesync/controller/service_stage.h"
#include "servicesync/derive/derive.h"

namespace tombolo::controller {

SliceStage::SliceStage(ControllerTables& tables, InnerTables& inner, std::function<void()> wake)
    : tables_(tables),
      inner_(inner),
      slices_(tables.endpoint_slices.take_writer("slice stage")),
      services_(tables.services.track(wake)),
      given_(inner.source.endpoint_slices.track(wake)),
      workloads_(tables.workloads.track(wake)) {}

void SliceStage::collect() {
  due_.merge(services_->take());
  for (const std::string& key : given_->take()) follow_given(key);
  for (const std::string& key : workloads_->take()) follow_workload(key);
}

void SliceStage::follow_given(const std::string& key) {
  if (auto old = service_of_.find(key); old != service_of_.end()) {
    due_.insert(old->second);
    given_of_[old->second].erase(key);
    service_of_.erase(old);
  }
  const EndpointSlice* slice = inner_.source.endpoint_slices.find(key);
  if (slice == nullptr || slice->service.empty()) return;
  std::string service = object_key(slice->name_space, slice->service);
  service_of_[key] = service;
  given_of_[service].insert(key);
  due_.insert(service);
}

void SliceStage::follow_workload(const std::string& key) {
  const Workload* workload = tables_.workloads.find(key);
  auto old = labels_of_.find(key);
  std::string prefix = fmt::format("{}/", namespace_of(key));
  const auto& services = tables_.services.rows();
  for (auto at = services.lower_bound(prefix);
       at != services.end() && at->first.starts_with(prefix); ++at) {
    const StringMap& selector = at->second.row.selector;
    if (selector.empty()) continue;
    bool before = old != labels_of_.end() && derive::selects(selector, old->second);
    bool now = workload != nullptr && derive::selects(selector, workload->labels);
    if (before || now) due_.insert(at->first);
  }
  if (workload == nullptr)
    labels_of_.erase(key);
  else
    labels_of_[key] = workload->labels;
}

std::size_t SliceStage::step(std::size_t limit) {
  collect();
  std::size_t done = 0;
  while (done < limit && !due_.empty()) {
    derive(due_.extract(due_.begin()).value());
    ++done;
  }
  return done;
}

void SliceStage::derive(const std::string& key) {
  std::vector<EndpointSlice> slices;
  if (auto given = given_of_.find(key); given != given_of_.end() && !given->second.empty()) {
    for (const std::string& name : given->second)
      if (const EndpointSlice* slice = inner_.source.endpoint_slices.find(name))
        slices.push_back(*slice);
  } else if (const Service* service = tables_.services.find(key)) {
    std::vector<const Workload*> pods;
    std::string prefix = fmt::format("{}/", namespace_of(key));
    const auto& workloads = tables_.workloads.rows();
    for (auto at = workloads.lower_bound(prefix);
         at != workloads.end() && at->first.starts_with(prefix); ++at)
      pods.push_back(&at->second.row);
    slices = derive::compute_slices(*service, pods);
  }
  std::set<std::string> names;
  for (const EndpointSlice& slice : slices) names.insert(slice.key());
  // First what is new: readers that look between two writes see too much rather than nothing.
  for (EndpointSlice& slice : slices) slices_.upsert(std::move(slice));
  for (const std::string& old : written_[key])
    if (!names.contains(old)) slices_.erase(old);
  if (names.empty())
    written_.erase(key);
  else
    written_[key] = std::move(names);
}

bool SliceStage::pending() const {
  return !due_.empty() || services_->pending() || given_->pending() || workloads_->pending();
}

void SliceStage::settle() {
  if (tables_.services.synced() && tables_.workloads.synced() &&
      inner_.source.endpoint_slices.synced())
    slices_.mark_synced();
}

}  // namespace tombolo::controller
