// Service manifests and their durable addresses -> services; given slices, or selectors and
// workloads -> endpoint slices. Derivations; control thread.
#pragma once

#include "servicesync/controller/rows.h"

namespace tombolo::controller {

class ServiceStage final : public Stage {
 public:
  ServiceStage(std::string cluster, const source::Catalog& catalog, ControllerTables& tables,
               InnerTables& inner, std::function<void()> wake);
  bool ready() const override;
  std::size_t step(std::size_t limit) override;
  bool pending() const override;
  void settle() override;

 private:
  void derive(const std::string& key);
  void take_addresses(Service& service) const;
  std::vector<Family> families_of(const Service& service) const;

  std::string cluster_;
  const source::Catalog& catalog_;
  ControllerTables& tables_;
  InnerTables& inner_;
  Table<Service>::Writer services_;
  Table<AddressWant>::Writer load_balancer_wants_;
  std::unique_ptr<Table<Service>::Tracker> manifests_;
  std::unique_ptr<Table<AddressRecord>::Tracker> addresses_;
  std::unique_ptr<Table<AddressRecord>::Tracker> load_balancers_;
  std::unique_ptr<Table<PlanBlock>::Tracker> plan_;
  std::set<std::string> due_;
};

class SliceStage final : public Stage {
 public:
  SliceStage(ControllerTables& tables, InnerTables& inner, std::function<void()> wake);
  bool ready() const override { return true; }  // what it reads is written by ready stages
  std::size_t step(std::size_t limit) override;
  bool pending() const override;
  void settle() override;

 private:
  void collect();
  void follow_workload(const std::string& key);
  void follow_given(const std::string& key);
  void derive(const std::string& service);

  ControllerTables& tables_;
  InnerTables& inner_;
  Table<EndpointSlice>::Writer slices_;
  std::unique_ptr<Table<Service>::Tracker> services_;
  std::unique_ptr<Table<EndpointSlice>::Tracker> given_;
  std::unique_ptr<Table<Workload>::Tracker> workloads_;
  std::map<std::string, StringMap> labels_of_;             // workload -> labels last seen
  std::map<std::string, std::string> service_of_;          // given slice -> service
  std::map<std::string, std::set<std::string>> given_of_;  // service -> given slices
  std::map<std::string, std::set<std::string>> written_;   // service -> rows of it
  std::set<std::string> due_;
};

}  // namespace tombolo::controller
