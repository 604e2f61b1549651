// Keyed by service, whichever cluster has it.
#include "servicesync/controller/merge_stage.h"

#include "servicesync/controller/load_balancer_want.h"

namespace tombolo::controller {

MergeStage::MergeStage(MergeSettings settings, ControllerTables& tables, InnerTables& inner,
                       std::function<void()> wake)
    : settings_(std::move(settings)),
      tables_(tables),
      inner_(inner),
      frontends_(tables.frontends.take_writer("merge stage")),
      published_(inner.published.take_writer("merge stage")),
      exports_(inner.exports.take_writer("merge stage")),
      cluster_ip_wants_(inner.cluster_ip_wants.take_writer("merge stage")),
      clusterset_wants_(inner.clusterset_wants.take_writer("merge stage")),
      services_(tables.services.track(wake)),
      manifests_(inner.source.services.track(wake)),
      slices_(tables.endpoint_slices.track(wake)),
      namespaces_(tables.namespaces.track(wake)),
      remotes_(inner.remote_services.track(wake)),
      imports_(inner.imports.track(wake)),
      cluster_ips_(inner.cluster_ips.track(wake)),
      clusterset_ips_(inner.clusterset_ips.track(wake)),
      plan_(tables.plan_blocks.track(wake)),
      clusters_(tables.remote_clusters.track(wake)),
      remembered_(inner.remembered_remotes.track(wake)) {}

bool MergeStage::ready() const {
  return inner_.remote_services.synced() && inner_.imports.synced() &&
         inner_.clusterset_ips.synced() && inner_.cluster_ips.synced() &&
         inner_.remembered_remotes.synced() && tables_.plan_blocks.synced();
}

void MergeStage::collect() {
  due_.merge(services_->take());
  due_.merge(manifests_->take());
  due_.merge(imports_->take());
  due_.merge(cluster_ips_->take());
  due_.merge(clusterset_ips_->take());
  for (const std::string& key : slices_->take()) follow_slice(key);
  for (const std::string& key : remotes_->take()) follow_remote(key);
  for (const std::string& name_space : namespaces_->take()) add_namespace(name_space);
  if (!plan_->take().empty()) add_all();
  follow_clusters();
}

// Rows of clusters change with every heartbeat; only another state concerns their services.
void MergeStage::follow_clusters() {
  std::set<std::string> clusters = clusters_->take();
  clusters.merge(remembered_->take());
  for (const std::string& cluster : clusters) {
    RemoteState state = remote_state(tables_, inner_, cluster);
    auto [known, fresh] = merged_as_.try_emplace(cluster, RemoteState::kConnecting);
    if (known->second == state) continue;
    known->second = state;
    std::string prefix = cluster + "/";
    const auto& rows = inner_.remote_services.rows();
    for (auto at = rows.lower_bound(prefix); at != rows.end() && at->first.starts_with(prefix);
         ++at)
      due_.insert(at->first.substr(prefix.size()));
  }
}

void MergeStage::follow_slice(const std::string& key) {
  if (auto old = service_of_.find(key); old != service_of_.end()) {
    due_.insert(old->second);
    slices_of_[old->second].erase(key);
    service_of_.erase(old);
  }
  const EndpointSlice* slice = tables_.endpoint_slices.find(key);
  if (slice == nullptr) return;
  std::string service = object_key(slice->name_space, slice->service);
  service_of_[key] = service;
  slices_of_[service].insert(key);
  due_.insert(service);
}

// "CLUSTER/NS/NAME"
void MergeStage::follow_remote(const std::string& key) {
  std::string service = key.substr(key.find('/') + 1);
  if (inner_.remote_services.find(key) != nullptr)
    remotes_of_[service].insert(key);
  else if (auto at = remotes_of_.find(service); at != remotes_of_.end()) {
    at->second.erase(key);
    if (at->second.empty()) remotes_of_.erase(at);
  }
  due_.insert(std::move(service));
}

void MergeStage::add_namespace(std::string_view name_space) {
  std::string prefix = fmt::format("{}/", name_space);
  auto add = [&](const auto& map) {
    for (auto at = map.lower_bound(prefix); at != map.end() && at->first.starts_with(prefix); ++at)
      due_.insert(at->first);
  };
  add(tables_.services.rows());
  add(inner_.imports.rows());
  add(remotes_of_);
}

void MergeStage::add_all() {
  for (const auto& [key, row] : tables_.services.rows()) due_.insert(key);
  for (const auto& [key, row] : inner_.imports.rows()) due_.insert(key);
  for (const auto& [key, row] : remotes_of_) due_.insert(key);
}

std::size_t MergeStage::step(std::size_t limit) {
  collect();
  std::size_t done = 0;
  while (done < limit && !due_.empty()) {
    derive(due_.extract(due_.begin()).value());
    ++done;
  }
  return done;
}

std::string MergeStage::imported_by(const std::string& key) const {
  if (inner_.imports.find(key) != nullptr) return "command";
  const Namespace* row = tables_.namespaces.find(namespace_of(key));
  if (row == nullptr) return "";
  std::set<std::string> names = merge::imports_of(row->annotations);
  bool named = names.contains("*") || names.contains(std::string(name_of(key)));
  return named ? "namespace annotation" : "";
}

// A lost cluster's backends are out, unless the service says that they stay: the local annotation
// decides, else the lost cluster's own.
std::string MergeStage::why_excluded(const merge::Input& input,
                                     const cilium::ClusterService& service) const {
  if (remote_state(tables_, inner_, service.cluster) != RemoteState::kLost) return "";
  const StringMap* said = service.extras ? &service.extras->annotations : nullptr;
  if (input.service != nullptr && merge::keeps_lost(input.service->annotations))
    said = &input.service->annotations;
  if (said != nullptr && merge::keeps_lost(*said).value_or(false)) return "";
  return fmt::format("{} is lost", service.cluster);
}

merge::Input MergeStage::input_of(const std::string& key) const {
  merge::Input input;
  input.cluster = settings_.cluster;
  input.cluster_id = settings_.cluster_id;
  input.cluster_bits = settings_.cluster_bits;
  input.namespaces_global = settings_.namespaces_global;
  input.name_space = namespace_of(key);
  input.name = name_of(key);
  input.name_space_row = tables_.namespaces.find(input.name_space);
  input.service = tables_.services.find(key);
  if (auto slices = slices_of_.find(key); slices != slices_of_.end())
    for (const std::string& name : slices->second)
      if (const EndpointSlice* slice = tables_.endpoint_slices.find(name))
        input.slices.push_back(slice);
  if (auto remotes = remotes_of_.find(key); remotes != remotes_of_.end())
    for (const std::string& name : remotes->second)
      if (const cilium::ClusterService* service = inner_.remote_services.find(name))
        input.remotes.push_back({service, why_excluded(input, *service)});
  input.imported_by = imported_by(key);
  if (const AddressRecord* record = inner_.cluster_ips.find(key)) input.import_ips = record->ips;
  if (const AddressRecord* record = inner_.clusterset_ips.find(key))
    input.clusterset_ips = record->ips;
  for (const auto& [block_key, block] : tables_.plan_blocks.rows())
    if (block.row.use == BlockUse::kClusterset) input.clusterset_ranges.push_back(block.row.prefix);
  return input;
}

void MergeStage::derive(const std::string& key) {
  merge::Output output = merge::merge(input_of(key));
  want_addresses(key, output);
  if (output.frontend)
    frontends_.upsert(std::move(*output.frontend));
  else
    frontends_.erase(key);
  std::string name_space(namespace_of(key));
  std::string name(name_of(key));
  std::string service_key = cilium::keys::service(settings_.cluster, name_space, name);
  if (output.published)
    published_.upsert({service_key, cilium::encode(*output.published)});
  else
    published_.erase(service_key);
  std::string export_key = cilium::keys::service_export(settings_.cluster, name_space, name);
  if (output.service_export)
    exports_.upsert({export_key, cilium::encode(*output.service_export)});
  else
    exports_.erase(export_key);
}

void MergeStage::want_addresses(const std::string& key, const merge::Output& output) {
  const Service* service = tables_.services.find(key);
  const Service* manifest = inner_.source.services.find(key);
  AddressWant want;
  want.object = key;
  if (service != nullptr) {
    want.created_unix_s = manifest == nullptr ? 0 : manifest->created_unix_s;
    if (manifest != nullptr) want.fixed = manifest->cluster_ips;
    if (!service->headless) want.families = service->families;
  } else {
    want.families = output.wants.import_families;
  }
  // A headless service has no address, but its record remembers when it was first seen.
  if (service != nullptr || !want.families.empty())
    cluster_ip_wants_.upsert(want);
  else
    cluster_ip_wants_.erase(key);
  AddressWant clusterset;
  clusterset.object = key;
  clusterset.families = output.wants.clusterset_families;
  if (clusterset.families.empty())
    clusterset_wants_.erase(key);
  else
    clusterset_wants_.upsert(std::move(clusterset));
}

bool MergeStage::pending() const {
  return !due_.empty() || services_->pending() || manifests_->pending() || slices_->pending() ||
         namespaces_->pending() || remotes_->pending() || imports_->pending() ||
         cluster_ips_->pending() || clusterset_ips_->pending() || plan_->pending() ||
         clusters_->pending() || remembered_->pending();
}

void MergeStage::settle() {
  if (!ready() || !tables_.services.synced() || !tables_.endpoint_slices.synced() ||
      !tables_.namespaces.synced())
    return;
  frontends_.mark_synced();
  published_.mark_synced();
  exports_.mark_synced();
  cluster_ip_wants_.mark_synced();
  clusterset_wants_.mark_synced();
}

Result<merge::Explanation> MergeStage::explain(const std::string& key) const {
  merge::Input input = input_of(key);
  if (input.service == nullptr && input.remotes.empty() && input.imported_by.empty())
    return fail(Code::kNotFound, "no cluster has a service {}", key);
  merge::Explanation explanation = std::move(merge::merge(input).explanation);
  if (input.service != nullptr && input.service->type == ServiceType::kLoadBalancer) {
    if (!is_ours_to_expose(*input.service))
      explanation.warnings.push_back(
          fmt::format("its loadBalancerClass {} is not {}: somebody else gives it an address",
                      input.service->load_balancer_class, kLoadBalancerClass));
    const ReconcileStatus* line =
        tables_.status.find(fmt::format("{}|{}", kLoadBalancerAllocator, key));
    if (line != nullptr)
      explanation.warnings.push_back(fmt::format("load balancer address: {}", line->error));
  }
  return explanation;
}

}  // namespace tombolo::controller
