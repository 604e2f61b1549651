// Manifests, templates, attachments and identity numbers -> workloads, the label sets that need a
// number, and what each node's agent is told of its pods. Derivation; control thread.
#pragma once

#include "servicesync/controller/rows.h"

namespace tombolo::controller {

class WorkloadStage final : public Stage {
 public:
  WorkloadStage(std::string cluster, const source::Catalog& catalog, ControllerTables& tables,
                InnerTables& inner, std::function<void()> wake);
  bool ready() const override;
  std::size_t step(std::size_t limit) override;
  bool pending() const override;
  void settle() override;

 private:
  void collect();
  void follow_attachment(const std::string& key);
  void follow_template(const std::string& key);
  void derive(const std::string& pod);
  std::uint32_t identity_for(const std::string& pod, const std::string& labels, bool has_addresses);
  void use_labels(const std::string& pod, const std::set<std::string>& labels);
  void publish(const std::string& pod, const Workload* workload);
  StringMap namespace_labels(std::string_view name_space) const;

  std::string cluster_;
  const source::Catalog& catalog_;
  ControllerTables& tables_;
  InnerTables& inner_;
  Table<Workload>::Writer workloads_;
  Table<IdentityWant>::Writer identity_wants_;
  Table<StoreRecord>::Writer records_;
  std::unique_ptr<Table<Workload>::Tracker> pods_;
  std::unique_ptr<Table<manifests::PodTemplate>::Tracker> templates_;
  std::unique_ptr<Table<Attachment>::Tracker> attachments_;
  std::unique_ptr<Table<Namespace>::Tracker> namespaces_;
  std::unique_ptr<Table<IdentityRow>::Tracker> identities_;
  std::map<std::string, std::set<std::string>> attachments_of_;  // pod -> attachment keys
  std::map<std::string, std::string> pod_of_;                    // attachment key -> pod
  std::map<std::string, std::set<std::string>> pods_with_;       // labels -> pods
  std::map<std::string, std::set<std::string>> labels_of_;       // pod -> labels it needs
  std::map<std::string, std::string> in_force_;                  // pod -> labels of its identity
  std::map<std::string, std::string> record_of_;                 // pod -> store key
  std::set<std::string> due_;
};

}  // namespace tombolo::controller
