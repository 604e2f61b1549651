// The controller and the claims of pools: which addresses are in use, and when one that is kept for
// a workload is kept no more.
//
//   pod_infos, namespaces, claims --ClaimSweep--> ClaimJanitor --> tombolo/v1/claims/
//
// Control thread.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "app/daemon/kept_workloads.h"
#include "app/daemon/pool_judge.h"
#include "app/daemon/published.h"
#include "ipamd/claims/claims.h"

namespace tombolo {

// Addresses and blocks that the store says are held or kept.
std::vector<PoolUse> claimed_uses(const ControllerTables& tables);

class ClaimSweep {
 public:
  ClaimSweep(ClaimJanitor& janitor, ControllerTables& tables, RoleContext context);
  // Soon after workloads, namespaces or claims changed, and every ten seconds, until the group is
  // cancelled; only while everything is known of pods: what is not known is not gone.
  asio::awaitable<void> run();

 private:
  std::function<KeptFor(const std::string&)> kept_for(const std::vector<PodInfo>& infos) const;
  asio::awaitable<Result<void>> follow_kept_workloads(std::vector<PodInfo> infos);
  void note_namespaces();
  bool is_due(MonotonicTime next);

  ClaimJanitor& janitor_;
  ControllerTables& tables_;
  RoleContext context_;
  KeptWorkloads kept_workloads_;
  std::unique_ptr<Table<PodInfo>::Tracker> info_changes_;
  std::unique_ptr<Table<AddressClaim>::Tracker> claim_changes_;
  std::unique_ptr<Table<Namespace>::Tracker> namespace_changes_;
  std::set<std::string, std::less<>> deleted_namespaces_;  // since this controller began
  bool wanted_ = false;
};

}  // namespace tombolo
