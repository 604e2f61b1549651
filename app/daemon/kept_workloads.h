// Workloads whose fixed addresses are kept until somebody gives them up by hand (annotation
// ipam.tombolo.io/keep: "always"), also when the workload is written no more: that they said so is
// kept in the cluster's store, tombolo/v1/kept/KIND/NAMESPACE/NAME. In the controller, before kept
// addresses are judged. Control thread.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/kv.h"
#include "core/tables.h"

namespace tombolo {

class KeptWorkloads {
 public:
  explicit KeptWorkloads(Kv& kv) : kv_(kv) {}

  // Takes what all workloads say now into the store: one that says "always" is kept, one that is
  // there and says something else is not, and one that is gone is as long as `identities`, those
  // that have addresses, has one of it, or is not known. Errors of the store; then nothing is known
  // any more.
  asio::awaitable<Result<void>> follow(std::vector<PodInfo> infos,
                                       std::optional<std::set<std::string>> identities);
  // Of a claim, "StatefulSet/shop/db/0/eth0". False before the first follow().
  bool keeps(const std::string& identity) const;

 private:
  Kv& kv_;
  std::set<std::string, std::less<>> kept_;  // "KIND/NAMESPACE/NAME"
};

}  // namespace tombolo
