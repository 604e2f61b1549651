// Manifests of pods, of the controllers that make pods, and of their namespaces -> what the choice
// of an address pool asks of a pod. It needs no attachment: the pod that asks has none yet.
// Derivation; control thread.
#pragma once

#include "servicesync/controller/rows.h"

namespace tombolo::controller {

class PodInfoStage final : public Stage {
 public:
  PodInfoStage(const source::Catalog& catalog, ControllerTables& tables, InnerTables& inner,
               std::function<void()> wake);
  bool ready() const override;
  std::size_t step(std::size_t limit) override;
  bool pending() const override;
  void settle() override;

 private:
  void collect();
  void derive(const std::string& key);
  void complete(PodInfo& info) const;

  const source::Catalog& catalog_;
  ControllerTables& tables_;
  InnerTables& inner_;
  Table<PodInfo>::Writer infos_;
  std::unique_ptr<Table<Workload>::Tracker> pods_;
  std::unique_ptr<Table<manifests::PodTemplate>::Tracker> templates_;
  std::unique_ptr<Table<Namespace>::Tracker> namespaces_;
  std::set<std::string> due_;  // keys of PodInfo
};

}  // namespace tombolo::controller
