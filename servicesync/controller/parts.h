// Everything inside ControllerSync, in the order in which it depends on each other.
#pragma once

#include "core/store/mirror.h"
#include "servicesync/controller/address_allocator.h"
#include "servicesync/controller/announcer.h"
#include "servicesync/controller/controller_sync.h"
#include "servicesync/controller/identity_allocator.h"
#include "servicesync/controller/merge_stage.h"
#include "servicesync/controller/pod_info_stage.h"
#include "servicesync/controller/service_stage.h"
#include "servicesync/controller/workload_stage.h"

namespace tombolo::controller {

struct ControllerSync::Parts {
  Parts(ControllerSettings settings, ControllerTables& tables,
        Table<ReconcileStatus>::Writer status, Kv& own, Worker& worker, TaskGroup& tasks,
        Clock& clock, Rng& rng, Logger log);

  ControllerSettings settings;
  ControllerTables& tables;
  Kv& own;
  TaskGroup& tasks;
  Clock& clock;
  Rng& rng;
  Logger log;
  Signal changed;
  InnerTables inner;
  source::Catalog catalog;
  std::unique_ptr<source::ManifestFolder> folder;

  KvMirror<IdentityRow> identity_mirror;
  KvMirror<AddressRecord> cluster_ip_mirror;
  KvMirror<AddressRecord> clusterset_mirror;
  KvMirror<AddressRecord> load_balancer_mirror;
  KvMirror<cilium::ClusterService> remote_mirror;
  KvMirror<Import> import_mirror;
  KvMirror<RememberedRemote> remembered_mirror;

  IdentityAllocator identities;
  AddressAllocator cluster_ips;
  AddressAllocator clusterset_ips;
  AddressAllocator load_balancer_ips;

  WorkloadStage workload_stage;
  ServiceStage service_stage;
  SliceStage slice_stage;
  MergeStage merge_stage;
  PodInfoStage pod_info_stage;
  std::vector<Stage*> stages;  // in the order of the flow
  std::unique_ptr<Table<PlanBlock>::Tracker> plan;
  bool deriving = false;

  Table<StoreRecord>::Writer configs;
  Table<StoreRecord>::Writer canaries;
  Announcer announcer;
  mesh::MeshContext mesh;
  std::map<std::string, std::unique_ptr<mesh::RemoteLink>> links;
  std::list<std::unique_ptr<mesh::RemoteLink>> leaving;  // taken out, their tasks not ended yet
};

}  // namespace tombolo::controller
