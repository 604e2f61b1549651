// Users change manifests; container runtimes make and remove sandboxes by CNI ADD and DEL, and try
// again as kubelet does: a failed ADD is undone by DEL and followed by a new sandbox.
#include <algorithm>

#include "tests/sim/checks.h"
#include "tests/sim/fleet.h"

namespace tombolo::sim {
namespace {

constexpr std::array kApps{"web", "api", "db"};
constexpr std::string_view kFixedApp = "db";
// While there are pools, an ADD asks the store, which may be away: it says so when its requests
// have timed out.
constexpr Duration kAnswerOfStore = 15s;
// The janitor leaves it alone for longer.
constexpr Duration kKeptFor = 15s;

std::string pod_manifest(const std::string& name, const TruePod& pod) {
  std::string annotations;
  if (!pod.pool.empty())
    annotations = fmt::format("ipam.tombolo.io/ippool: '{{\"ipv4\": [\"{}\"]}}'", pod.pool);
  if (pod.fixed) annotations += ", ipam.tombolo.io/fixed: \"true\"";
  return fmt::format(
      "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, labels: {{app: {}}}, annotations: "
      "{{{}}}}}\n"
      "spec: {{nodeName: {}, containers: [{{name: c, ports: [{{name: http, containerPort: "
      "8080}}]}}]}}\nstatus: {{conditions: [{{type: Ready, status: \"{}\"}}]}}\n",
      name, pod.app, annotations, pod.node, pod.ready ? "True" : "False");
}

std::string service_manifest(const std::string& name, const TrueService& service) {
  std::string annotations;
  if (service.global) annotations += "service.cilium.io/global: \"true\", ";
  if (!service.shared) annotations += "service.cilium.io/shared: \"false\", ";
  if (service.affinity == Affinity::kLocal) annotations += "service.cilium.io/affinity: local, ";
  if (service.affinity == Affinity::kRemote) annotations += "service.cilium.io/affinity: remote, ";
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, annotations: {{{}}}}}\n"
      "spec: {{selector: {{app: {}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n",
      name, annotations, name);
}

std::string policy_manifest(const std::string& name, const TruePolicy& policy) {
  std::string peers;
  for (const std::string& app : policy.peers)
    peers += fmt::format("{}{{podSelector: {{matchLabels: {{app: {}}}}}}}",
                         peers.empty() ? "" : ", ", app);
  std::string ports =
      policy.port == 0 ? "" : fmt::format(", ports: [{{protocol: TCP, port: {}}}]", policy.port);
  // Without a peer there is no rule: a rule without a list would let in everybody.
  std::string rules =
      policy.peers.empty()
          ? ""
          : fmt::format("{{{}: [{}]{}}}", policy.ingress ? "from" : "to", peers, ports);
  return fmt::format(
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {}}}\n"
      "spec: {{podSelector: {{matchLabels: {{app: {}}}}}, policyTypes: [{}], {}: [{}]}}\n",
      name, policy.subject, policy.ingress ? "Ingress" : "Egress",
      policy.ingress ? "ingress" : "egress", rules);
}

std::string service_file(const std::string& service) {
  return "service-" + service + ".yaml";
}

// Empty for the file of something else.
std::string service_in(const std::string& file) {
  constexpr std::string_view kFront = "service-";
  if (!file.starts_with(kFront)) return "";
  return file.substr(kFront.size(), file.rfind('.') - kFront.size());
}

}  // namespace

void SimFleet::put_file(SimCluster& cluster, const std::string& file, std::string text) {
  if (cluster.controller) cluster.controller->give_file(file, text);
  cluster.files[file] = std::move(text);
  cluster.bad_files.erase(file);
  cluster.unknown_services.erase(service_in(file));
}

// What a controller that starts finds in its folder.
void SimFleet::give_files(SimCluster& cluster) {
  for (const auto& [file, text] : cluster.files)
    if (!cluster.bad_files.contains(file)) cluster.controller->give_file(file, text);
  for (const auto& [file, text] : cluster.bad_files) {
    cluster.controller->give_file(file, text);
    cluster.unknown_services.insert(service_in(file));
  }
  truth_changed();
}

