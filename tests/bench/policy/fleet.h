// The fleet that the benchmark compiles: policies, identities and addresses as large clusters have
// them, and the pods of one node.
#pragma once

#include <string>
#include <vector>

#include "policy/compiler/compiler.h"

namespace tombolo::bench {

inline constexpr int kNamespaces = 50;
inline constexpr int kIdentities = 10'000;  // each with one address
inline constexpr int kPolicies = 1'000;
inline constexpr int kLocalPods = 100;
inline constexpr int kApps = 20;  // values of the label "app" in each namespace

// Policy number `index`, in one of its `variant`s: another port each. Governs one app of one
// namespace; lets two apps in, of which one is another namespace's, and a block of addresses.
Policy policy_of(int index, int variant);
Identity identity_of(int index);
Ip ip_of(int index);
IpOwner owner_of(int index, std::uint32_t identity);
// Of the first kLocalPods identities.
Attachment attachment_of(int index);
LocalPod local_pod_of(int index);
// Everything of the above.
void fill(policy::Compiler& compiler);

// What a node that keeps policy in iptables loads when policy number `changed` changes: for each of
// its pods a chain with every rule that governs it, peers spelled out as addresses.
std::string iptables_of(int changed, int variant);

}  // namespace tombolo::bench
