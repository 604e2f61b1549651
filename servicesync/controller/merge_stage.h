// Services of this and all other clusters -> frontends, what this cluster publishes, and the
// addresses that are wanted. The merge itself is pure (servicesync/merge); this stage finds the
// keys that a change concerns. Derivation; control thread.
#pragma once

#include "servicesync/controller/rows.h"
#include "servicesync/merge/merge.h"

namespace tombolo::controller {

struct MergeSettings {
  std::string cluster;
  std::uint32_t cluster_id = 0;
  int cluster_bits = 8;
  bool namespaces_global = true;
};

class MergeStage final : public Stage {
 public:
  MergeStage(MergeSettings settings, ControllerTables& tables, InnerTables& inner,
             std::function<void()> wake);
  bool ready() const override;
  std::size_t step(std::size_t limit) override;
  bool pending() const override;
  void settle() override;
  // The same merge once more, for its reasons. kNotFound when no cluster knows such a service.
  Result<merge::Explanation> explain(const std::string& key) const;

 private:
  void collect();
  void follow_slice(const std::string& key);
  void follow_remote(const std::string& key);
  void follow_clusters();
  void add_namespace(std::string_view name_space);
  void add_all();
  std::string why_excluded(const merge::Input& input, const cilium::ClusterService& service) const;
  merge::Input input_of(const std::string& key) const;
  std::string imported_by(const std::string& key) const;
  void derive(const std::string& key);
  void want_addresses(const std::string& key, const merge::Output& output);

  MergeSettings settings_;
  ControllerTables& tables_;
  InnerTables& inner_;
  Table<Frontend>::Writer frontends_;
  Table<StoreRecord>::Writer published_;
  Table<StoreRecord>::Writer exports_;
  Table<AddressWant>::Writer cluster_ip_wants_;
  Table<AddressWant>::Writer clusterset_wants_;
  std::unique_ptr<Table<Service>::Tracker> services_;
  std::unique_ptr<Table<Service>::Tracker> manifests_;  // the addresses that they ask for
  std::unique_ptr<Table<EndpointSlice>::Tracker> slices_;
  std::unique_ptr<Table<Namespace>::Tracker> namespaces_;
  std::unique_ptr<Table<cilium::ClusterService>::Tracker> remotes_;
  std::unique_ptr<Table<Import>::Tracker> imports_;
  std::unique_ptr<Table<AddressRecord>::Tracker> cluster_ips_;
  std::unique_ptr<Table<AddressRecord>::Tracker> clusterset_ips_;
  std::unique_ptr<Table<PlanBlock>::Tracker> plan_;
  std::map<std::string, std::string> service_of_;            // slice -> service
  std::map<std::string, std::set<std::string>> slices_of_;   // service -> slices
  std::map<std::string, std::set<std::string>> remotes_of_;  // service -> remote keys
  std::unique_ptr<Table<RemoteCluster>::Tracker> clusters_;
  std::unique_ptr<Table<RememberedRemote>::Tracker> remembered_;
  std::map<std::string, RemoteState> merged_as_;  // how each cluster stood at the last look
  std::set<std::string> due_;
};

}  // namespace tombolo::controller
