// The processes of the fleet: controllers and agents composed of the real parts as app/daemon
// composes them, over simulated ports. A process can end at any moment; what it leaves is what the
// ports kept. Each has a machine of its own: a lane (its control thread) and a wall clock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/daemon/agent_policy.h"
#include "app/daemon/block_assigner.h"
#include "app/daemon/ip_records.h"
#include "app/daemon/node_probes.h"
#include "app/daemon/node_records.h"
#include "app/daemon/plan_keeper.h"
#include "app/daemon/policy_inputs.h"
#include "core/store/mirror.h"
#include "core/worker.h"
#include "dns/dns.h"
#include "ipamd/allocator/block_routes.h"
#include "ipamd/cni/service.h"
#include "servicesync/controller/controller_sync.h"
#include "tests/sim/guard.h"
#include "tests/sim/kernel.h"
#include "tests/sim/known.h"
#include "tests/sim/pools.h"
#include "tests/sim/store.h"

namespace tombolo::sim {

struct Machine {
  explicit Machine(World& world) : lane{world}, clock(world) {}
  Lane lane;
  SimClock clock;
};

// What every life of a process has.
class Life {
 public:
  Life(World& world, Machine& machine)
      : world_(world),
        machine_(machine),
        rng_(make_seeded_rng(world.rng().next())),
        tasks_(LaneExecutor(machine.lane)) {}
  virtual ~Life() = default;
  // From now on nothing of it reaches the world; its coroutines end within a few events.
  void kill() {
    *alive_ = false;
    tasks_.cancel();
  }
  bool gone() const { return tasks_.size() == 0; }
  const Alive& alive() const { return alive_; }
  TaskGroup& tasks() { return tasks_; }

 protected:
  std::unique_ptr<Worker> worker() { return std::make_unique<Worker>(LaneExecutor(machine_.lane)); }
  World& world_;
  Machine& machine_;
  Alive alive_ = std::make_shared<bool>(true);
  std::unique_ptr<Rng> rng_;
  TaskGroup tasks_;
};

struct ClusterFacts {
  std::string name;
  std::uint32_t id = 0;
};

class ControllerLife final : public Life {
 public:
  ControllerLife(World& world, Machine& machine, const ClusterFacts& facts, SimStore& store,
                 Wire& wire, Mistake mistake, Logger log);
  void link(const ClusterFacts& other, SimStore& store, Wire& wire);
  // What its folder of manifests has under this name.
  void give_file(const std::string& file, const std::string& text);
  // After give_file and link for everything that is known.
  void start(Fleet plan);

  ControllerTables tables;

 private:
  asio::awaitable<void> apply_plan(Fleet plan);

  Mistake mistake_;
  SimKv kv_;
  Table<ReconcileStatus>::Writer status_;
  RoleContext context_;
  std::unique_ptr<Worker> worker_;
  PlanKeeper plan_;
  KvMirror<NodeBlock> block_mirror_;
  KvMirror<Node> node_mirror_;
  KvMirror<Attachment> lease_mirror_;
  KvMirror<NodeReach> reach_mirror_;
  BlockAssigner assigner_;
  ControllerPools pools_;

 public:
  controller::ControllerSync sync;
};

// The state of a node that outlives its agent.
struct NodeKernel {
  NodeKernel(World& world, AddressRegistry& registry, const std::string& name, Mistake mistake)
      : policy(world, name, mistake),
        net(world, registry, name, mistake),
        maps(world, name, mistake),
        disk(world, name, mistake),
        known(world) {
    policy.exists = [this](const std::string& interface) {
      return net.find("", interface) != nullptr;
    };
    net.is_guarded = [this](const std::string& interface) { return policy.guards(interface); };
  }
  // A new life of the agent: an earlier one reaches none of it any more.
  void attach(const Alive& life) {
    policy.attach(life);
    net.attach(life);
    maps.attach(life);
    disk.attach(life);
    known.attach(life);
  }
  SimPolicy policy;
  SimNet net;
  SimMaps maps;
  SimDisk disk;
  SimKnown known;
  std::shared_ptr<const dns::ZoneSet> zones;  // none while the agent is away
};

// Whether the machine with this address answers now, asked from one node.
using Answers = std::function<bool(const Ip&)>;

class SimProber final : public Prober {
 public:
  SimProber(World& world, Clock& clock, Answers answers)
      : world_(world), clock_(clock), answers_(std::move(answers)) {}
  asio::awaitable<Result<bool>> answers(Ip ip, Duration limit) override;

 private:
  World& world_;
  Clock& clock_;
  Answers answers_;
};

class AgentLife final : public Life {
 public:
  AgentLife(World& world, Machine& machine, const config::v1::DaemonConfig& config,
            NodeKernel& kernel, SimStore& store, Wire& wire, Answers answers, Mistake mistake,
            Logger log);
  ~AgentLife() override;
  // `ready` is called when CNI is served, or with what keeps it from that.
  void start(std::function<void(Result<void>)> ready);

  using Reply = std::function<void(cni::Answer<json::object>)>;
  // The answer comes unless the process ends before.
  void call(cni::Call call, Reply reply);

  const LeaseBook& book() const { return cni_.book(); }
  AgentTables tables;

 private:
  class Balancer;
  asio::awaitable<void> run(std::function<void(Result<void>)> ready);
  asio::awaitable<void> serve(cni::Call call, Reply reply);

  void serve_known_names();

  NodeKernel& kernel_;  // everything in it serves this life from now on
  SimKv kv_;
  Table<ReconcileStatus>::Writer status_;
  RoleContext context_;
  Settling settling_;
  KvMirror<NodeBlock> block_mirror_;
  KvMirror<Node> node_mirror_;
  KvMirror<Frontend> frontend_mirror_;
  KvMirror<LocalPod> pod_mirror_;
  NodeRecords records_;
  IpRecords ip_records_;
  SimProber prober_;
  NodeProbes probes_;
  PolicyInputs inputs_;
  SimGuard guard_;
  AgentPolicy policy_;
  AgentPools pools_;
  CniService cni_;
  std::unique_ptr<Worker> route_worker_;
  BlockRouteOperations route_operations_;
  Reconciler<Node> routes_;
  std::unique_ptr<Balancer> balancer_;
  std::unique_ptr<Reconciler<Frontend>> balancing_;
  std::unique_ptr<dns::ZonePublisher> zones_;
  std::unique_ptr<Reconciler<Frontend>> naming_;
};

}  // namespace tombolo::sim
