// A fleet under test: clusters with their stores, controllers and nodes, the users and container
// runtimes that keep changing it, and the hand that breaks it. Composed from one seed.
#pragma once

#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/process.h"
#include "tests/sim/truth.h"

namespace tombolo::sim {

struct Options {
  std::uint64_t seed = 1;
  Mistake mistake = Mistake::kNone;
  bool print_trace = false;
  bool log = false;  // of the daemons, to standard error
};

// Every kind of fault there is, for the count at the end.
inline constexpr std::array<std::string_view, 18> kFaultKinds{
    "partition",    "one-way partition", "slow link",   "lossy link",     "connections reset",
    "lost cluster", "controller crash",  "agent crash", "store crash",    "store disk full",
    "compaction",   "restored store",    "full disk",   "kernel refuses", "map writes refused",
    "clock jump",   "bad manifest",      "bad record",
};

// What was asked while it ran, for the count at the end: a check that never gets to ask is none.
inline constexpr std::array<std::string_view, 8> kQuestions{
    "lost clusters", "local backends", "steady backends", "steady verdicts",
    "first packets", "bad files",      "fixed addresses", "pool addresses",
};

struct SimCluster;
class Checks;

// One node and its agent.
struct SimNode {
  SimNode(World& world, AddressRegistry& registry, SimCluster& its_cluster, std::string its_name,
          Mistake mistake)
      : cluster(its_cluster),
        name(std::move(its_name)),
        machine(world),
        kernel(world, registry, name, mistake) {}
  SimCluster& cluster;
  std::string name;
  Machine machine;
  NodeKernel kernel;
  Wire wire;  // to the own cluster's store
  config::v1::DaemonConfig config;
  std::unique_ptr<AgentLife> agent;
  bool serving = false;  // CNI answers
  Duration serving_since{};
  Duration troubled_until{};  // its disk, kernel or maps refuse until then
  // Pairs "SERVICE BACKEND" that its maps had while they were true for long.
  std::map<std::string, Duration> steady;  // -> since when they were true
};

struct SimCluster {
  SimCluster(World& world, ClusterFacts its_facts)
      : facts(std::move(its_facts)),
        machine(world),
        store(world, machine.lane, facts.name, facts.id) {}
  ClusterFacts facts;
  Machine machine;
  SimStore store;
  Wire wire;  // controller to store
  std::unique_ptr<ControllerLife> controller;
  Duration controller_since{};
  std::map<std::string, std::unique_ptr<Wire>> to;  // controller to the others' stores
  std::map<std::string, bool> reaches;              // nodes of the others answer its nodes
  std::vector<std::unique_ptr<SimNode>> nodes;
  std::map<std::string, std::string> files;      // manifests
  std::map<std::string, std::string> bad_files;  // what is in them now; `files` has the good text
  // Fixed addresses of pods that were deleted, by name of the pod.
  struct Kept {
    std::vector<Ip> ips;
    Duration since{};
    int attempt = 0;  // of its last sandbox
  };
  std::map<std::string, Kept> kept;
  std::size_t racks = 0;  // addresses of the pool of that name
  // Services whose file was bad when the controller started: it never saw a good one, so nothing
  // has to be true of them before the file is good again.
  std::set<std::string> unknown_services;
  Duration quiet_since{};     // no fault of its own store, controller or their wires since
  Duration restored_at{-1h};  // its store, from a backup
  Duration cut_off_since{};   // from all others
  Duration cut_off_until{-1h};
  SimNode& node(const std::string& name);
};

// One pod as its runtime sees it: sandboxes come and go until one is attached.
struct RuntimePod {
  std::string name;
  SimCluster* cluster = nullptr;
  SimNode* node = nullptr;
  int attempt = 0;
  std::string container;     // the sandbox of now; empty: none
  bool attached = false;     // ADD was answered
  bool busy = false;         // a call is under way
  bool doomed = false;       // to be deleted
  bool pools_known = false;  // to the agent, when it was called
  bool leaving = false;      // DEL was called for this sandbox: whatever it had may be gone
  std::vector<Ip> ips;
  Duration called_at{};
  Duration attached_at{};
  std::uint64_t call = 0;
};

class SimFleet {
 public:
  explicit SimFleet(Options options);
  ~SimFleet();

