// Whole clusters in one process: each has a store in memory, its tables and a ControllerSync that
// reads the others' stores. Time is real but short; tests wait for conditions.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "servicesync/controller/controller_sync.h"

namespace tombolo::controller {

using namespace std::chrono_literals;

inline Ip ip_of(std::string_view text) {
  return *Ip::parse(text);
}

// Stands for the parser of NetworkPolicy, which is another folder's: name, namespace, and one label
// of the pods that it isolates.
inline manifests::ForeignDecoders foreign_decoders() {
  manifests::ForeignDecoders decoders;
  decoders.network_policy = [](const Cursor& root) -> Result<Policy> {
    Policy policy;
    TRY(name, root["metadata"]["name"].string());
    TRY(name_space, root["metadata"]["namespace"].string_or("default"));
    TRY(role, root["spec"]["podSelector"]["matchLabels"]["name"].string());
    policy.name = std::move(name);
    policy.name_space = std::move(name_space);
    policy.subjects.requirements = {{"name", LabelOperator::kIn, {std::move(role)}}};
    policy.isolates_ingress = true;
    return policy;
  };
  return decoders;
}

struct Fleet {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  Worker worker;
};

// One life of a controller. The store outlives it.
class Life {
 public:
  Life(Fleet& fleet, ControllerSettings settings, MemoryStore& store)
      : fleet_(fleet),
        kv_(store),
        tasks_(fleet.drive.executor()),
        attachments_(tables.attachments.take_writer("test")),
        plan_(tables.plan_blocks.take_writer("test")),
        reach_(tables.node_reach.take_writer("test")),
        sync(std::move(settings), tables, tables.status.take_writer("test"), kv_, fleet.worker,
             tasks_, *fleet.clock, *fleet.rng, Logger()) {}
  ~Life() {
    tasks_.cancel();
    fleet_.drive.until([&] { return tasks_.size() == 0; });
  }

 private:
  Fleet& fleet_;
  MemoryKv kv_;
  TaskGroup tasks_;

 public:
  ControllerTables tables;

 private:
  Table<Attachment>::Writer attachments_;
  Table<PlanBlock>::Writer plan_;
  Table<NodeReach>::Writer reach_;

 public:
  ControllerSync sync;
  std::map<std::string, MemoryKv*> wires;  // to the remotes

  // As the daemon's own tasks: they end with the life.
  void spawn(std::string name, asio::awaitable<void> task) {
    tasks_.spawn(std::move(name), std::move(task));
  }
  void set_plan(const std::vector<PlanBlock>& blocks) {
    for (const PlanBlock& block : blocks) plan_.upsert(block);
    plan_.mark_synced();
  }
  void drop_from_plan(const PlanBlock& block) { plan_.erase(block.key()); }
  void attach(const std::string& pod, const std::string& node, const std::vector<Ip>& ips) {
    Attachment attachment;
    attachment.container_id = "c-" + pod;
    attachment.interface_name = "eth0";
    attachment.name_space = "default";
    attachment.pod_name = pod;
    attachment.node = node;
    attachment.ips = ips;
    attachments_.upsert(std::move(attachment));
  }
  void detach(const std::string& pod) { attachments_.erase("c-" + pod + "/eth0"); }
  void attachments_synced() { attachments_.mark_synced(); }
  void apply(const std::string& file, const std::string& text) {
    auto objects = manifests::decode_objects(text, file, foreign_decoders());
    INFO((objects ? std::string() : objects.error().what));
    REQUIRE(objects);
    sync.set_objects(file, std::move(objects));
  }
  void link(const std::string& name, std::uint32_t id, MemoryStore& store, bool connected = true) {
    auto wire = std::make_unique<MemoryKv>(store);
    wire->set_connected(connected);
    wires[name] = wire.get();
    REQUIRE(sync.add_remote(name, id, std::move(wire)));
  }
  // What an agent of this cluster says of another's nodes.
  void reach(const std::string& cluster, std::uint32_t asked, std::uint32_t answered) {
    reach_.upsert({"e1", cluster, asked, answered});
  }
  RemoteState state_of(const std::string& cluster) const {
    const RemoteCluster* row = tables.remote_clusters.find(cluster);
    return row == nullptr ? RemoteState::kConnecting : row->state;
  }
  const Frontend* frontend(const std::string& key) const { return tables.frontends.find(key); }
};

struct Cluster {
  Cluster(Fleet& the_fleet, std::string the_name, std::uint32_t the_id)
      : fleet(the_fleet),
        name(std::move(the_name)),
        id(the_id),
        store(fleet.drive.executor(), id) {}
  Fleet& fleet;
  std::string name;
  std::uint32_t id;
  MemoryStore store;
  MemoryKv kv{store};
  std::unique_ptr<Life> life;

