// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The maps of policy at interfaces; layouts and the way through them: bpf/abi.h.
#pragma once

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, kMaxPolicyInterfaces);
  __type(key, __u32);
  __type(value, struct policy_slot);
} pol_interfaces SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kInterfacePlaces);
  __type(key, __u32);
  __type(value, struct policy_place);
} pol_places SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 2 * kMaxPolicyInterfaces + 1);
  __type(key, __u32);
  __type(value, struct policy_interface);
} pol_pods SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, kMaxPolicyAddresses);
  __type(key, struct policy_address);
  __type(value, struct policy_peer);
} pol_addresses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, kMaxPolicyRanges);
  __type(key, struct policy_range);
  __type(value, struct policy_peer);
} pol_ranges SEC(".maps");

/* Nobody maps these two: the flag aligns their values to pages, so that each bucket and each flow
 * is in one cache line. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxFlowBuckets);
  __type(key, __u32);
  __type(value, struct policy_bucket);
} pol_buckets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxFlowBuckets);
  __type(key, __u32);
  __type(value, struct policy_flows);
} pol_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, kMaxPolicyFragments);
  __type(key, struct policy_fragment_key);
  __type(value, struct policy_ports);
} pol_fragments SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxPolicySets);
  __type(key, __u32);
  __type(value, struct policy_set);
} pol_sets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxClassBlocks);
  __type(key, __u32);
  __type(value, struct policy_class_block);
} pol_classes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxVerdictBlocks);
  __type(key, __u32);
  __type(value, struct policy_verdict_block);
} pol_verdicts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxPolicySets);
  __type(key, __u32);
  __type(value, struct policy_directory);
} pol_directories SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxPortPages);
  __type(key, __u32);
  __type(value, struct policy_page);
} pol_pages SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxPolicyRules);
  __type(key, __u32);
  __type(value, struct policy_rule);
} pol_rules SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct policy_globals);
} pol_globals SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, kMaxPolicyRules);
  __type(key, __u32);
  __type(value, struct policy_rule_counts);
} pol_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, kPolicyCounters);
  __type(key, __u32);
  __type(value, __u64);
} pol_counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct policy_budget);
} pol_budget SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, kPolicyEventsBytes);
} pol_events SEC(".maps");
