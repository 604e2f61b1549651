// A service's row: the manifest with the addresses that the store holds for it, and what it wants
// to be reached by from outside.
#include "servicesync/controller/service_stage.h"

#include <algorithm>

#include "servicesync/controller/load_balancer_want.h"

namespace tombolo::controller {

ServiceStage::ServiceStage(std::string cluster, const source::Catalog& catalog,
                           ControllerTables& tables, InnerTables& inner, std::function<void()> wake)
    : cluster_(std::move(cluster)),
      catalog_(catalog),
      tables_(tables),
      inner_(inner),
      services_(tables.services.take_writer("service stage")),
      load_balancer_wants_(inner.load_balancer_wants.take_writer("service stage")),
      manifests_(inner.source.services.track(wake)),
      addresses_(inner.cluster_ips.track(wake)),
      load_balancers_(inner.load_balancer_ips.track(wake)),
      plan_(tables.plan_blocks.track(wake)) {}

bool ServiceStage::ready() const {
  return catalog_.listed() && inner_.cluster_ips.synced() && inner_.load_balancer_ips.synced() &&
         tables_.plan_blocks.synced();
}

std::size_t ServiceStage::step(std::size_t limit) {
  due_.merge(manifests_->take());
  due_.merge(addresses_->take());
  due_.merge(load_balancers_->take());
  if (!plan_->take().empty())
    for (const auto& [key, row] : inner_.source.services.rows()) due_.insert(key);
  std::size_t done = 0;
  while (done < limit && !due_.empty()) {
    derive(due_.extract(due_.begin()).value());
    ++done;
  }
  return done;
}

// A manifest that names no family means one: IPv4 when the plan has IPv4 services, as the API
// server would have written it.
std::vector<Family> ServiceStage::families_of(const Service& service) const {
  if (!service.families.empty() || service.type == ServiceType::kExternalName)
    return service.families;
  bool v4 = false;
  bool v6 = false;
  for (const auto& [key, block] : tables_.plan_blocks.rows()) {
    if (block.row.cluster != cluster_ || block.row.use != BlockUse::kService) continue;
    v4 = v4 || block.row.prefix.family() == Family::kV4;
    v6 = v6 || block.row.prefix.family() == Family::kV6;
  }
  return {v6 && !v4 ? Family::kV6 : Family::kV4};
}

// What the store holds for it, in the order of its families.
void ServiceStage::take_addresses(Service& service) const {
  const std::string key = service.key();
  const AddressRecord* cluster = inner_.cluster_ips.find(key);
  const AddressRecord* outside =
      is_ours_to_expose(service) ? inner_.load_balancer_ips.find(key) : nullptr;
  for (Family family : service.families) {
    if (cluster != nullptr)
      for (const Ip& ip : cluster->ips)
        if (ip.family() == family) service.cluster_ips.push_back(ip);
    if (outside != nullptr)
      for (const Ip& ip : outside->ips)
        if (ip.family() == family) service.load_balancer_ips.push_back(ip);
  }
  if (cluster != nullptr && service.created_unix_s == 0)
    service.created_unix_s = cluster->created_unix_s;
}

void ServiceStage::derive(const std::string& key) {
  const Service* manifest = inner_.source.services.find(key);
  if (manifest == nullptr) {
    services_.erase(key);
    load_balancer_wants_.erase(key);
    return;
  }
  Service service = *manifest;
  service.families = families_of(*manifest);
  service.cluster_ips.clear();
  service.load_balancer_ips.clear();
  take_addresses(service);
  if (auto want = load_balancer_want(service))
    load_balancer_wants_.upsert(std::move(*want));
  else
    load_balancer_wants_.erase(key);
  services_.upsert(std::move(service));
}

bool ServiceStage::pending() const {
  return !due_.empty() || manifests_->pending() || addresses_->pending() ||
         load_balancers_->pending() || plan_->pending();
}

void ServiceStage::settle() {
  if (catalog_.complete() && ready()) {
    services_.mark_synced();
    load_balancer_wants_.mark_synced();
  }
}

}  // namespace tombolo::controller