void SimFleet::remove_file(SimCluster& cluster, const std::string& file) {
  cluster.files.erase(file);
  cluster.bad_files.erase(file);
  cluster.unknown_services.erase(service_in(file));
  if (cluster.controller) cluster.controller->sync.set_objects(file, manifests::Objects{});
}

bool SimFleet::is_unknown(const std::string& cluster, const std::string& service) const {
  for (const auto& one : clusters_)
    if (one->facts.name == cluster) return one->unknown_services.contains(service);
  return false;
}

// What follows from a change: which backends are true since when.
void SimFleet::truth_changed() {
  std::map<std::string, Duration> now_true;
  for (const auto& [cluster, facts] : truth_.clusters)
    for (const auto& [service, row] : facts.services)
      for (const std::string& backend : truth_.backends(cluster, service)) {
        if (is_unknown(cluster, service) ||
            is_unknown(backend.substr(0, backend.find(' ')), service))
          continue;
        std::string key = fmt::format("{} {} {}", cluster, service, backend);
        auto known = true_since_.find(key);
        now_true[key] = known == true_since_.end() ? world_.now() : known->second;
      }
  true_since_ = std::move(now_true);
}

void SimFleet::user_acts() {
  if (faults_over_) return;
  switch (world_.below(14)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: {
      SimCluster& cluster = *clusters_[world_.below(clusters_.size())];
      add_pod(*cluster.nodes[world_.below(cluster.nodes.size())]);
      break;
    }
    case 5:
    case 6:
      delete_pod();
      break;
    case 7:
      change_pod();
      break;
    case 8:
    case 9:
    case 10:
      change_service();
      break;
    case 11:
    case 12:
      change_policy();
      break;
    default:
      write_bad_file();
  }
  world_.after(world_.between(20ms, 500ms) * leisure_, [this] { user_acts(); });
}

// What was there before anybody looked.
void SimFleet::populate() {
  for (auto& cluster : clusters_) {
    if (with_pools_) write_pools(*cluster);
    for (std::string_view app : kApps)
      if (world_.chance(0.7)) write_service(*cluster, std::string(app));
    for (auto& node : cluster->nodes)
      for (std::size_t i = 0; i < 3; ++i) add_pod(*node);
  }
  truth_changed();
}

// Two pools: single addresses that any node may take, few or many, and blocks for nodes.
void SimFleet::write_pools(SimCluster& cluster) {
  std::size_t most = pods_per_node_ * cluster.nodes.size();
  cluster.racks = world_.chance(0.7) ? 3 + world_.below(most) : 200;
  put_file(cluster, "pools.yaml",
           fmt::format("apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: racks}}\n"
                       "spec: {{subnet: 172.20.{0}.0/24, ips: [172.20.{0}.10-172.20.{0}.{1}], "
                       "rest: {{wantedSeconds: 20, leastSeconds: 1}}}}\n---\n"
                       "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: "
                       "spread}}\n"
                       "spec: {{kind: overlay, subnet: 172.21.{0}.0/25, blockLength: 29}}\n",
                       cluster.facts.id, 10 + cluster.racks - 1));
}

// Where no pool was known yet, it was out of the node's block.
void SimFleet::comes_from_pool(const RuntimePod& pod, TruePod& facts) {
  bool pooled = Prefix::parse("172.16.0.0/12")->contains(pod.ips.front());
  if (pooled ? facts.pool.empty() : !facts.pool.empty() && pod.pools_known)
    world_.violate("9 pools", fmt::format("{} of pool '{}' gets {}", pod.name, facts.pool,
                                          pod.ips.front().str()));
  if (pooled) return;
  facts.pool.clear();
  facts.fixed = false;
}

// A fixed pod that is made again, wherever, soon: with the address that it had.
void SimFleet::fixed_returns(const RuntimePod& pod) {
  SimCluster& cluster = *pod.cluster;
  auto kept = cluster.kept.find(pod.name);
  if (kept == cluster.kept.end()) return;
  SimCluster::Kept before = kept->second;
  cluster.kept.erase(kept);
  bool soon = world_.now() - before.since < kKeptFor;
  // A store that was put back from a backup may not know that it was kept.
  if (!soon || cluster.restored_at > before.since - 60s) return;
  ++asked_["fixed addresses"];
  if (before.ips != pod.ips)
    world_.violate("9 fixed stays", fmt::format("{} had {} and gets {}", pod.name,
                                                before.ips.front().str(), pod.ips.front().str()));
}

