// Building a fleet from a seed, and the lives of its processes.
#include "tests/sim/fleet.h"

#include "core/yaml.h"
#include "tests/sim/checks.h"

namespace tombolo::sim {
namespace {

constexpr std::array kNames{"amber", "birch", "coral", "delta", "ember"};
constexpr Duration kActive = 40s;    // users act and things break
constexpr Duration kPatience = 90s;  // then all is healed and has to agree
constexpr Duration kStartTogether = 3s;

config::v1::DaemonConfig config_of(const ClusterFacts& facts, const std::string& node, int number) {
  config::v1::DaemonConfig config;
  config.add_roles(config::v1::ROLE_AGENT);
  config.mutable_cluster()->set_name(facts.name);
  config.mutable_cluster()->set_id(facts.id);
  config.mutable_node()->set_name(node);
  config.mutable_node()->add_addresses(fmt::format("172.16.{}.{}", facts.id, number + 10));
  config.mutable_cluster()->set_identity_cluster_bits(8);
  return config;
}

}  // namespace

SimNode& SimCluster::node(const std::string& name) {
  for (auto& node : nodes)
    if (node->name == name) return *node;
  ENSURE(false, "no node {}", name);
  return *nodes.front();
}

SimFleet::SimFleet(Options options)
    : options_(options),
      world_(options.seed),
      log_(options.log ? make_logger(LogLevel::kDebug, false) : Logger()) {
  world_.print_trace(options.print_trace);
  build();
}

SimFleet::~SimFleet() {
  bury_all();
}

void SimFleet::bury_all() {
  for (auto& cluster : clusters_) {
    stop_controller(*cluster);
    for (auto& node : cluster->nodes) stop_agent(*node);
  }
  // After a violation the queue stands still; the dead still have to be buried.
  world_.forget_violation();
  for (int round = 0; round < 1000 && !dead_.empty(); ++round) {
    world_.run_until(world_.now() + 10ms);
    reap();
  }
  ENSURE(dead_.empty(), "a process does not end");
}

void SimFleet::build() {
  // Small blocks come round to addresses that were used before.
  if (world_.chance(0.4)) pods_per_node_ = 4;
  with_pools_ = world_.chance(0.6);
  // In a storm everything meets everything; in calmer weather a single fault has to go unnoticed.
  constexpr std::array kCalmness{1, 3, 10};
  calmness_ = kCalmness[world_.below(kCalmness.size())];
  constexpr std::array kLeisure{1, 2, 5};
  leisure_ = kLeisure[world_.below(kLeisure.size())];
  std::size_t count = 2 + (world_.chance(0.4) ? world_.below(4) : world_.below(2));
  for (std::size_t i = 0; i < count; ++i) {
    auto cluster = std::make_unique<SimCluster>(
        world_, ClusterFacts{kNames[i], static_cast<std::uint32_t>(i + 1)});
    std::size_t nodes = 1 + (world_.chance(0.3) ? world_.below(4) : world_.below(2));
    for (std::size_t n = 0; n < nodes; ++n) {
      std::string name = fmt::format("{}{}", kNames[i], n + 1);
      auto node = std::make_unique<SimNode>(world_, registry_, *cluster, name, options_.mistake);
      node->config = config_of(cluster->facts, name, static_cast<int>(n));
      node->wire.set_delay(world_.between(100us, 2ms));
      cluster->nodes.push_back(std::move(node));
    }
    cluster->wire.set_delay(world_.between(100us, 1ms));
    cluster->store.lose_writes = options_.mistake == Mistake::kLoseStoreWrite;
    truth_.clusters[cluster->facts.name];
    clusters_.push_back(std::move(cluster));
  }
  for (auto& cluster : clusters_)
    for (auto& other : clusters_) {
      if (cluster == other) continue;
      auto wire = std::make_unique<Wire>();
      wire->set_delay(world_.between(1ms, 60ms));
      cluster->to[other->facts.name] = std::move(wire);
      cluster->reaches[other->facts.name] = true;
    }
  world_.trace(fmt::format("seed {}: {}", options_.seed, shape()));
}

std::string SimFleet::shape() const {
  std::string text;
  for (const auto& cluster : clusters_)
    text += fmt::format("{}{} with {} nodes", text.empty() ? "" : ", ", cluster->facts.name,
                        cluster->nodes.size());
  return fmt::format("{}, {} pods per node{}, calmness {}, leisure {}", text, pods_per_node_,
                     with_pools_ ? ", with pools" : "", calmness_, leisure_);
}

// The fleet file that every controller is given.
Fleet SimFleet::plan() const {
  std::string text =
      "fleet: sim\nfamilies: [ipv4]\nregions: [{name: here, cloud: on-prem}]\n"
      "address_space: [{cidr: 10.0.0.0/8}]\nclusterset: {services: 100}\nclusters:\n";
  for (const auto& cluster : clusters_)
    text += fmt::format(
        "- {{name: {}, id: {}, region: here, nodes: 8, pods_per_node: {}, services: 50}}\n",
        cluster->facts.name, cluster->facts.id, pods_per_node_);
  auto documents = parse_yaml(text, "fleet.yaml");
  ENSURE(documents, "{}", documents.error().what);
  auto fleet = parse_fleet(documents->front());
  ENSURE(fleet, "{}", fleet.error().what);
  return *fleet;
}

// ---- lives

// A machine answers though its daemons are dead.
bool SimFleet::answers(const SimNode& asking, const Ip& ip) const {
  if (options_.mistake == Mistake::kKeepLostCluster) return true;
  for (const auto& cluster : clusters_)
    for (const auto& node : cluster->nodes)
      if (node->config.node().addresses(0) == ip.str())
        return cluster.get() == &asking.cluster || asking.cluster.reaches.at(cluster->facts.name);
  return false;
}

void SimFleet::start_controller(SimCluster& cluster) {
  if (cluster.controller) return;
  world_.trace(fmt::format("{} controller starts", cluster.facts.name));
  cluster.controller = std::make_unique<ControllerLife>(
      world_, cluster.machine, cluster.facts, cluster.store, cluster.wire, options_.mistake, log_);
  cluster.controller_since = world_.now();
  for (auto& other : clusters_)
    if (other != nullptr && other.get() != &cluster)
      cluster.controller->link(other->facts, other->store, *cluster.to.at(other->facts.name));
  // What it cannot read at its start it never knew: it has nothing to keep.
  for (const auto& [service, records] : spoiled_)
    if (records > 0) cluster.unknown_services.insert(service);
  give_files(cluster);
  cluster.controller->start(plan());
}

void SimFleet::stop_controller(SimCluster& cluster) {
  if (!cluster.controller) return;
  world_.trace(fmt::format("{} controller ends", cluster.facts.name));
  bury(std::move(cluster.controller));
}

void SimFleet::start_agent(SimNode& node) {
  if (node.agent) return;
  world_.trace(fmt::format("{} agent starts", node.name));
  node.agent = std::make_unique<AgentLife>(
      world_, node.machine, node.config, node.kernel, node.cluster.store, node.wire,
      [this, &node](const Ip& ip) { return answers(node, ip); }, options_.mistake, log_);
  AgentLife* life = node.agent.get();
  life->start([this, &node, life](Result<void> started) {
    if (node.agent.get() != life) return;
    world_.trace(
        fmt::format("{} serves CNI: {}", node.name, started ? "ok" : started.error().text()));
    if (!started) {
      // systemd starts it again.
      world_.after(1s, [this, &node, life] {
        if (node.agent.get() != life) return;
        stop_agent(node);
        world_.after(1s, [this, &node] { start_agent(node); });
      });
      return;
    }
    node.serving = true;
    node.serving_since = world_.now();
    advance_all(node);
  });
}

void SimFleet::stop_agent(SimNode& node) {
  if (!node.agent) return;
  world_.trace(fmt::format("{} agent ends", node.name));
  node.serving = false;
  node.kernel.zones = nullptr;
  for (auto& [key, pod] : pods_) {
    if (pod.node != &node || !pod.busy) continue;
    // Its answer was lost: the runtime does not know what became of it.
    pod.busy = false;
    ++pod.call;
  }
  bury(std::move(node.agent));
}

void SimFleet::bury(std::unique_ptr<Life> life) {
  life->kill();
  dead_.push_back(std::move(life));
  world_.after(5ms, [this] { reap(); });
}

void SimFleet::reap() {
  std::erase_if(dead_, [](const std::unique_ptr<Life>& life) { return life->gone(); });
  if (!dead_.empty()) world_.after(5ms, [this] { reap(); });
}

// ---- the story

bool SimFleet::run() {
  for (auto& cluster : clusters_) {
    SimCluster* one = cluster.get();
    world_.after(world_.between(0s, kStartTogether), [this, one] { start_controller(*one); });
    for (auto& node : cluster->nodes) {
      SimNode* its = node.get();
      world_.after(world_.between(0s, kStartTogether), [this, its] { start_agent(*its); });
    }
  }
  checks_ = std::make_unique<Checks>(*this);
  checks_->start();
  world_.after(1s, [this] {
    populate();
    user_acts();
  });
  world_.after(world_.between(4s, 10s), [this] { break_something(); });
  if (!world_.run_until(kActive)) return false;
  faults_over_ = true;
  heal_all();
  Duration deadline = world_.now() + kPatience;
  std::string wrong = "nothing was looked at";
  int agreed = 0;
  while (world_.now() < deadline) {
    if (!world_.run_until(world_.now() + 500ms)) return false;
    wrong = checks_->disagreement();
    agreed = wrong.empty() ? agreed + 1 : 0;
    if (agreed == 4) break;
  }
  if (!wrong.empty())
    world_.violate("quiet", fmt::format("{} after {} s without a fault: {}",
                                        "world, tables and sources differ", kPatience / 1s, wrong));
  world_.trace(fmt::format("end: {} faults, {} events", faults_, world_.events()));
  return !world_.violation();
}

}  // namespace tombolo::sim
