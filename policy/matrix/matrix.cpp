// All pods stand on one node as far as the compiler is concerned: every pod is governed, every pod
// is a peer.
#include "policy/matrix/matrix.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "policy/compiler/compiler.h"

namespace tombolo::policy {
namespace {

constexpr std::uint32_t kFirstIdentity = 256;
constexpr std::string_view kNameLabel = "kubernetes.io/metadata.name";

// Addresses of RFC 6666's discard prefix stand for pods that have none.
Ip stand_in(std::size_t index) {
  return Ip::v6(uint128{0x0100} << 112 | index);
}

class World {
 public:
  Result<void> fill(const MatrixInput& input) {
    for (const Namespace& row : input.namespaces) labels_[row.name] = row.labels;
    for (const Workload& pod : input.pods) {
      if (pod.finished) continue;
      if (!pods_.emplace(pod.key(), Pod{&pod, {}, {}, {}}).second)
        return fail(Code::kInvalidArgument, "pod {} stands twice", pod.key());
    }
    for (const Policy& policy : input.policies) compiler_.set_policy(policy);
    std::size_t index = 0;
    for (auto& [key, pod] : pods_) TRY_OK(add(key, pod, ++index));
    take(compiler_.compile(MonotonicTime{}));
    return {};
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [key, pod] : pods_) names.push_back(key);
    return names;
  }

  std::vector<std::string> rows(const Probe& probe) const {
    std::vector<std::string> rows;
    for (const auto& [source_key, source] : pods_) {
      std::string row;
      for (const auto& [destination_key, destination] : pods_)
        row += source_key == destination_key || allowed(source, destination, probe) ? '.' : 'X';
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  struct Pod {
    const Workload* workload = nullptr;
    std::vector<Ip> ips;
    const VerdictSet* ingress = nullptr;  // null: not isolated
    const VerdictSet* egress = nullptr;
  };

  Result<void> add(const std::string& key, Pod& pod, std::size_t index) {
    const Workload& workload = *pod.workload;
    pod.ips = workload.ips;
    if (pod.ips.empty()) pod.ips.push_back(stand_in(index));
    std::uint32_t identity = workload.host_network ? 0 : identity_of(workload);
    for (const Ip& ip : pod.ips) {
      // Pods on the host's network share their node's address.
      auto [owner, fresh] = owners_.try_emplace(ip, key);
      if (!fresh && !workload.host_network)
        return fail(Code::kInvalidArgument, "pods {} and {} both have the address {}",
                    owner->second, key, ip.str());
      IpOwner row;
      row.ip = ip;
      row.identity = identity;
      row.ports = workload.ports;
      compiler_.set_owner(std::move(row));
    }
    if (workload.host_network) return {};
    LocalGuarded guarded{key, "", key, pod.ips, identity, workload.ports};
    compiler_.set_pod(std::move(guarded));
    return {};
  }

  // Pods of one namespace with the same labels share an identity, as in a cluster.
  std::uint32_t identity_of(const Workload& workload) {
    auto next = kFirstIdentity + static_cast<std::uint32_t>(identities_.size());
    auto [at, fresh] =
        identities_.try_emplace(std::pair(workload.name_space, workload.labels), next);
    if (!fresh) return at->second;
    Identity identity;
    identity.number = next;
    identity.name_space = workload.name_space;
    identity.labels = workload.labels;
    identity.namespace_labels = labels_[workload.name_space];
    identity.namespace_labels[std::string(kNameLabel)] = workload.name_space;
    compiler_.set_identity(std::move(identity));
    return next;
  }

  void take(Changes changes) {
    for (VerdictSet& set : changes.sets) sets_.emplace(set.id, std::move(set));
    for (const PolicyPeer& peer : changes.peers) peers_[peer.prefix] = peer.peer;
    for (const GuardedPod& row : changes.pods) {
      Pod& pod = pods_.at(row.attachment);
      pod.ingress = row.ingress.empty() ? nullptr : &sets_.at(row.ingress);
      pod.egress = row.egress.empty() ? nullptr : &sets_.at(row.egress);
    }
  }

  std::uint32_t peer_of(const Ip& ip) const {
    auto at = peers_.find(Prefix::host(ip));
    return at == peers_.end() ? 0 : at->second;
  }

  bool allowed(const Pod& source, const Pod& destination, const Probe& probe) const {
    // The destination's first address that the source can speak to.
    for (const Ip& to : destination.ips)
      for (const Ip& from : source.ips)
        if (from.family() == to.family()) return allowed(source, from, destination, to, probe);
    // No family in common, or no address given: labels decide.
    return allowed(source, source.ips.front(), destination, destination.ips.front(), probe);
  }

  bool allowed(const Pod& source, const Ip& from, const Pod& destination, const Ip& to,
               const Probe& probe) const {
    auto permits = [&](const VerdictSet* set, const Ip& peer) {
      return set == nullptr ||
             (look_up(*set, peer_of(peer), static_cast<std::uint8_t>(probe.protocol), probe.port) &
              kVerdictAllow) != 0;
    };
    bool own_node = source.workload->host_network && !source.workload->node.empty() &&
                    source.workload->node == destination.workload->node;
    return permits(source.egress, to) && (own_node || permits(destination.ingress, from));
  }

  Compiler compiler_;
  std::map<std::string, StringMap> labels_;
  std::map<std::string, Pod> pods_;
  std::map<Ip, std::string> owners_;
  std::map<std::pair<std::string, StringMap>, std::uint32_t> identities_;
  std::map<std::string, VerdictSet> sets_;
  std::map<Prefix, std::uint32_t> peers_;
};

}  // namespace

std::string to_string(const Probe& probe) {
  return fmt::format("{}/{}", to_string(probe.protocol), probe.port);
}

Result<Probe> parse_probe(std::string_view text) {
  std::size_t slash = text.find('/');
  auto refuse = [&] {
    return fail(Code::kInvalidArgument, "'{}' is not PROTO/PORT, such as TCP/80",
                text.substr(0, 80));
  };
  if (slash == std::string_view::npos) return refuse();
  std::string name(text.substr(0, slash));
  for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  auto protocol = parse_protocol(name);
  if (!protocol) return refuse();
  std::string_view digits = text.substr(slash + 1);
  unsigned port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0 || port > 65535)
    return refuse();
  return Probe{*protocol, static_cast<Port>(port)};
}

Result<Matrix> make_matrix(const MatrixInput& input) {
  World world;
  TRY_OK(world.fill(input));
  std::set<Probe> probes(input.probes.begin(), input.probes.end());
  if (probes.empty())
    for (const Workload& pod : input.pods)
      for (const NamedPort& port : pod.ports) probes.insert({port.protocol, port.port});
  Matrix matrix;
  matrix.pods = world.names();
  matrix.probes.assign(probes.begin(), probes.end());
  for (const Probe& probe : matrix.probes) matrix.allowed.push_back(world.rows(probe));
  return matrix;
}

}  // namespace tombolo::policy