void SimFleet::add_pod(SimNode& node) {
  SimCluster& cluster = node.cluster;
  auto on_node =
      std::ranges::count_if(pods_, [&](const auto& p) { return p.second.node == &node; });
  if (static_cast<std::size_t>(on_node) >= pods_per_node_) return;
  if (std::string name = pod_to_come_back(cluster); !name.empty())
    return add_pod(node, name, std::string(kFixedApp));
  std::string app = kApps[world_.below(kApps.size())];
  if (with_pools_ && app == kFixedApp && pods_in_racks(cluster) + 2 > cluster.racks) app = "web";
  add_pod(node, fmt::format("{}-{}", app, next_pod_++), app);
}

std::size_t SimFleet::pods_in_racks(const SimCluster& cluster) const {
  return static_cast<std::size_t>(std::ranges::count_if(pods_, [&](const auto& p) {
    return p.second.cluster == &cluster && p.first.find("/db-") != std::string::npos;
  }));
}

// A fixed pod that was deleted, and of which nothing is left; empty: none, or others have filled
// the pool since.
std::string SimFleet::pod_to_come_back(const SimCluster& cluster) {
  if (cluster.kept.empty() || world_.chance(0.5)) return "";
  auto at = std::next(cluster.kept.begin(),
                      static_cast<std::ptrdiff_t>(world_.below(cluster.kept.size())));
  bool full = pods_in_racks(cluster) >= cluster.racks;
  return full || pods_.contains(object_key(cluster.facts.name, at->first)) ? "" : at->first;
}

void SimFleet::add_pod(SimNode& node, const std::string& name, const std::string& app) {
  SimCluster& cluster = node.cluster;
  TruePod pod{node.name, app, !world_.chance(0.1), {}, false, {}};
  if (with_pools_ && app == kFixedApp) {
    pod.pool = "racks";
    pod.fixed = cluster.kept.contains(name) || world_.chance(0.6);
  }
  if (with_pools_ && app == "api") pod.pool = "spread";
  world_.trace(fmt::format("{} user adds pod {} on {}", cluster.facts.name, name, node.name));
  put_file(cluster, "pod-" + name + ".yaml", pod_manifest(name, pod));
  truth_.clusters[cluster.facts.name].pods[name] = std::move(pod);
  RuntimePod& runtime = pods_[object_key(cluster.facts.name, name)];
  runtime.name = name;
  runtime.cluster = &cluster;
  runtime.node = &node;
  // A container's id is never used again.
  if (auto before = cluster.kept.find(name); before != cluster.kept.end())
    runtime.attempt = before->second.attempt;
  advance(runtime);
}

void SimFleet::delete_pod() {
  std::vector<RuntimePod*> living;
  for (auto& [key, pod] : pods_)
    if (!pod.doomed) living.push_back(&pod);
  if (living.empty()) return;
  RuntimePod& pod = *living[world_.below(living.size())];
  world_.trace(fmt::format("{} user deletes pod {}", pod.cluster->facts.name, pod.name));
  pod.doomed = true;
  remove_file(*pod.cluster, "pod-" + pod.name + ".yaml");
  auto& facts = truth_.clusters[pod.cluster->facts.name].pods.at(pod.name);
  if (facts.fixed && pod.attached)
    pod.cluster->kept[pod.name] = {pod.ips, world_.now(), pod.attempt};
  truth_.clusters[pod.cluster->facts.name].pods.erase(pod.name);
  truth_changed();
  advance(pod);
}

void SimFleet::change_pod() {
  SimCluster& cluster = *clusters_[world_.below(clusters_.size())];
  auto& pods = truth_.clusters[cluster.facts.name].pods;
  if (pods.empty()) return;
  auto at = std::next(pods.begin(), static_cast<std::ptrdiff_t>(world_.below(pods.size())));
  at->second.ready = !at->second.ready;
  world_.trace(fmt::format("{} pod {} is {}", cluster.facts.name, at->first,
                           at->second.ready ? "ready" : "not ready"));
  put_file(cluster, "pod-" + at->first + ".yaml", pod_manifest(at->first, at->second));
  truth_changed();
}

