// The invariants. Each has a moment from which on it is fair to ask: faults of the cluster's own
// control plane delay it, faults of others must not.
#include "tests/sim/checks.h"

#include "core/records/records.h"

namespace tombolo::sim {
namespace {

constexpr Duration kSample = 100ms;
constexpr int kPolicyEvery = 5;
constexpr Duration kSteady = 15s;        // true for so long: it must be in the maps, and stay
constexpr Duration kAfterTrouble = 15s;  // back-off ends at 10 s
constexpr Duration kLocalChange = 8s;
constexpr Duration kReportLease = 15s;  // of NodeProbes
constexpr Duration kLossSeen = 7s;      // 3 s of silence, probes, derivation, watches, jitter

std::string service_of(const std::string& frontend_key) {
  return frontend_key.substr(frontend_key.find('/') + 1);
}

std::string address_of(const std::string& pair) {
  return pair.substr(pair.rfind(' ') + 1);
}

std::string join(const std::set<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text.empty() ? "nothing" : text;
}

}  // namespace

void Checks::start() {
  for (auto& cluster : fleet_.clusters_)
    for (auto& node : cluster->nodes) {
      SimNode* one = node.get();
      one->kernel.net.goes_up = [this, one](const std::string& name) { goes_up(*one, name); };
    }
  sample_later();
}

void Checks::sample_later() {
  world_.after(kSample, [this] {
    sample();
    sample_later();
  });
}

void Checks::sample() {
  if (++samples_ % kPolicyEvery == 0) policy_holds();
  for (auto& cluster : fleet_.clusters_) {
    if (cluster->controller) {
      auto& known = addresses_[cluster->facts.name];
      for (const auto& [key, row] : cluster->controller->tables.frontends.rows())
        for (const Ip& ip : row.row.cluster_ips) known[service_of(key)] = ip.str();
      bounded(*cluster);
      bad_files_are_named(*cluster);
    }
    for (auto& node : cluster->nodes) {
      if (!node->agent || !node->serving) continue;
      acknowledged_stays(*node);
      Backends seen = seen_in_maps(*cluster, *node);
      lost_clusters_leave(*cluster, *node, seen);
      local_goes_on(*cluster, *node, seen);
      nothing_true_leaves(*cluster, *node, seen);
    }
  }
}

// No trouble of the cluster's own control plane between `since` ago and now.
bool Checks::calm(const SimCluster& cluster, Duration since) const {
  return cluster.controller && world_.now() - cluster.controller_since > since &&
         world_.now() - cluster.quiet_since > since;
}

// ---- 2

void Checks::acknowledged_stays(SimNode& node) {
  for (const auto& [key, pod] : fleet_.pods_) {
    if (pod.node != &node || !pod.attached || pod.leaving) continue;
    std::string attachment = object_key(pod.container, "eth0");
    auto lease = node.agent->book().find(attachment);
    const InterfaceState* state = node.kernel.net.find("/run/netns/" + pod.container, "eth0");
    if (!lease)
      return world_.violate("2 acknowledged stays",
                            fmt::format("{} has no lease of {}", node.name, attachment));
    if (lease->attachment.ips != pod.ips)
      return world_.violate("2 acknowledged stays",
                            fmt::format("{} changed the addresses of {}", node.name, attachment));
    if (state == nullptr || !state->up)
      return world_.violate("2 acknowledged stays",
                            fmt::format("{} took the interface of {}", node.name, attachment));
    if (node.agent->tables.attachments.find(attachment) == nullptr)
      return world_.violate("2 acknowledged stays",
                            fmt::format("{} forgot the attachment {}", node.name, attachment));
  }
}

// ---- 3

// An agent that dies before it could report silence has the last word until its lease is over.
Duration Checks::loss_seen_after(const SimCluster& cluster, const SimCluster& lost) {
  for (const auto& node : cluster.nodes)
    if (!node->serving || node->serving_since > lost.cut_off_since ||
        node->wire.quiet_since + 12s > lost.cut_off_since)
      return kLossSeen + kReportLease;
  return kLossSeen;
}

void Checks::lost_clusters_leave(SimCluster& cluster, SimNode& node, const Backends& seen) {
  if (!calm(cluster, kAfterTrouble) || node.troubled_until + 12s > world_.now() ||
      world_.now() - node.serving_since < 5s)
    return;
  for (const auto& other : fleet_.clusters_) {
    if (other.get() == &cluster || cluster.cut_off_until > world_.now()) continue;
    bool lost = other->cut_off_until > world_.now() &&
                world_.now() - other->cut_off_since > loss_seen_after(cluster, *other) &&
                node.wire.quiet_since + 12s < world_.now();
    if (!lost) continue;
    ++fleet_.asked_["lost clusters"];
    for (const auto& [service, backends] : seen) {
      // What an earlier life published of it stays as it was until its file is good.
      if (cluster.unknown_services.contains(service)) continue;
      for (const auto& [name, pod] : fleet_.truth_.clusters.at(other->facts.name).pods)
        for (const Ip& ip : pod.ips)
          if (backends.contains(ip.str() + ":8080"))
            return world_.violate(
                "3 lost clusters leave",
                fmt::format("{} still leads {} to {} of {}, which is cut off for {} ms", node.name,
                            service, ip.str(), other->facts.name,
                            (world_.now() - other->cut_off_since) / 1ms));
    }
  }
}

// ---- 4

void Checks::local_goes_on(SimCluster& cluster, SimNode& node, const Backends& seen) {
  if (!calm(cluster, kAfterTrouble) || world_.now() - node.serving_since < kAfterTrouble ||
      node.troubled_until + kAfterTrouble > world_.now() ||
      node.wire.quiet_since + kAfterTrouble > world_.now())
    return;
  for (const auto& [key, since] : fleet_.true_since_) {
    if (world_.now() - since < kLocalChange) continue;
    std::string prefix = cluster.facts.name + " ";
    if (!key.starts_with(prefix)) continue;
    std::string service = key.substr(prefix.size(), key.find(' ', prefix.size()) - prefix.size());
    bool own = key.find(" " + prefix, prefix.size()) != std::string::npos;
    if (!own || cluster.bad_files.contains("service-" + service + ".yaml")) continue;
    if (own_are_second(cluster, service)) continue;
    // The pod's own node has to be able to say that it is there.
    if (!all_nodes_calm(cluster)) continue;
    ++fleet_.asked_["local backends"];
    auto known = seen.find(service);
    if (known == seen.end() || !known->second.contains(address_of(key)))
      return world_.violate(
          "4 local goes on",
          fmt::format("{} does not lead to the local backend {} of {} after {} ms", node.name,
                      address_of(key), service, (world_.now() - since) / 1ms));
  }
}

// With affinity remote, local backends wait for what other clusters say.
bool Checks::own_are_second(const SimCluster& cluster, const std::string& service) const {
  const auto& services = fleet_.truth_.clusters.at(cluster.facts.name).services;
  return services.at(service).affinity == Affinity::kRemote;
}

bool Checks::all_nodes_calm(const SimCluster& cluster) const {
  for (const auto& node : cluster.nodes)
    if (!node->serving || world_.now() - node->serving_since < kAfterTrouble ||
        node->troubled_until + kAfterTrouble > world_.now() ||
        node->wire.quiet_since + kAfterTrouble > world_.now())
      return false;
  return true;
}

// ---- 5

void Checks::nothing_true_leaves(SimCluster& cluster, SimNode& node, const Backends& seen) {
  std::map<std::string, Duration> steady;
  for (const auto& [key, since] : fleet_.true_since_) {
    std::string prefix = cluster.facts.name + " ";
    if (!key.starts_with(prefix)) continue;
    std::string rest = key.substr(prefix.size());
    std::string service = rest.substr(0, rest.find(' '));
    std::string origin = rest.substr(service.size() + 1, rest.rfind(' ') - service.size() - 1);
    bool there = seen.contains(service) && seen.at(service).contains(address_of(key));
    auto before = node.steady.find(rest);
    bool was = before != node.steady.end() && before->second == since;
    if (excused(cluster, origin)) continue;
    if (origin == cluster.facts.name && own_are_second(cluster, service)) continue;
    if (was) ++fleet_.asked_["steady backends"];
    if (was && !there)
      return world_.violate(
          "5 nothing true leaves",
          fmt::format("{} lost {} of {} from {}, true for {} ms", node.name, address_of(key),
                      service, origin, (world_.now() - since) / 1ms));
    bool settled = world_.now() - since > kSteady && undisturbed(cluster, origin, node);
    if (there && (was || settled)) steady[rest] = since;
  }
  node.steady = std::move(steady);
}

// A store put back from a backup says again what was true then; a lost cluster leaves.
bool Checks::excused(const SimCluster& cluster, const std::string& origin) const {
  for (const auto& other : fleet_.clusters_) {
    bool concerned = other.get() == &cluster || other->facts.name == origin;
    if (concerned && world_.now() - other->restored_at < 60s) return true;
    bool between = origin != cluster.facts.name && concerned;
    if (between && world_.now() - other->cut_off_until < 25s) return true;
  }
  return false;
}

// Whatever was under way has arrived.
bool Checks::undisturbed(const SimCluster& cluster, const std::string& origin,
                         const SimNode& node) const {
  if (node.wire.quiet_since + kSteady > world_.now()) return false;
  for (const auto& other : fleet_.clusters_) {
    bool concerned = other.get() == &cluster || other->facts.name == origin;
    if (!concerned) continue;
    if (!calm(*other, kSteady) || !all_nodes_calm(*other)) return false;
    auto link = cluster.to.find(other->facts.name);
    if (link != cluster.to.end() && link->second->quiet_since + kSteady > world_.now())
      return false;
  }
  return true;
}

// ---- 7, 8

void Checks::bounded(SimCluster& cluster) {
  std::size_t rows = 0;
  for_each_table(cluster.controller->tables, [&](const auto& table) { rows += table.size(); });
  if (rows > 5000)
    world_.violate("7 bounded", fmt::format("{} has {} rows", cluster.facts.name, rows));
  if (cluster.store.memory().leases() > 200)
    world_.violate("7 bounded", fmt::format("{} has {} leases in its store", cluster.facts.name,
                                            cluster.store.memory().leases()));
}

void Checks::bad_files_are_named(SimCluster& cluster) {
  if (world_.now() - cluster.controller_since < 1s) return;
  for (const auto& [file, text] : cluster.bad_files) {
    ++fleet_.asked_["bad files"];
    const ReconcileStatus* line =
        cluster.controller->tables.status.find(fmt::format("manifests|{}", file));
    if (line == nullptr || line->error.find(file) == std::string::npos)
      return world_.violate("8 bad input",
                            fmt::format("{} says nothing of the bad {}", cluster.facts.name, file));
  }
}

// ---- quiet

Checks::Backends Checks::wanted(const SimCluster& cluster) const {
  Backends result;
  for (const auto& [service, row] : fleet_.truth_.clusters.at(cluster.facts.name).services) {
    std::set<std::string>& backends = result[service];
    for (const std::string& pair : fleet_.truth_.backends(cluster.facts.name, service))
      backends.insert(address_of(pair));
  }
  return result;
}

Checks::Backends Checks::seen_in_maps(const SimCluster& cluster, const SimNode& node) const {
  Backends result;
  auto known = addresses_.find(cluster.facts.name);
  if (known == addresses_.end()) return result;
  auto maps = node.kernel.maps.seen();
  for (const auto& [service, ip] : known->second) {
    auto at = maps.find(ip + ":80/TCP");
    if (at == maps.end()) continue;
    for (const std::string& backend : at->second)
      result[service].insert(backend.substr(0, backend.find('/')));
  }
  return result;
}

std::string Checks::disagreement() const {
  if (std::string why = addresses_differ(); !why.empty()) return why;
  if (std::string why = verdicts_differ(); !why.empty()) return why;
  for (const auto& cluster : fleet_.clusters_) {
    if (!cluster->controller) return cluster->facts.name + " has no controller";
    if (std::string why = tables_differ(*cluster); !why.empty()) return why;
    if (std::string why = pools_differ(*cluster); !why.empty()) return why;
    for (const auto& node : cluster->nodes) {
      if (!node->agent || !node->serving) return node->name + " does not serve";
      if (std::string why = leases_differ(*node); !why.empty()) return why;
      if (std::string why = node_differs(*cluster, *node); !why.empty()) return why;
      if (std::string why = names_differ(*cluster, *node); !why.empty()) return why;
      if (std::string why = guard_differs(*node); !why.empty()) return why;
    }
  }
  return "";
}

// Sources against the controller's tables, and those against the store.
std::string Checks::tables_differ(const SimCluster& cluster) const {
  const ControllerTables& tables = cluster.controller->tables;
  Backends wanted_now = wanted(cluster);
  for (const auto& [service, backends] : wanted_now) {
    const Frontend* row = tables.frontends.find("default/" + service);
    if (row == nullptr) return fmt::format("{} has no frontend {}", cluster.facts.name, service);
    std::set<std::string> active;
    for (const Backend& backend : row->backends)
      if (backend.state == BackendState::kActive)
        active.insert(fmt::format("{}:{}", backend.ip.str(), backend.port));
    if (active != backends)
      return fmt::format("{} frontend {} has {}, not {}", cluster.facts.name, service, join(active),
                         join(backends));
    if (row->cluster_ips.size() != 1)
      return fmt::format("{} frontend {} has no address", cluster.facts.name, service);
  }
  if (tables.frontends.size() != wanted_now.size())
    return fmt::format("{} has {} frontends, not {}", cluster.facts.name, tables.frontends.size(),
                       wanted_now.size());
  RangeRequest request;
  request.key = records::kFrontendsPrefix;
  request.range_end = prefix_end(request.key);
  auto stored = const_cast<SimCluster&>(cluster).store.memory().range(request);
  if (!stored || stored->kvs.size() != tables.frontends.size())
    return fmt::format("{} store has other frontends than the table", cluster.facts.name);
  for (const KeyValue& kv : stored->kvs) {
    auto row = records::decode_frontend(kv);
    const Frontend* known = row ? tables.frontends.find(row->key()) : nullptr;
    if (known == nullptr || *known != *row)
      return fmt::format("{} store and table differ at {}", cluster.facts.name, kv.key);
  }
  std::size_t attached = 0;
  for (const auto& [key, pod] : fleet_.pods_)
    if (pod.cluster == &cluster && pod.attached) {
      ++attached;
      const Attachment* row = tables.attachments.find(object_key(pod.container, "eth0"));
      if (row == nullptr || row->ips != pod.ips)
        return fmt::format("{} controller does not know {}", cluster.facts.name, pod.container);
    }
  if (attached != tables.attachments.size())
    return fmt::format("{} controller knows {} attachments, not {}", cluster.facts.name,
                       tables.attachments.size(), attached);
  return "";
}

std::string Checks::node_differs(const SimCluster& cluster, const SimNode& node) const {
  const auto& above = cluster.controller->tables.frontends;
  const auto& here = node.agent->tables.frontends;
  if (above.size() != here.size())
    return fmt::format("{} has {} frontends, its controller {}", node.name, here.size(),
                       above.size());
  std::map<std::string, std::set<std::string>> wanted_maps;
  for (const auto& [key, versioned] : above.rows()) {
    const Frontend* row = here.find(key);
    if (row == nullptr || *row != versioned.row)
      return fmt::format("{} and its controller differ at {}", node.name, key);
    std::vector<Ip> ips = row->cluster_ips;
    ips.insert(ips.end(), row->clusterset_ips.begin(), row->clusterset_ips.end());
    for (const Ip& ip : ips) {
      auto& backends = wanted_maps[ip.str() + ":80/TCP"];
      for (const Backend& backend : row->backends)
        if (backend.state == BackendState::kActive)
          backends.insert(fmt::format("{}:{}/TCP", backend.ip.str(), backend.port));
    }
  }
  auto maps = node.kernel.maps.seen();
  for (const auto& [address, backends] : wanted_maps) {
    if (!maps.contains(address)) return fmt::format("{} maps have no {}", node.name, address);
    if (maps.at(address) != backends)
      return fmt::format("{} maps lead {} to {}, not {}", node.name, address,
                         join(maps.at(address)), join(backends));
  }
  if (maps.size() != wanted_maps.size())
    return fmt::format("{} maps have {} addresses, not {}", node.name, maps.size(),
                       wanted_maps.size());
  // A route to every block of the other nodes.
  for (const auto& [key, versioned] : cluster.controller->tables.node_blocks.rows()) {
    const NodeBlock& block = versioned.row;
    bool there = node.kernel.net.routes().contains({block.prefix.str(), kBlockRouteProtocol});
    if (!there) return fmt::format("{} has no route for {}", node.name, block.key());
  }
  return "";
}

std::string Checks::names_differ(const SimCluster& cluster, const SimNode& node) const {
  if (!node.kernel.zones) return node.name + " answers no names";
  for (const dns::Zone& zone : node.kernel.zones->zones) {
    if (zone.kind != dns::ZoneKind::kCluster) continue;
    for (std::string app : {"web", "api", "db"}) {
      std::string wire;
      for (const std::string& label : {app, std::string("default")}) {
        wire += static_cast<char>(label.size());
        wire += label;
      }
      const dns::ServiceRecords* found = zone.services.find(wire);
      const Frontend* row = cluster.controller->tables.frontends.find("default/" + app);
      if ((found == nullptr) != (row == nullptr))
        return fmt::format("{} {} the name {}", node.name, found ? "answers" : "does not answer",
                           app);
      if (found == nullptr) continue;
      const dns::Rrset* set = found->apex.find(dns::Type::kA);
      std::uint32_t ip = static_cast<std::uint32_t>(row->cluster_ips.front().value());
      std::string rdata;
      for (int shift = 24; shift >= 0; shift -= 8) rdata += static_cast<char>(ip >> shift);
      if (set == nullptr || set->rdata != rdata)
        return fmt::format("{} answers {} with another address", node.name, app);
    }
  }
  return "";
}

std::string Checks::leases_differ(const SimNode& node) const {
  std::size_t attached = 0;
  for (const auto& [key, pod] : fleet_.pods_) {
    if (pod.node != &node) continue;
    if (!pod.attached || pod.busy || pod.doomed)
      return fmt::format("{}: pod {} is not done", node.name, pod.name);
    ++attached;
  }
  if (node.agent->book().leases().size() != attached)
    return fmt::format("{} holds {} leases for {} pods", node.name,
                       node.agent->book().leases().size(), attached);
  return "";
}

// No service address and no block twice in the fleet.
std::string Checks::addresses_differ() const {
  std::map<std::string, std::string> holders;
  std::vector<std::pair<Prefix, std::string>> blocks;
  for (const auto& cluster : fleet_.clusters_) {
    if (!cluster->controller) continue;
    for (const auto& [key, row] : cluster->controller->tables.frontends.rows())
      for (const Ip& ip : row.row.cluster_ips) {
        std::string holder = cluster->facts.name + " " + key;
        auto [at, fresh] = holders.try_emplace(ip.str(), holder);
        if (!fresh && at->second != holder)
          return fmt::format("{} and {} have the address {}", at->second, holder, ip.str());
      }
    for (const auto& [key, row] : cluster->controller->tables.node_blocks.rows()) {
      for (const auto& [prefix, owner] : blocks)
        if (prefix.overlaps(row.row.prefix))
          return fmt::format("{} and {} have overlapping blocks", owner, key);
      blocks.emplace_back(row.row.prefix, key);
    }
  }
  return "";
}

}  // namespace tombolo::sim
