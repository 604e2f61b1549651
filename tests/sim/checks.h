// What always holds (docs: "what always holds", invariants 1 to 8), asked of a fleet from outside:
// samples while it runs, and the whole comparison once it is quiet.
//
//   1 one owner                 kernel.cpp, at every address given to an interface
//   2 acknowledged stays        every sample: what CNI answered is on the disk and in the tables
//   3 lost clusters leave       names and maps are without a lost cluster within seconds, and only
//                               without a lost one; back, they are with it again
//   4 local goes on             workload.cpp, how long CNI takes; here: local backends
//   5 no connection drops       kernel.cpp, order of writes; here: what was true stays in the maps
//   6 policy                    kernel.cpp, no interface goes up without a guard; policy_checks.cpp
//   7 bounded                   world.cpp and here: events, requests, rows
//   8 bad input                 the file is named in the status, what it said before stays
#pragma once

#include <map>
#include <set>
#include <string>

#include "tests/sim/fleet.h"

namespace tombolo::sim {

class Checks {
 public:
  explicit Checks(SimFleet& fleet) : fleet_(fleet), world_(fleet.world_) {}
  // Samples from now on.
  void start();
  // A user changed a policy.
  void truth_changed();
  // Why world, tables and sources are not the same; empty when they are.
  std::string disagreement() const;

 private:
  using Backends = std::map<std::string, std::set<std::string>>;  // service -> "IP:PORT"

  void sample_later();
  void sample();
  void acknowledged_stays(SimNode& node);
  void lost_clusters_leave(SimCluster& cluster, SimNode& node, const Backends& seen);
  static Duration loss_seen_after(const SimCluster& cluster, const SimCluster& lost);
  void local_goes_on(SimCluster& cluster, SimNode& node, const Backends& seen);
  void nothing_true_leaves(SimCluster& cluster, SimNode& node, const Backends& seen);
  void bad_files_are_named(SimCluster& cluster);
  void bounded(SimCluster& cluster);

  // policy_checks.cpp
  struct Talk;
  void policy_holds();
  void goes_up(const SimNode& node, const std::string& interface);
  bool is_early(const Talk& talk) const;
  std::vector<Talk> talks(const RuntimePod* coming = nullptr) const;
  bool known_long(const SimCluster& one, const SimCluster& other) const;
  bool restored_lately() const;
  std::string verdicts_differ() const;
  std::string guard_differs(const SimNode& node) const;

  Backends wanted(const SimCluster& cluster) const;
  // Per service of the cluster what the node's maps lead to, by the addresses that the service has.
  Backends seen_in_maps(const SimCluster& cluster, const SimNode& node) const;
  bool calm(const SimCluster& cluster, Duration since) const;
  bool own_are_second(const SimCluster& cluster, const std::string& service) const;
  bool all_nodes_calm(const SimCluster& cluster) const;
  bool excused(const SimCluster& cluster, const std::string& origin) const;
  bool undisturbed(const SimCluster& cluster, const std::string& origin, const SimNode& node) const;
  std::string tables_differ(const SimCluster& cluster) const;
  std::string node_differs(const SimCluster& cluster, const SimNode& node) const;
  std::string names_differ(const SimCluster& cluster, const SimNode& node) const;
  std::string leases_differ(const SimNode& node) const;
  std::string addresses_differ() const;
  std::string pools_differ(const SimCluster& cluster) const;
  std::string claims_differ(const SimCluster& cluster) const;
  std::string blocks_differ(const SimCluster& cluster) const;

  SimFleet& fleet_;
  World& world_;
  // Addresses of services as last seen in a controller's table: they outlive the controller.
  std::map<std::string, std::map<std::string, std::string>> addresses_;  // cluster -> service -> ip
  // What is said of one pod talking to another, as seen from one of their ends.
  struct Said {
    bool permitted = false;
    Duration since{};     // true without a break
    bool steady = false;  // and so in the kernel, when all was calm
  };
  std::map<std::string, Said> said_;
  int samples_ = 0;
};

}  // namespace tombolo::sim
