// Invariant 6: what policy denies does not pass, and what it permits does, at every moment at which
// it is fair to ask; and at quiet for every pair of pods, at both ends.
//
// A pair is asked at one end: the guard of the pod that policies of its own cluster govern. What
// was the same for long while all was calm must stay so, whatever breaks, as long as nobody changes
// it.
#include "tests/sim/checks.h"

namespace tombolo::sim {
namespace {

constexpr Duration kSteady = 15s;
constexpr Port kPort = 8080;
constexpr std::string_view kInvariant = "6 policy fails closed";

}  // namespace

struct Checks::Talk {
  const SimCluster* cluster = nullptr;  // of the governed pod
  const SimCluster* other = nullptr;    // of its peer
  const SimNode* node = nullptr;
  bool ingress = true;
  std::string governed;
  std::string peer;
  Ip peer_ip;
  bool permitted = false;  // in truth
  bool passes = false;     // in the kernel
  bool settled = false;    // both what governs the pod and the peer have been there for long
  std::string key() const {
    return fmt::format("{} {} {} {}", governed, ingress ? "from" : "to", peer, peer_ip.str());
  }
};

// With `coming`, a pod whose interface is not complete, only what governs that one.
std::vector<Checks::Talk> Checks::talks(const RuntimePod* coming) const {
  struct End {
    const RuntimePod* pod;
    const TruePod* facts;
    std::string interface;
    Ip ip;
  };
  std::vector<End> ends;
  std::vector<End> governed;
  for (const auto& [key, pod] : fleet_.pods_) {
    const auto& pods = fleet_.truth_.clusters.at(pod.cluster->facts.name).pods;
    auto facts = pods.find(pod.name);
    if (pod.leaving || pod.doomed || facts == pods.end()) continue;
    std::string interface = pod.node->kernel.net.host_interface("/run/netns/" + pod.container);
    if (&pod == coming) governed.push_back({&pod, &facts->second, interface, Ip{}});
    if (!pod.attached) continue;
    for (const Ip& ip : pod.ips) ends.push_back({&pod, &facts->second, interface, ip});
  }
  if (coming == nullptr) governed = ends;
  std::vector<Talk> found;
  for (const End& end : governed)
    for (const End& peer : ends)
      for (bool ingress : {true, false}) {
        if (end.pod == peer.pod) continue;
        const SimNode& node = *end.pod->node;
        Talk talk{end.pod->cluster,   peer.pod->cluster,   &node,  ingress,
                  end.pod->container, peer.pod->container, peer.ip};
        talk.permitted = fleet_.truth_.permits(end.pod->cluster->facts.name, ingress,
                                               end.facts->app, peer.facts->app, kPort);
        talk.passes = node.kernel.policy.passes(
            end.interface, ingress ? PolicyDirection::kIngress : PolicyDirection::kEgress, peer.ip,
            kPort);
        auto changed = fleet_.policy_since_.find(
            SimFleet::policy_key(*end.pod->cluster, ingress, end.facts->app));
        talk.settled =
            world_.now() - peer.pod->attached_at > kSteady &&
            (changed == fleet_.policy_since_.end() || world_.now() - changed->second > kSteady);
        found.push_back(std::move(talk));
      }
  return found;
}

// Whatever was said in either cluster has come everywhere in the first.
bool Checks::known_long(const SimCluster& one, const SimCluster& other) const {
  for (const SimCluster* cluster : {&one, &other})
    if (!calm(*cluster, kSteady) || !all_nodes_calm(*cluster)) return false;
  if (&one == &other) return true;
  return one.to.at(other.facts.name)->quiet_since + kSteady < world_.now() &&
         one.cut_off_until + kSteady < world_.now() && other.cut_off_until + kSteady < world_.now();
}

// A store put back from a backup says again what was true then: identities and policies too.
bool Checks::restored_lately() const {
  for (const auto& cluster : fleet_.clusters_)
    if (world_.now() - cluster->restored_at < 60s) return true;
  return false;
}

// A pod is denied what policy denies from its first packet on, whoever it is.
bool Checks::is_early(const Talk& talk) const {
  return talk.passes && !talk.permitted && talk.settled && known_long(*talk.cluster, *talk.other);
}

void Checks::goes_up(const SimNode& node, const std::string& interface) {
  if (restored_lately()) return;
  for (const auto& [key, pod] : fleet_.pods_) {
    if (pod.node != &node || pod.container.empty() ||
        node.kernel.net.host_interface("/run/netns/" + pod.container) != interface)
      continue;
    for (const Talk& talk : talks(&pod)) {
      ++fleet_.asked_["first packets"];
      if (is_early(talk))
        return world_.violate(
            std::string(kInvariant),
            fmt::format("{}: {} passes when the interface goes up", node.name, talk.key()));
    }
  }
}

// Between two samples a verdict may change and change back: to the kernel those are changes.
void Checks::truth_changed() {
  for (const Talk& talk : talks())
    if (auto said = said_.find(talk.key());
        said != said_.end() && said->second.permitted != talk.permitted)
      said->second = {talk.permitted, world_.now(), false};
}

void Checks::policy_holds() {
  bool excused = restored_lately();
  std::map<std::string, Said> now_said;
  for (const Talk& talk : talks()) {
    std::string key = talk.key();
    auto before = said_.find(key);
    Said said{talk.permitted, world_.now(), false};
    if (before != said_.end() && before->second.permitted == talk.permitted) said = before->second;
    if (excused) said.steady = false;
    bool agrees = talk.passes == talk.permitted;
    if (said.steady && !agrees)
      return world_.violate(
          std::string(kInvariant),
          fmt::format("{}: {} {}, though policy {} it for {} ms", talk.node->name, key,
                      talk.passes ? "passes" : "does not pass",
                      talk.permitted ? "permits" : "denies", (world_.now() - said.since) / 1ms));
    if (said.steady) ++fleet_.asked_["steady verdicts"];
    if (!excused && is_early(talk))
      return world_.violate(
          std::string(kInvariant),
          fmt::format("{}: {} passes, though policy has long denied it", talk.node->name, key));
    said.steady = said.steady || (agrees && !excused && world_.now() - said.since > kSteady &&
                                  known_long(*talk.cluster, *talk.other));
    now_said[key] = said;
  }
  said_ = std::move(now_said);
}

std::string Checks::verdicts_differ() const {
  for (const Talk& talk : talks())
    if (talk.passes != talk.permitted)
      return fmt::format("{}: {} {}, policy {} it", talk.node->name, talk.key(),
                         talk.passes ? "passes" : "does not pass",
                         talk.permitted ? "permits" : "denies");
  return "";
}

// The guard's tables against the agent's.
std::string Checks::guard_differs(const SimNode& node) const {
  // Reading does not change it; the port knows no const.
  auto found = const_cast<SimNode&>(node).kernel.policy.in_force();
  if (!found) return found.error().text();
  const AgentTables& tables = node.agent->tables;
  if (found->peers.size() != tables.policy_peers.size())
    return fmt::format("{} guard has {} peers, its agent {}", node.name, found->peers.size(),
                       tables.policy_peers.size());
  for (const PolicyPeer& peer : found->peers)
    if (const PolicyPeer* row = tables.policy_peers.find(peer.key()); !row || *row != peer)
      return fmt::format("{} guard and agent differ at {}", node.name, peer.key());
  if (found->sets.size() != tables.verdict_sets.size())
    return fmt::format("{} guard has {} sets, its agent {}", node.name, found->sets.size(),
                       tables.verdict_sets.size());
  if (found->pods.size() != tables.guarded_pods.size())
    return fmt::format("{} guard has {} interfaces, its agent {}", node.name, found->pods.size(),
                       tables.guarded_pods.size());
  for (const auto& [key, versioned] : tables.guarded_pods.rows()) {
    const GuardedPod& pod = versioned.row;
    bool same = std::ranges::any_of(found->pods, [&](const bpf::PodInForce& one) {
      return one.host_interface == pod.host_interface && one.open && one.ingress == pod.ingress &&
             one.egress == pod.egress && one.identity == pod.identity && one.ips == pod.ips;
    });
    if (!same) return fmt::format("{} guard and agent differ at {}", node.name, key);
  }
  return "";
}

}  // namespace tombolo::sim
