// What always holds (docs: "what always holds", invariants 1 to 8), asked of a fleet from outside:
// samples while it runs, and the whole comparison once it is quiet.
//
//   1 one owner                 kernel.cpp, at every address given to an interface
//   2 acknowledged stays        every sample: what CNI answered is on the disk and in the tables
//   3 lost clusters leave       names and maps are without a lost cluster within seconds, and only
//                               without a lost one; back, they are with it again
//   4 local goes on             workload.cpp, how long CNI takes; here: local backends
//   5 no connection drops       kernel.cpp, order of writes; here: what was true stays in the maps
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
  // Why world, tables and sources are not the same; empty when they are.
  std::string disagreement() const;

 private:
  using Backends = std::map<std::string, std::set<std::string>>;  // service -> "IP:PORT"

  void sample();
  void acknowledged_stays(SimNode& node);
  void lost_clusters_leave(SimCluster& cluster, SimNode& node, const Backends& seen);
  void local_goes_on(SimCluster& cluster, SimNode& node, const Backends& seen);
  void nothing_true_leaves(SimCluster& cluster, SimNode& node, const Backends& seen);
  void bad_files_are_named(SimCluster& cluster);
  void bounded(SimCluster& cluster);

  Backends wanted(const SimCluster& cluster) const;
  // Per service of the cluster what the node's maps lead to, by the addresses that the service has.
  Backends seen_in_maps(const SimCluster& cluster, const SimNode& node) const;
  bool calm(const SimCluster& cluster, Duration since) const;
  bool all_nodes_calm(const SimCluster& cluster) const;
  bool excused(const SimCluster& cluster, const std::string& origin) const;
  bool undisturbed(const SimCluster& cluster, const std::string& origin, const SimNode& node) const;
  std::string tables_differ(const SimCluster& cluster) const;
  std::string node_differs(const SimCluster& cluster, const SimNode& node) const;
  std::string names_differ(const SimCluster& cluster, const SimNode& node) const;
  std::string leases_differ(const SimNode& node) const;
  std::string addresses_differ() const;

  SimFleet& fleet_;
  World& world_;
  // Addresses of services as last seen in a controller's table: they outlive the controller.
  std::map<std::string, std::map<std::string, std::string>> addresses_;  // cluster -> service -> ip
};

}  // namespace tombolo::sim
