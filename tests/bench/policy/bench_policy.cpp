// How long a change takes into the kernel of one node with 1,000 policies, 10,000 identities and
// 100 local pods: from the row in the agent's table, through compiler, reconciler and guard, to the
// generation after which every packet is judged anew. Beside it, in the same run, iptables-restore
// of what governs the same pods. Output: lines "goal: NAME = VALUE UNIT (bound …) ok".
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "tests/bench/policy/fleet.h"
#include "tests/netpol/agent.h"

namespace tombolo::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr int kChanges = 500;
constexpr int kBlocks = 100;  // each takes peer numbers that rest for 60 s afterwards
constexpr int kReloads = 50;

double ms_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - begin).count();
}

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void print(const char* what, const std::vector<double>& took) {
  fmt::print("{:<40} p50 {:7.2f} ms, p99 {:7.2f} ms, max {:7.2f} ms\n", what, quantile(took, 0.5),
             quantile(took, 0.99), quantile(took, 1));
}

void goal(const char* name, double value, const char* unit, double bound) {
  fmt::print("goal: {} = {:.2f} {} (bound <= {:g}) {}\n", name, value, unit, bound,
             value <= bound ? "ok" : "short");
}

void must(const Result<void>& done) {
  ENSURE(done.has_value(), "{}", done.error().text());
}

// Of this process; what the kernel's maps take is the kernel's.
double resident_mb() {
  std::ifstream file("/proc/self/statm");
  double pages = 0;
  double resident = 0;
  file >> pages >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

template <class Edit>
std::vector<double> in_kernel(netpol::PolicyAgent& agent, int changes, Edit edit) {
  std::vector<double> took;
  for (int i = 0; i < changes; ++i) {
    auto begin = SteadyClock::now();
    edit(i);
    must(agent.settle());
    took.push_back(ms_since(begin));
  }
  return took;
}

// Labels of identities that rules here select, back and forth.
Identity relabelled(int i) {
  Identity identity = identity_of(kIdentities / 2 + kNamespaces + i / 2 % kNamespaces);
  if (i % 2 == 0) identity.labels["app"] = "gone";
  return identity;
}

// The compiler alone, on this thread.
void measure_compiler() {
  double before = resident_mb();
  policy::Compiler compiler;
  auto begin = SteadyClock::now();
  fill(compiler);
  MonotonicTime now{};
  policy::Changes first = compiler.compile(now);
  fmt::print("compiled at first: {:.1f} ms, {} sets, {} peers, {} rules, {:.1f} MB\n",
             ms_since(begin), first.sets.size(), first.peers.size(), first.rules.size(),
             resident_mb() - before);
  std::vector<double> took;
  for (int i = 0; i < kChanges; ++i) {
    begin = SteadyClock::now();
    now += std::chrono::seconds(1);
    compiler.set_policy(policy_of(i % kLocalPods, i + 1));
    policy::Changes changes = compiler.compile(now);
    took.push_back(ms_since(begin));
    ENSURE(!changes.sets.empty() && compiler.errors().empty());
  }
  print("policy changed: compiled", took);
}

// Everything of one reload: the text, the process, the kernel.
std::vector<double> measure_iptables() {
  std::vector<double> took;
  for (int i = 0; i < kReloads; ++i) {
    auto begin = SteadyClock::now();
    std::string rules = iptables_of(i % kLocalPods, i + 1);
    FILE* pipe = popen("iptables-restore >/dev/null 2>&1", "we");
    if (pipe == nullptr) return {};
    bool written = std::fwrite(rules.data(), 1, rules.size(), pipe) == rules.size();
    if (pclose(pipe) != 0 || !written) return {};
    took.push_back(ms_since(begin));
  }
  return took;
}

bool make_interfaces() {
  FILE* pipe = popen("ip -batch - >/dev/null", "we");
  if (pipe == nullptr) return false;
  for (int i = 0; i < kLocalPods; ++i)
    fmt::print(pipe, "link add {} type veth peer name peer{}\n", attachment_of(i).host_interface,
               i);
  return pclose(pipe) == 0;
}

void measure_agent(netpol::PolicyAgent& agent) {
  for (int i = 0; i < kLocalPods; ++i) {
    must(agent.add(attachment_of(i)));
    agent.local_pods.upsert(local_pod_of(i));
  }
  must(agent.settle());
  double before = resident_mb();
  auto begin = SteadyClock::now();
  for (int i = 0; i < kPolicies; ++i) agent.policies.upsert(policy_of(i, 0));
  for (int i = 0; i < kIdentities; ++i) {
    agent.identities.upsert(identity_of(i));
    agent.owners.upsert(owner_of(i, identity_of(i).number));
  }
  must(agent.settle());
  fmt::print("in the kernel at first: {:.1f} ms, {:.1f} MB of tables and compiler\n",
             ms_since(begin), resident_mb() - before);

  auto policies = in_kernel(
      agent, kChanges, [&](int i) { agent.policies.upsert(policy_of(i % kLocalPods, i + 1)); });
  // Another block each time: addresses that shared a number get their own first.
  auto blocks = in_kernel(agent, kBlocks, [&](int i) {
    Policy policy = policy_of(i % kLocalPods, 0);
    PolicyPeerMatch block;
    block.prefix = Prefix(ip_of(i * 16), 28);
    for (PolicyRule& rule : policy.rules) rule.peers.push_back(block);
    agent.policies.upsert(std::move(policy));
  });
  auto identities =
      in_kernel(agent, kChanges, [&](int i) { agent.identities.upsert(relabelled(i)); });
  // A pod somewhere in the fleet: a new identity and its address.
  auto arrivals = in_kernel(agent, kChanges, [&](int i) {
    Identity identity = identity_of(kNamespaces + i % kNamespaces);
    identity.number = 256 + static_cast<std::uint32_t>(kIdentities + i);
    agent.owners.upsert(owner_of(kIdentities + i, identity.number));
    agent.identities.upsert(std::move(identity));
  });
  print("policy changed: in the kernel", policies);
  print("policy with a new block: in the kernel", blocks);
  print("identity relabelled: in the kernel", identities);
  print("pod of the fleet arrived: in the kernel", arrivals);
  if (auto took = measure_iptables(); took.empty())
    fmt::print("iptables-restore: not here, or it failed; no figure beside\n");
  else
    print("iptables-restore of the same pods", took);
  goal("policy_change_to_kernel_p99", quantile(policies, 0.99), "ms", 50);
  goal("policy_block_to_kernel_p99", quantile(blocks, 0.99), "ms", 50);
  goal("identity_change_to_kernel_p99", quantile(identities, 0.99), "ms", 50);
  goal("pod_arrival_to_kernel_p99", quantile(arrivals, 0.99), "ms", 50);
}

int run() {
  if (auto missing = bpf::TestWorld::missing()) {
    fmt::print(stderr, "bench_policy: missing: {}\n", *missing);
    return 1;
  }
  fmt::print("{} policies, {} identities, {} pods on this node\n", kPolicies, kIdentities,
             kLocalPods);
  measure_compiler();
  bpf::TestWorld world;
  if (!make_interfaces()) {
    fmt::print(stderr, "bench_policy: `ip` could not make {} interfaces\n", kLocalPods);
    return 1;
  }
  netpol::PolicyAgent agent(world, bpf::Hook::kAuto);
  measure_agent(agent);
  return 0;
}

}  // namespace
}  // namespace tombolo::bench

int main() {
  return tombolo::bench::run();
}