  // Runs the whole story. False when something was violated.
  bool run();
  // Every process ends, and nothing of it is left.
  void bury_all();
  World& world() { return world_; }
  const World& world() const { return world_; }
  std::uint64_t faults() const { return faults_; }
  std::string shape() const;
  const std::map<std::string, std::uint64_t>& fault_counts() const { return fault_counts_; }
  const std::map<std::string, std::uint64_t>& asked() const { return asked_; }

 private:
  friend class Checks;
  // building (fleet.cpp)
  void build();
  void start_controller(SimCluster& cluster);
  void stop_controller(SimCluster& cluster);
  void start_agent(SimNode& node);
  void stop_agent(SimNode& node);
  void bury(std::unique_ptr<Life> life);
  void reap();
  Fleet plan() const;
  bool answers(const SimNode& asking, const Ip& ip) const;

  // users and runtimes (workload.cpp)
  void user_acts();
  void populate();
  void add_pod(SimNode& node);
  void add_pod(SimNode& node, const std::string& name, const std::string& app);
  std::size_t pods_in_racks(const SimCluster& cluster) const;
  std::string pod_to_come_back(const SimCluster& cluster);
  void write_pools(SimCluster& cluster);
  void comes_from_pool(const RuntimePod& pod, TruePod& facts);
  void fixed_returns(const RuntimePod& pod);
  void delete_pod();
  void change_pod();
  void change_service();
  void write_service(SimCluster& cluster, const std::string& name);
  void change_policy();
  void policy_changed(const SimCluster& cluster, const TruePolicy& policy);
  static std::string policy_key(const SimCluster& cluster, bool ingress,
                                const std::string& subject);
  void write_bad_file();
  void put_file(SimCluster& cluster, const std::string& file, std::string text);
  void remove_file(SimCluster& cluster, const std::string& file);
  void give_files(SimCluster& cluster);
  void advance_all(const SimNode& node);
  void advance(RuntimePod& pod);
  void call_runtime(RuntimePod& pod, cni::Command command);
  void answered(const std::string& key, std::uint64_t call, cni::Command command,
                const cni::Answer<json::object>& answer);
  bool is_unknown(const std::string& cluster, const std::string& service) const;
  void truth_changed();

  // faults (faults.cpp)
  void break_something();
  void break_mesh(SimCluster& cluster);
  void mesh_trouble(const std::string& a, const std::string& b, Duration until);
  void isolate(SimCluster& cluster);
  void set_isolated(SimCluster& cluster, bool isolated);
  Duration break_wire_only(Wire& wire, const std::string& what);
  void break_wire(SimCluster& cluster, Wire& wire, const std::string& what);
  void crash_controller(SimCluster& cluster);
  void crash_agent(SimNode& node);
  void break_store(SimCluster& cluster);
  void break_node(SimNode& node);
  void spoil_record(SimCluster& cluster);
  bool is_relied_on(const SimCluster& origin, const std::string& service) const;
  void jump_clock(SimCluster& cluster, SimNode& node);
  void note_fault(std::string_view kind, const std::string& what);
  void trouble(SimCluster& cluster, Duration until);
  void heal_all();

  Options options_;
  World world_;
  Logger log_;
  AddressRegistry registry_{world_};
  Lane users_{world_};
  std::vector<std::unique_ptr<SimCluster>> clusters_;
  std::list<std::unique_ptr<Life>> dead_;
  Truth truth_;
  std::map<std::string, RuntimePod> pods_;  // "CLUSTER/NAME"
  // "CLUSTER SERVICE BACKEND" -> since when it is true without a break.
  std::map<std::string, Duration> true_since_;
  // "CLUSTER in|out SUBJECT" -> when a policy of it was last written or deleted.
  std::map<std::string, Duration> policy_since_;
  std::map<std::string, Duration> links_quiet_since_;  // "A B": both ways, in alphabetical order
  std::map<std::string, int> spoiled_;  // records of this service that cannot be read now
  int next_pod_ = 1;
  std::size_t pods_per_node_ = 10;
  bool with_pools_ = false;  // pods of two apps take addresses of pools
  std::uint64_t faults_ = 0;
  std::map<std::string, std::uint64_t> fault_counts_;
  std::map<std::string, std::uint64_t> asked_;
  int calmness_ = 1;  // times longer between two faults
  int leisure_ = 1;   // times longer between two wishes of users
  std::unique_ptr<Checks> checks_;
  bool faults_over_ = false;
};

}  // namespace tombolo::sim
