// See fleet.h. Everything follows from the indices: no randomness.
#include "tests/bench/policy/fleet.h"

namespace tombolo::bench {
namespace {

std::string namespace_of(int index) {
  return fmt::format("team-{}", index % kNamespaces);
}

std::string app_of(int index) {
  return fmt::format("app-{}", index / kNamespaces % kApps);
}

// Which identities the two selectors of a policy mean.
int first_app(int index) {
  return (index / kNamespaces + 1) % kApps;
}
int second_app(int index) {
  return (index / kNamespaces + 2) % kApps;
}
int other_namespace(int index) {
  return (index + 1) % kNamespaces;
}

PolicyPeerMatch app_in(int name_space, int app) {
  PolicyPeerMatch peer;
  peer.namespaces.requirements = {
      {"kubernetes.io/metadata.name", LabelOperator::kIn, {namespace_of(name_space)}}};
  peer.pods.requirements = {{"app", LabelOperator::kIn, {fmt::format("app-{}", app)}}};
  return peer;
}

}  // namespace

// 20 policies per namespace, each for one app.
Policy policy_of(int index, int variant) {
  Policy policy;
  policy.name_space = namespace_of(index);
  policy.name = fmt::format("policy-{}", index);
  policy.subjects.requirements = {{"app", LabelOperator::kIn, {app_of(index)}}};
  policy.isolates_ingress = true;
  policy.isolates_egress = true;
  PolicyPeerMatch block;
  block.prefix = Prefix::parse(fmt::format("192.168.{}.0/24", index % 200)).value();
  auto port = static_cast<Port>(8000 + variant);
  std::vector<PolicyPeerMatch> peers{app_in(index, first_app(index)),
                                     app_in(other_namespace(index), second_app(index)), block};
  policy.rules = {{PolicyDirection::kIngress,
                   PolicyAction::kAllow,
                   "ingress[0]",
                   peers,
                   {{Protocol::kTcp, port, port, ""}}},
                  {PolicyDirection::kEgress,
                   PolicyAction::kAllow,
                   "egress[0]",
                   peers,
                   {{Protocol::kTcp, port, static_cast<Port>(port + 10), ""}}}};
  return policy;
}

Identity identity_of(int index) {
  Identity identity;
  identity.number = 256 + static_cast<std::uint32_t>(index);
  identity.cluster = index % 2 == 0 ? "east" : "west";
  identity.name_space = namespace_of(index);
  identity.labels = {{"app", app_of(index)}, {"version", std::to_string(index)}};
  identity.namespace_labels = {{"kubernetes.io/metadata.name", namespace_of(index)}};
  return identity;
}

Ip ip_of(int index) {
  return Ip::v4(0x0a000000U + 1U + static_cast<std::uint32_t>(index));
}

IpOwner owner_of(int index, std::uint32_t identity) {
  IpOwner owner;
  owner.ip = ip_of(index);
  owner.identity = identity;
  owner.cluster = index % 2 == 0 ? "east" : "west";
  owner.name_space = namespace_of(index);
  owner.pod_name = fmt::format("pod-{}", index);
  return owner;
}

// Two pods of each namespace, all governed.
Attachment attachment_of(int index) {
  Attachment row;
  row.container_id = fmt::format("c{}", index);
  row.interface_name = "eth0";
  row.name_space = namespace_of(index);
  row.pod_name = fmt::format("pod-{}", index);
  row.host_interface = fmt::format("tbo{}", index);
  row.ips = {ip_of(index)};
  return row;
}

LocalPod local_pod_of(int index) {
  return {
      namespace_of(index), fmt::format("pod-{}", index), identity_of(index).number, "default", {}};
}

void fill(policy::Compiler& compiler) {
  for (int i = 0; i < kPolicies; ++i) compiler.set_policy(policy_of(i, 0));
  for (int i = 0; i < kIdentities; ++i) {
    Identity identity = identity_of(i);
    compiler.set_owner(owner_of(i, identity.number));
    compiler.set_identity(std::move(identity));
  }
  for (int i = 0; i < kLocalPods; ++i) {
    Attachment row = attachment_of(i);
    LocalPod pod = local_pod_of(i);
    compiler.set_pod({row.key(), row.host_interface, pod.key(), row.ips, pod.identity, pod.ports});
  }
}

std::string iptables_of(int changed, int variant) {
  std::string chains = "*filter\n";
  std::string rules;
  for (int pod = 0; pod < kLocalPods; ++pod) {
    chains += fmt::format(":POD-{} - [0:0]\n", pod);
    int app = pod / kNamespaces % kApps;
    int policy = pod % kNamespaces + kNamespaces * app;  // the one that governs this app
    int port = 8000 + (policy == changed ? variant : 0);
    auto allow = [&](const std::string& source) {
      rules += fmt::format("-A POD-{} -s {} -p tcp --dport {} -j ACCEPT\n", pod, source, port);
    };
    for (int peer = first_app(policy) * kNamespaces + policy % kNamespaces; peer < kIdentities;
         peer += kNamespaces * kApps)
      allow(ip_of(peer).str());
    for (int peer = second_app(policy) * kNamespaces + other_namespace(policy); peer < kIdentities;
         peer += kNamespaces * kApps)
      allow(ip_of(peer).str());
    allow(fmt::format("192.168.{}.0/24", policy % 200));
    rules += fmt::format("-A POD-{} -j DROP\n", pod);
  }
  return chains + rules + "COMMIT\n";
}

}  // namespace tombolo::bench
