// The conformance cases with real sockets between network namespaces: each step's cluster through
// the agent's tables, compiler, reconciler and guard into the kernel, then all pairs of pods, and
// the node to each pod, on all ports. IPv4 against the cases' tables, IPv6 (the same pods, dual
// stack) against the rules read one by one, as blocks of IPv4 addresses do not mean IPv6. One world
// for all steps: each begins where the last one ended.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "policy/rules/rules.h"
#include "tests/netpol/probes.h"

namespace tombolo::netpol {
namespace {

// The node, or a pod by the step's name.
std::string name_of(const Fabric& fabric, const Step& step, std::size_t slot) {
  for (const Workload& pod : step.pods)
    if (fabric.slot_of(pod) == slot) return pod.key();
  return "the node";
}

std::string text_of(const Fabric& fabric, const Step& step, const Reach& reach) {
  return fmt::format("{} {} {} -> {}", reach.family == Family::kV4 ? "IPv4" : "IPv6",
                     policy::to_string(reach.probe), name_of(fabric, step, reach.source),
                     name_of(fabric, step, reach.destination));
}

bool rules_allow(const Fabric& fabric, const Step& step, const Workload& source,
                 const Workload& destination, const policy::Probe& probe) {
  std::vector<const Policy*> policies;
  for (const Policy& policy : step.policies) policies.push_back(&policy);
  auto party = [&](const Workload& pod) {
    return policy::Party{&fabric.identity_of(pod), fabric.address(fabric.slot_of(pod), Family::kV6),
                         pod.ports};
  };
  policy::Party from = party(source);
  policy::Party to = party(destination);
  policy::Traffic traffic{probe.protocol, probe.port};
  return judge(policies, PolicyDirection::kEgress, from, to, traffic).allowed &&
         judge(policies, PolicyDirection::kIngress, to, from, traffic).allowed;
}

std::set<Reach> expected_of(const Fabric& fabric, const Step& step) {
  std::set<Reach> expected;
  for (const auto& [probe, rows] : step.allowed)
    for (std::size_t to = 0; to < step.pods.size(); ++to) {
      std::size_t destination = fabric.slot_of(step.pods[to]);
      for (Family family : {Family::kV4, Family::kV6})
        expected.insert({family, probe, fabric.node(), destination});
      for (std::size_t from = 0; from < step.pods.size(); ++from) {
        if (from == to) continue;
        std::size_t source = fabric.slot_of(step.pods[from]);
        if (rows.at(from).at(to) != 'X') expected.insert({Family::kV4, probe, source, destination});
        if (rules_allow(fabric, step, step.pods[from], step.pods[to], probe))
          expected.insert({Family::kV6, probe, source, destination});
      }
    }
  return expected;
}

void check(const Fabric& fabric, const Step& step, const std::set<Reach>& expected,
           const std::set<Reach>& seen) {
  std::string wrong;
  for (const Reach& reach : expected)
    if (!seen.contains(reach)) wrong += "denied:  " + text_of(fabric, step, reach) + "\n";
  for (const Reach& reach : seen)
    if (!expected.contains(reach)) wrong += "allowed: " + text_of(fabric, step, reach) + "\n";
  INFO(step.name << "\n" << wrong);
  REQUIRE(wrong.empty());
}

TEST_CASE("every step of every conformance case in the kernel") {
  if (auto missing = Fabric::missing()) SKIP("missing: " << *missing);
  auto hook = GENERATE(bpf::Hook::kAuto, bpf::Hook::kClsact);
  std::vector<Step> steps = read_steps(TOMBOLO_TEST_DATA "/netpol");
  REQUIRE(steps.size() >= 89);
  std::set<Ip> addresses;
  std::set<policy::Probe> ports;
  for (const Step& step : steps) {
    for (const Workload& pod : step.pods) addresses.insert(pod.ips.begin(), pod.ips.end());
    for (const auto& [probe, rows] : step.allowed) ports.insert(probe);
  }
  Fabric fabric(hook, addresses);
  Probes probes(fabric, ports);
  for (const Step& step : steps) {
    REQUIRE(step.allowed.size() == ports.size());
    auto entered = fabric.enter(step);
    INFO(step.name << ": " << (entered ? "" : entered.error().text()));
    REQUIRE(entered);
    std::set<std::size_t> slots;
    for (const Workload& pod : step.pods) slots.insert(fabric.slot_of(pod));
    std::set<Reach> expected = expected_of(fabric, step);
    check(fabric, step, expected, probes.run(slots, expected));
  }
}

}  // namespace
}  // namespace tombolo::netpol