  ControllerSettings settings() const {
    ControllerSettings settings;
    settings.cluster = name;
    settings.cluster_id = id;
    settings.retry_base = 1ms;
    settings.retry_cap = 4ms;
    settings.progress_interval = 5ms;
    settings.heartbeat = 5ms;
    settings.foreign = foreign_decoders();
    return settings;
  }
  std::vector<PlanBlock> plan() const {
    return {
        {name, BlockUse::kService, *Prefix::parse(fmt::format("10.{}.0.0/16", 100 + id)), 0},
        {name, BlockUse::kService, *Prefix::parse(fmt::format("fd{:02}::/112", id)), 0},
        {name, BlockUse::kLoadBalancer, *Prefix::parse(fmt::format("10.{}.0.0/24", 150 + id)), 0},
        {name, BlockUse::kLoadBalancer, *Prefix::parse(fmt::format("fd{:02}:1b::/112", id)), 0},
        {"", BlockUse::kClusterset, *Prefix::parse("10.200.0.0/16"), 0},
        {"", BlockUse::kClusterset, *Prefix::parse("fd77::/96"), 0}};
  }
  // A controller that has not started; start() begins it with the plan and the attachments synced.
  Life& born() {
    life.reset();
    life = std::make_unique<Life>(fleet, settings(), store);
    return *life;
  }
  void start() {
    life->set_plan(plan());
    life->attachments_synced();
    life->sync.start();
  }
  std::string value(const std::string& key) {
    auto found = fleet.drive.run(kv.get(key));
    REQUIRE(found);
    return *found ? (*found)->value : "";
  }
  // "10.1.0.1 10.2.0.1" of a frontend, in the table and in the store alike; "-" when there is none.
  std::string backends(const std::string& key) {
    auto found = fleet.drive.run(kv.get(fmt::format("{}{}", records::kFrontendsPrefix, key)));
    REQUIRE(found);
    const Frontend* row = life->frontend(key);
    if (row == nullptr || !*found) return row == nullptr && !*found ? "-" : "not yet";
    auto stored = records::decode_frontend(**found);
    if (!stored || *stored != *row) return "not yet";
    std::string text;
    for (const Backend& backend : row->backends)
      if (backend.state == BackendState::kActive)
        text += fmt::format("{}{}", text.empty() ? "" : " ", backend.ip.str());
    return text;
  }
  bool becomes(const std::string& key, const std::string& wanted) {
    return fleet.drive.until([&] { return backends(key) == wanted; }, 10s);
  }
  std::string status(const std::string& key) const {
    const ReconcileStatus* line = life->tables.status.find(key);
    return line == nullptr ? "" : line->error;
  }
};

// Two clusters that know each other, each with a deployment of one pod.
struct Pair {
  Fleet fleet;
  Cluster east{fleet, "east", 1};
  Cluster west{fleet, "west", 2};

  void start() {
    for (Cluster* cluster : {&east, &west}) cluster->born();
    east.life->attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
    west.life->attach("rebel-base-1", "w1", {ip_of("10.2.0.1")});
    east.life->link("west", 2, west.store);
    west.life->link("east", 1, east.store);
    east.start();
    west.start();
  }
  ~Pair() {
    east.life.reset();
    west.life.reset();
  }
};

inline std::string deployment(int replicas) {
  return fmt::format(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: rebel-base}}
spec:
  replicas: {}
  selector: {{matchLabels: {{name: rebel-base}}}}
  template:
    metadata: {{labels: {{name: rebel-base}}}}
    spec: {{containers: [{{name: c, ports: [{{name: http, containerPort: 80}}]}}]}}
)",
                     replicas);
}

inline std::string service(const std::string& annotations, const std::string& more = "") {
  return fmt::format(R"(
apiVersion: v1
kind: Service
metadata:
  name: rebel-base
  annotations: {{{}}}
spec: {{selector: {{name: rebel-base}}, ports: [{{port: 80}}]{}}}
)",
                     annotations, more);
}

inline const std::string kGlobal = "io.cilium/global-service: \"true\"";
inline const std::string kBase = "default/rebel-base";

}  // namespace tombolo::controller