void SimFleet::change_service() {
  SimCluster& cluster = *clusters_[world_.below(clusters_.size())];
  auto& services = truth_.clusters[cluster.facts.name].services;
  std::string name = kApps[world_.below(kApps.size())];
  std::string file = service_file(name);
  if (services.contains(name) && world_.chance(0.2)) {
    world_.trace(fmt::format("{} user deletes service {}", cluster.facts.name, name));
    services.erase(name);
    remove_file(cluster, file);
  } else {
    write_service(cluster, name);
  }
  truth_changed();
}

void SimFleet::write_service(SimCluster& cluster, const std::string& name) {
  TrueService service;
  service.global = world_.chance(0.8);
  service.shared = !world_.chance(0.2);
  std::uint64_t affinity = world_.below(6);
  if (affinity == 0) service.affinity = Affinity::kLocal;
  if (affinity == 1) service.affinity = Affinity::kRemote;
  world_.trace(fmt::format("{} user writes service {}: global {} shared {} affinity {}",
                           cluster.facts.name, name, service.global, service.shared,
                           static_cast<int>(service.affinity)));
  put_file(cluster, service_file(name), service_manifest(name, service));
  truth_.clusters[cluster.facts.name].services[name] = service;
}

void SimFleet::change_policy() {
  SimCluster& cluster = *clusters_[world_.below(clusters_.size())];
  auto& policies = truth_.clusters[cluster.facts.name].policies;
  std::string name = fmt::format("policy-{}", world_.below(4));
  if (auto known = policies.find(name); known != policies.end() && world_.chance(0.4)) {
    world_.trace(fmt::format("{} user deletes {}", cluster.facts.name, name));
    policy_changed(cluster, known->second);
    policies.erase(known);
    if (checks_) checks_->truth_changed();
    return remove_file(cluster, name + ".yaml");
  }
  TruePolicy policy;
  policy.ingress = world_.chance(0.7);
  policy.subject = kApps[world_.below(kApps.size())];
  for (std::string_view app : kApps)
    if (world_.chance(0.4)) policy.peers.emplace(app);
  if (world_.chance(0.3)) policy.port = world_.chance(0.5) ? 8080 : 9090;
  world_.trace(fmt::format("{} user writes {}: {} of {}, {} peers, port {}", cluster.facts.name,
                           name, policy.ingress ? "ingress" : "egress", policy.subject,
                           policy.peers.size(), policy.port));
  put_file(cluster, name + ".yaml", policy_manifest(name, policy));
  if (auto known = policies.find(name); known != policies.end())
    policy_changed(cluster, known->second);
  policy_changed(cluster, policy);
  policies[name] = std::move(policy);
  if (checks_) checks_->truth_changed();
}

void SimFleet::policy_changed(const SimCluster& cluster, const TruePolicy& policy) {
  policy_since_[policy_key(cluster, policy.ingress, policy.subject)] = world_.now();
}

std::string SimFleet::policy_key(const SimCluster& cluster, bool ingress,
                                 const std::string& subject) {
  return fmt::format("{} {} {}", cluster.facts.name, ingress ? "in" : "out", subject);
}

// A service's file that was good becomes bad: the last good state stays.
void SimFleet::write_bad_file() {
  SimCluster& cluster = *clusters_[world_.below(clusters_.size())];
  const auto& services = truth_.clusters[cluster.facts.name].services;
  // A controller that never saw the good one knows nothing to keep.
  if (services.empty() || !cluster.controller) return;
  std::string file = service_file(
      std::next(services.begin(), static_cast<std::ptrdiff_t>(world_.below(services.size())))
          ->first);
  static constexpr std::array kBad{"kind: Service\nmetadata: {name: Web_}\n", "kind: [",
                                   "a: b\n: c",
                                   "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: "
                                   "{ports: [{port: 70000}]}\n"};
  std::string text = kBad[world_.below(kBad.size())];
  world_.trace(fmt::format("{} user writes a bad {}", cluster.facts.name, file));
  cluster.controller->give_file(file, text);
  cluster.bad_files[file] = text;
  ++fault_counts_["bad manifest"];
  ++faults_;
}

