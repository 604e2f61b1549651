// What breaks: each fault is drawn from the seed, lasts for a while and heals by itself; at the end
// of the active part everything is healed at once.
#include "tests/sim/fleet.h"

namespace tombolo::sim {
namespace {

void heal_node(SimNode& node) {
  node.kernel.disk.full = false;
  node.kernel.known.full = false;
  node.kernel.net.refuse = 0;
  node.kernel.maps.refuse = 0;
  node.kernel.policy.refuse = 0;
}

}  // namespace

void SimFleet::note_fault(std::string_view kind, const std::string& what) {
  ++faults_;
  ++fault_counts_[std::string(kind)];
  world_.trace(fmt::format("FAULT {}: {}", kind, what));
}

// The cluster's own control plane is not well until then.
void SimFleet::trouble(SimCluster& cluster, Duration until) {
  cluster.quiet_since = std::max(cluster.quiet_since, until);
}

void SimFleet::break_something() {
  if (faults_over_) return;
  SimCluster& cluster = *clusters_[world_.below(clusters_.size())];
  SimNode& node = *cluster.nodes[world_.below(cluster.nodes.size())];
  switch (world_.below(23)) {
    case 0:
    case 1:
      break_mesh(cluster);
      break;
    case 2:
    case 3:
    case 4:
      isolate(cluster);
      break;
    case 5:
    case 6:
      break_wire_only(node.wire, node.name + " to its store");
      break;
    case 7:
      break_wire(cluster, cluster.wire, cluster.facts.name + " controller to its store");
      break;
    case 8:
    case 9:
      crash_controller(cluster);
      break;
    case 10:
    case 11:
    case 12:
      crash_agent(node);
      break;
    case 13:
    case 14:
      break_store(cluster);
      break;
    case 15:
    case 16:
      break_node(node);
      break;
    case 17:
    case 18:
    case 19:
    case 20:
    case 21:
      spoil_record(cluster);
      break;
    default:
      jump_clock(cluster, node);
  }
  world_.after(world_.between(200ms, 4s) * calmness_, [this] { break_something(); });
}

// One direction between two clusters' control planes: cut, one-way, slow, lossy, reset.
void SimFleet::break_mesh(SimCluster& cluster) {
  auto at =
      std::next(cluster.to.begin(), static_cast<std::ptrdiff_t>(world_.below(cluster.to.size())));
  Duration until =
      break_wire_only(*at->second, cluster.facts.name + " to the store of " + at->first);
  mesh_trouble(cluster.facts.name, at->first, until);
}

void SimFleet::mesh_trouble(const std::string& a, const std::string& b, Duration until) {
  Duration& quiet = links_quiet_since_[a < b ? a + " " + b : b + " " + a];
  quiet = std::max(quiet, until);
}

// Everything between this cluster and the others, nodes too: it is lost to them, and they to it.
void SimFleet::isolate(SimCluster& cluster) {
  Duration lasts = world_.between(6s, 20s);
  note_fault("lost cluster",
             fmt::format("{} is cut off for {} ms", cluster.facts.name, lasts / 1ms));
  set_isolated(cluster, true);
  cluster.cut_off_until = world_.now() + lasts;
  cluster.cut_off_since = world_.now();
  for (auto& other : clusters_)
    if (other.get() != &cluster)
      mesh_trouble(cluster.facts.name, other->facts.name, world_.now() + lasts);
  SimCluster* one = &cluster;
  world_.after(lasts, [this, one] {
    if (one->cut_off_until > world_.now()) return;
    set_isolated(*one, false);
  });
}

void SimFleet::set_isolated(SimCluster& cluster, bool isolated) {
  world_.trace(fmt::format("{} is {}", cluster.facts.name, isolated ? "cut off" : "back"));
  for (auto& other : clusters_) {
    if (other.get() == &cluster) continue;
    bool up = !isolated && other->cut_off_until <= world_.now();
    Wire& out = *cluster.to.at(other->facts.name);
    Wire& in = *other->to.at(cluster.facts.name);
    out.isolated = in.isolated = !up;
    cluster.reaches[other->facts.name] = up;
    other->reaches[cluster.facts.name] = up;
  }
}

Duration SimFleet::break_wire_only(Wire& wire, const std::string& what) {
  Duration lasts = world_.between(200ms, 9s);
  wire.quiet_since = std::max(wire.quiet_since, world_.now() + lasts);
  switch (world_.below(6)) {
    case 0:
      note_fault("partition", what);
      wire.there = wire.back = false;
      break;
    case 1:
      note_fault("one-way partition", what + ", requests are lost");
      wire.there = false;
      break;
    case 2:
      note_fault("one-way partition", what + ", answers are lost");
      wire.back = false;
      break;
    case 3:
      note_fault("slow link", what);
      wire.delay = world_.between(50ms, 600ms);
      break;
    case 4:
      note_fault("lossy link", what);
      wire.loss = 0.3;
      break;
    default:
      note_fault("connections reset", what);
      ++wire.breaks;
      return world_.now() + 1s;
  }
  Wire* broken = &wire;
  world_.after(lasts, [this, broken, what] {
    world_.trace("healed: " + what);
    broken->heal();
    if (world_.chance(0.5)) ++broken->breaks;
  });
  return world_.now() + lasts;
}

void SimFleet::break_wire(SimCluster& cluster, Wire& wire, const std::string& what) {
  trouble(cluster, break_wire_only(wire, what));
}

void SimFleet::crash_controller(SimCluster& cluster) {
  if (!cluster.controller) return;
  Duration lasts = world_.between(100ms, 9s);
  note_fault("controller crash", cluster.facts.name);
  stop_controller(cluster);
  trouble(cluster, world_.now() + lasts);
  SimCluster* one = &cluster;
  world_.after(lasts, [this, one] { start_controller(*one); });
}

void SimFleet::crash_agent(SimNode& node) {
  if (!node.agent) return;
  note_fault("agent crash", node.name);
  stop_agent(node);
  SimNode* one = &node;
  world_.after(world_.between(50ms, 6s), [this, one] { start_agent(*one); });
}

void SimFleet::break_store(SimCluster& cluster) {
  SimStore& store = cluster.store;
  SimCluster* one = &cluster;
  Duration lasts = world_.between(300ms, 8s);
  switch (world_.below(7)) {
    case 0:
      note_fault("store crash", cluster.facts.name);
      store.down = true;
      store.restart();
      trouble(cluster, world_.now() + lasts);
      world_.after(lasts, [one] { one->store.down = false; });
      break;
    case 1:
      note_fault("store disk full", cluster.facts.name);
      store.disk_full = true;
      trouble(cluster, world_.now() + lasts);
      world_.after(lasts, [one] { one->store.disk_full = false; });
      break;
    case 2:
      note_fault("compaction", cluster.facts.name);
      store.compact();
      break;
    case 3:
    case 4:
      world_.trace(fmt::format("{} store is backed up", cluster.facts.name));
      store.save_backup();
      break;
    default:
      if (!store.has_backup()) return;
      note_fault("restored store", cluster.facts.name);
      store.restore_backup();
      cluster.restored_at = world_.now();
      trouble(cluster, world_.now() + 35s);
  }
}

void SimFleet::break_node(SimNode& node) {
  SimNode* one = &node;
  Duration lasts = world_.between(300ms, 5s);
  switch (world_.below(3)) {
    case 0:
      note_fault("full disk", node.name);
      node.kernel.disk.full = true;
      node.kernel.known.full = true;
      break;
    case 1:
      note_fault("kernel refuses", node.name);
      node.kernel.net.refuse = 0.3;
      break;
    default:
      note_fault("map writes refused", node.name);
      node.kernel.maps.refuse = 0.3;
      node.kernel.policy.refuse = 0.3;
  }
  node.troubled_until = std::max(node.troubled_until, world_.now() + lasts);
  world_.after(lasts, [one] { heal_node(*one); });
}

bool SimFleet::is_relied_on(const SimCluster& origin, const std::string& service) const {
  std::string wanted = fmt::format("{} {} ", service, origin.facts.name);
  for (const auto& cluster : clusters_)
    for (const auto& node : cluster->nodes)
      for (const auto& [backend, since] : node->steady)
        if (cluster.get() != &origin && backend.starts_with(wanted)) return true;
  return false;
}

// A record that other clusters read becomes unreadable for a while: what it said before stays.
void SimFleet::spoil_record(SimCluster& cluster) {
  RangeRequest request;
  request.key = "cilium/state/services/";
  request.range_end = prefix_end(request.key);
  auto records = cluster.store.memory().range(request);
  ENSURE(records, "{}", records.error().what);
  // Rather one that somebody has relied on for long.
  std::vector<KeyValue> candidates;
  for (const KeyValue& kv : records->kvs)
    if (is_relied_on(cluster, kv.key.substr(kv.key.rfind('/') + 1))) candidates.push_back(kv);
  if (candidates.empty()) candidates = records->kvs;
  if (candidates.empty()) return;
  KeyValue good = candidates[world_.below(candidates.size())];
  if (good.value == kBroken) return;
  note_fault("bad record", good.key);
  std::string service = good.key.substr(good.key.rfind('/') + 1);
  ++spoiled_[service];
  cluster.store.write_past(good.key, std::string(kBroken), good.lease);
  SimCluster* one = &cluster;
  auto broken = cluster.store.memory().range({good.key});
  std::int64_t written = broken && !broken->kvs.empty() ? broken->kvs.front().mod_revision : 0;
  // Only what this fault broke: behind a newer one the good value is another.
  world_.after(world_.between(1s, 6s), [this, one, good, written, service] {
    --spoiled_[service];
    auto now = one->store.memory().range({good.key});
    if (!now || now->kvs.empty() || now->kvs.front().mod_revision != written) return;
    one->store.write_past(good.key, good.value, now->kvs.front().lease);
  });
}

// Wall clocks jump; the monotonic clock never does.
void SimFleet::jump_clock(SimCluster& cluster, SimNode& node) {
  Duration by = world_.between(-2h, 2h);
  bool controller = world_.chance(0.5);
  note_fault("clock jump", controller ? cluster.facts.name : node.name);
  (controller ? cluster.machine : node.machine).clock.wall_offset += by;
}

void SimFleet::heal_all() {
  world_.trace("everything is healed");
  for (auto& cluster : clusters_) {
    cluster->cut_off_until = world_.now();
    for (auto& [name, wire] : cluster->to) {
      wire->heal();
      wire->isolated = false;
    }
    for (auto& [name, reached] : cluster->reaches) reached = true;
    cluster->wire.heal();
    cluster->store.down = false;
    cluster->store.disk_full = false;
    auto files = cluster->files;
    for (const auto& [file, text] : std::exchange(cluster->bad_files, {}))
      put_file(*cluster, file, files.at(file));
    start_controller(*cluster);
    for (auto& node : cluster->nodes) {
      node->wire.heal();
      heal_node(*node);
      start_agent(*node);
    }
  }
}

}  // namespace tombolo::sim
