// Files -> tables.
#include "core/metrics.h"
#include "servicesync/source/source.h"

namespace tombolo::source {
namespace {

// The union of one kind of object over the files, the first file by name first.
template <class Row>
class Union {
 public:
  explicit Union(std::string kind) : kind_(std::move(kind)) {}
  void add(const std::string& file, const std::vector<Row>& rows,
           std::map<std::string, std::string>& notes) {
    for (const Row& row : rows) {
      auto [owner, fresh] = owner_.emplace(row.key(), file);
      if (fresh)
        rows_.push_back(row);
      else
        notes.emplace(file, fmt::format("{} {} is also in {}: that one counts", kind_, row.key(),
                                        owner->second));
    }
  }
  std::vector<Row> take() { return std::move(rows_); }

 private:
  std::string kind_;
  std::map<std::string, std::string> owner_;
  std::vector<Row> rows_;
};

metrics::Counter refused_total() {
  return metrics::counter("tombolo_manifest_files_refused_total",
                          "Manifest files that were read and refused");
}
metrics::Gauge ignored_objects() {
  return metrics::gauge("tombolo_manifest_ignored_objects",
                        "Objects in manifest files of kinds that are not read");
}

}  // namespace

SourceTables::SourceTables(RevisionCounter& revisions)
    : pods("manifest_pods", revisions),
      templates("manifest_templates", revisions),
      services("manifest_services", revisions),
      endpoint_slices("manifest_endpoint_slices", revisions) {}

Catalog::Catalog(SourceTables& tables, Table<Namespace>::Writer namespaces,
                 Table<Policy>::Writer policies, Table<PoolObject>::Writer pool_objects,
                 Table<ReconcileStatus>::Writer status, Logger log)
    : tables_(tables),
      pods_(tables.pods.take_writer("manifests")),
      templates_(tables.templates.take_writer("manifests")),
      services_(tables.services.take_writer("manifests")),
      endpoint_slices_(tables.endpoint_slices.take_writer("manifests")),
      namespaces_(namespaces),
      policies_(policies),
      pool_objects_(pool_objects),
      status_(status),
      log_(log.with("source", "manifests")) {}

void Catalog::set_file(const std::string& file, Result<manifests::Objects> objects) {
  if (objects) {
    files_.insert_or_assign(file, std::move(*objects));
    errors_.erase(file);
    never_good_.erase(file);
  } else {
    refused_total().increment();
    std::string error = objects.error().what;
    if (errors_[file] != error) log_.warning("refused {}", error);
    errors_[file] = std::move(error);
    if (!files_.contains(file)) never_good_.insert(file);
  }
  rebuild();
}

void Catalog::remove_file(const std::string& file) {
  files_.erase(file);
  errors_.erase(file);
  never_good_.erase(file);
  rebuild();
}

void Catalog::set_folder_error(const std::string& error) {
  report("", error);
}

void Catalog::mark_listed() {
  if (listed_) return;
  listed_ = true;
  rebuild();
}

void Catalog::rebuild() {
  // Before the first scan is through, half of the objects would look like all.
  if (!listed_) return;
  Union<Namespace> namespaces("Namespace");
  Union<Workload> pods("Pod");
  Union<manifests::PodTemplate> templates("pods of");
  Union<Service> services("Service");
  Union<EndpointSlice> endpoint_slices("EndpointSlice");
  Union<Policy> policies("policy");
  Union<PoolObject> pool_objects("pool or reservation");
  std::map<std::string, std::string> notes = errors_;
  std::size_t ignored = 0;
  for (const auto& [file, objects] : files_) {
    namespaces.add(file, objects.namespaces, notes);
    pods.add(file, objects.pods, notes);
    templates.add(file, objects.templates, notes);
    services.add(file, objects.services, notes);
    endpoint_slices.add(file, objects.endpoint_slices, notes);
    policies.add(file, objects.policies, notes);
    pool_objects.add(file, objects.pool_objects, notes);
    ignored += objects.ignored;
  }
  namespaces_.replace_all(namespaces.take());
  templates_.replace_all(templates.take());
  pods_.replace_all(pods.take());
  services_.replace_all(services.take());
  endpoint_slices_.replace_all(endpoint_slices.take());
  policies_.replace_all(policies.take());
  pool_objects_.replace_all(pool_objects.take());
  ignored_objects().set(static_cast<double>(ignored));
  for (const auto& [file, note] : notes) report(file, note);
  auto old = reported_;
  for (const auto& [file, note] : old)
    if (!file.empty() && !notes.contains(file)) report(file, "");
  if (complete()) {
    namespaces_.mark_synced();
    templates_.mark_synced();
    pods_.mark_synced();
    services_.mark_synced();
    endpoint_slices_.mark_synced();
    policies_.mark_synced();
    pool_objects_.mark_synced();
  }
  if (on_change_) on_change_();
}

void Catalog::report(const std::string& file, const std::string& error) {
  std::string& last = reported_[file];
  if (last == error) {
    if (error.empty()) reported_.erase(file);
    return;
  }
  ReconcileStatus line;
  line.reconciler = "manifests";
  line.object = file;
  line.state = ReconcileState::kError;
  line.revision = tables_.services.revision();
  line.error = error;
  if (error.empty()) {
    status_.erase(line.key());
    reported_.erase(file);
    return;
  }
  last = error;
  status_.upsert(std::move(line));
}

}  // namespace tombolo::source
