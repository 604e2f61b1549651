// Keyed by the rows that come out: "NAMESPACE/NAME/KIND".
#include "servicesync/controller/pod_info_stage.h"

namespace tombolo::controller {
namespace {

constexpr std::string_view kPod = "Pod";

// One more than the last ordinal of a StatefulSet; of others, how many pods they want.
std::uint32_t ordinals_end(const manifests::PodTemplate& pods) {
  return pods.replicas == 0 ? 0 : pods.replicas + pods.first_ordinal;
}

}  // namespace

PodInfoStage::PodInfoStage(const source::Catalog& catalog, ControllerTables& tables,
                           InnerTables& inner, std::function<void()> wake)
    : catalog_(catalog),
      tables_(tables),
      inner_(inner),
      infos_(tables.pod_infos.take_writer("pod info stage")),
      pods_(inner.source.pods.track(wake)),
      templates_(inner.source.templates.track(wake)),
      namespaces_(tables.namespaces.track(wake)) {}

bool PodInfoStage::ready() const {
  return catalog_.listed();
}

void PodInfoStage::collect() {
  for (const std::string& pod : pods_->take()) due_.insert(object_key(pod, kPod));
  // "NAMESPACE/KIND/NAME". Its pods know how many they are.
  std::set<std::string> name_spaces = namespaces_->take();
  for (const std::string& key : templates_->take()) {
    std::string_view rest = name_of(key);
    due_.insert(fmt::format("{}/{}/{}", namespace_of(key), name_of(rest), namespace_of(rest)));
    name_spaces.emplace(namespace_of(key));
  }
  // A namespace that changes does so for every pod in it.
  for (const std::string& name_space : name_spaces) {
    const auto& rows = tables_.pod_infos.rows();
    std::string prefix = name_space + "/";
    for (auto at = rows.lower_bound(prefix); at != rows.end() && at->first.starts_with(prefix);
         ++at)
      due_.insert(at->first);
  }
}

std::size_t PodInfoStage::step(std::size_t limit) {
  collect();
  std::size_t done = 0;
  while (done < limit && !due_.empty()) {
    derive(due_.extract(due_.begin()).value());
    ++done;
  }
  return done;
}

void PodInfoStage::complete(PodInfo& info) const {
  const Namespace* row = tables_.namespaces.find(info.name_space);
  if (row == nullptr) {
    // One without a manifest has what the API server gives every namespace.
    info.namespace_labels = {{"kubernetes.io/metadata.name", info.name_space}};
    return;
  }
  info.namespace_labels = row->labels;
  info.namespace_annotations = row->annotations;
}

void PodInfoStage::derive(const std::string& key) {
  std::string_view name_space = namespace_of(key);
  std::string_view name = namespace_of(name_of(key));
  std::string_view kind = name_of(name_of(key));
  PodInfo info;
  const Workload* described = nullptr;
  if (kind == kPod) {
    described = inner_.source.pods.find(object_key(name_space, name));
    const auto* made_by =
        described == nullptr
            ? nullptr
            : inner_.source.templates.find(object_key(name_space, described->owner));
    if (made_by != nullptr) info.replicas = ordinals_end(*made_by);
  } else if (const auto* pods =
                 inner_.source.templates.find(fmt::format("{}/{}/{}", name_space, kind, name))) {
    described = &pods->pod;
    info.replicas = ordinals_end(*pods);
  }
  // A pod that has ended asks for nothing any more; its name may come again.
  if (described == nullptr || described->finished) {
    infos_.erase(key);
    return;
  }
  info.name_space = name_space;
  info.name = name;
  info.kind = kind;
  info.owner = described->owner;
  info.labels = described->labels;
  info.annotations = described->annotations;
  complete(info);
  infos_.upsert(std::move(info));
}

bool PodInfoStage::pending() const {
  return !due_.empty() || pods_->pending() || templates_->pending() || namespaces_->pending();
}

void PodInfoStage::settle() {
  if (catalog_.complete() && ready()) infos_.mark_synced();
}

}  // namespace tombolo::controller
