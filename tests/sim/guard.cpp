// Tables of policy, and who may pass.
#include "tests/sim/guard.h"

#include "policy/compiler/compiler.h"

namespace tombolo::sim {

Result<void> SimPolicy::admit() {
  if (!user_ || !*user_) return fail(Code::kCancelled, "the process has ended");
  if (refuse > 0 && world_.chance(refuse)) {
    world_.trace(fmt::format("{} policy write refused", node_));
    return fail(Code::kResourceExhausted, "the map is full");
  }
  return {};
}

// ---- packets

// A whole address wins over ranges, a longer range over a shorter one; nobody's is peer 0.
std::uint32_t SimPolicy::peer_of(const Ip& ip) const {
  if (auto whole = peers_.find(Prefix(ip, bits_of(ip.family()))); whole != peers_.end())
    return whole->second.peer;
  const PolicyPeer* best = nullptr;
  for (const auto& [prefix, peer] : peers_)
    if (prefix.contains(ip) && (best == nullptr || prefix.length() > best->prefix.length()))
      best = &peer;
  return best == nullptr ? 0 : best->peer;
}

bool SimPolicy::passes(const std::string& host_interface, PolicyDirection direction, const Ip& peer,
                       Port port) const {
  auto at = interfaces_.find(host_interface);
  if (at == interfaces_.end()) return true;
  const Interface& interface = at->second;
  if (!interface.open) return false;
  const std::string& id =
      direction == PolicyDirection::kIngress ? interface.ingress : interface.egress;
  if (id.empty()) return true;
  constexpr std::uint8_t kTcp = 6;
  return (policy::look_up(sets_.at(id), peer_of(peer), kTcp, port) & kVerdictAllow) != 0;
}

// ---- interfaces

Result<void> SimPolicy::add_interface(const std::string& name, const std::vector<Ip>& ips) {
  TRY_OK(admit());
  if (!exists(name)) return fail(Code::kNotFound, "no interface {}", name);
  auto [at, fresh] = interfaces_.try_emplace(name);
  at->second.ips = ips;
  if (fresh && mistake_ == Mistake::kOpenAtAttach) at->second.open = true;
  return {};
}

Result<void> SimPolicy::remove_interface(const std::string& name) {
  TRY_OK(admit());
  interfaces_.erase(name);
  return {};
}

// ---- the port

Result<bpf::PolicyInForce> SimPolicy::in_force() {
  bpf::PolicyInForce found;
  found.rules.assign(rules_.begin(), rules_.end());
  for (const auto& [id, set] : sets_) found.sets.push_back(id);
  for (const auto& [prefix, peer] : peers_) found.peers.push_back(peer);
  for (const auto& [name, one] : interfaces_)
    found.pods.push_back({name, one.open, one.ingress, one.egress, one.identity, one.ips});
  return found;
}

Result<void> SimPolicy::put_rule(RuleNumber number, std::uint64_t digest) {
  TRY_OK(admit());
  if (digest == 0)
    rules_.erase(number);
  else
    rules_[number] = digest;
  return {};
}

Result<void> SimPolicy::put_set(const VerdictSet& set) {
  TRY_OK(admit());
  sets_.try_emplace(set.id, set);
  return {};
}

Result<void> SimPolicy::put_pod(const GuardedPod& pod) {
  TRY_OK(admit());
  auto at = interfaces_.find(pod.host_interface);
  if (at == interfaces_.end())
    return fail(Code::kNotFound, "{} is not attached", pod.host_interface);
  for (const std::string& id : {pod.ingress, pod.egress})
    if (!id.empty() && !sets_.contains(id)) return fail(Code::kFailedPrecondition, "no set {}", id);
  at->second = {pod.ips, true, pod.ingress, pod.egress, pod.identity};
  return {};
}

Result<void> SimPolicy::close_pod(const std::string& host_interface) {
  TRY_OK(admit());
  if (auto at = interfaces_.find(host_interface); at != interfaces_.end())
    at->second = {.ips = at->second.ips};
  return {};
}

Result<void> SimPolicy::put_peer(const PolicyPeer& peer) {
  TRY_OK(admit());
  peers_.insert_or_assign(peer.prefix, peer);
  return {};
}

Result<void> SimPolicy::erase_peer(const Prefix& prefix) {
  TRY_OK(admit());
  if (mistake_ != Mistake::kKeepOldPeers) peers_.erase(prefix);
  return {};
}

Result<void> SimPolicy::erase_set(const std::string& id) {
  TRY_OK(admit());
  for (const auto& [name, one] : interfaces_)
    if (one.ingress == id || one.egress == id)
      return fail(Code::kFailedPrecondition, "{} refers to {}", name, id);
  sets_.erase(id);
  return {};
}

// ---- one life's way to it

SimGuard::SimGuard(SimPolicy& policy, std::unique_ptr<Worker> worker)
    : policy_(policy), worker_(std::move(worker)) {
  if (auto found = policy_.in_force()) at_open_ = std::move(*found);
}

asio::awaitable<Result<void>> SimGuard::attach(std::string host_interface, std::vector<Ip> ips) {
  SimPolicy* policy = &policy_;
  auto job = [policy, name = std::move(host_interface), ips = std::move(ips)] {
    return policy->add_interface(name, ips);
  };
  co_return co_await worker_->run(std::move(job));
}

// No node of the simulation has devices.
asio::awaitable<Result<void>> SimGuard::attach_inside(std::string name, bpf::InterfaceInPod,
                                                      std::vector<Ip>) {
  co_return fail(Code::kNotFound, "{}: no such device", name);
}

asio::awaitable<Result<void>> SimGuard::detach(std::string host_interface) {
  SimPolicy* policy = &policy_;
  auto job = [policy, name = std::move(host_interface)] { return policy->remove_interface(name); };
  co_return co_await worker_->run(std::move(job));
}

asio::awaitable<Result<std::vector<bpf::PodInForce>>> SimGuard::interfaces() {
  SimPolicy* policy = &policy_;
  auto job = [policy]() -> Result<std::vector<bpf::PodInForce>> {
    TRY(found, policy->in_force());
    return std::move(found.pods);
  };
  co_return co_await worker_->run(std::move(job));
}

asio::awaitable<Result<std::vector<bpf::RuleCounters>>> SimGuard::rule_counters() {
  co_return std::vector<bpf::RuleCounters>{};
}

asio::awaitable<Result<std::vector<bpf::GuardCounter>>> SimGuard::stats() {
  co_return std::vector<bpf::GuardCounter>{};
}

}  // namespace tombolo::sim