// ---- the runtime

void SimFleet::advance_all(const SimNode& node) {
  std::vector<std::string> keys;  // advance() may erase
  for (const auto& [key, pod] : pods_)
    if (pod.node == &node) keys.push_back(key);
  for (const std::string& key : keys)
    if (auto at = pods_.find(key); at != pods_.end()) advance(at->second);
}

void SimFleet::advance(RuntimePod& pod) {
  if (pod.busy || !pod.node->serving) return;
  if (pod.doomed || (!pod.attached && !pod.container.empty())) {
    if (!pod.container.empty()) return call_runtime(pod, cni::Command::kDel);
    pods_.erase(object_key(pod.cluster->facts.name, pod.name));
    return;
  }
  if (pod.attached) return;
  pod.container = fmt::format("{}-{}", pod.name, ++pod.attempt);
  pod.node->kernel.net.add_namespace("/run/netns/" + pod.container);
  call_runtime(pod, cni::Command::kAdd);
}

void SimFleet::call_runtime(RuntimePod& pod, cni::Command command) {
  cni::Call call;
  call.command = command;
  call.cni_version = "1.1.0";
  call.network = "sim";
  call.container_id = pod.container;
  call.interface_name = "eth0";
  call.netns_path = "/run/netns/" + pod.container;
  call.pod_namespace = "default";
  call.pod_name = pod.name;
  pod.busy = true;
  pod.called_at = world_.now();
  pod.leaving = command == cni::Command::kDel;
  pod.pools_known = pod.node->agent->tables.pools.size() == 2;
  std::string key = object_key(pod.cluster->facts.name, pod.name);
  pod.node->agent->call(std::move(call), [this, key, number = ++pod.call, command](auto answer) {
    answered(key, number, command, answer);
  });
}

void SimFleet::answered(const std::string& key, std::uint64_t call, cni::Command command,
                        const cni::Answer<json::object>& answer) {
  auto at = pods_.find(key);
  if (at == pods_.end() || at->second.call != call) return;
  RuntimePod& pod = at->second;
  pod.busy = false;
  Duration took = world_.now() - pod.called_at;
  world_.trace(fmt::format("{} {} {} {}: {}", pod.node->name,
                           command == cni::Command::kAdd ? "ADD" : "DEL", pod.container,
                           answer ? "ok" : fmt::format("code {}", answer.error().code),
                           answer ? "" : answer.error().message));
  auto& pods = truth_.clusters[pod.cluster->facts.name].pods;
  auto facts = pods.find(pod.name);
  bool asks_store = command == cni::Command::kAdd && with_pools_;
  if (took > (asks_store ? kAnswerOfStore : 3s))
    world_.violate("4 local goes on",
                   fmt::format("{} on {} took {} ms", pod.container, pod.node->name, took / 1ms));
  bool added = answer && command == cni::Command::kAdd;
  if (added) {
    pod.attached = true;
    pod.attached_at = world_.now();
    pod.ips.clear();
    for (const auto& entry : answer->at("ips").as_array()) {
      std::string text(entry.as_object().at("address").as_string());
      pod.ips.push_back(*Ip::parse(text.substr(0, text.find('/'))));
    }
  } else if (answer) {
    pod.node->kernel.net.remove_namespace("/run/netns/" + pod.container);
    pod.container.clear();
    pod.attached = false;
    pod.ips.clear();
  }
  if (facts != pods.end()) facts->second.ips = pod.ips;
  if (added && facts != pods.end()) comes_from_pool(pod, facts->second);
  if (added) fixed_returns(pod);
  truth_changed();
  if (answer) return advance(pod);
  Duration pause = world_.between(300ms, 1500ms);
  world_.after(pause, [this, key] {
    if (auto again = pods_.find(key); again != pods_.end()) advance(again->second);
  });
}

}  // namespace tombolo::sim
