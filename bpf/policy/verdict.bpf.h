// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Who is at the other end, and what the pod's rules say of it: a fixed number of look-ups, whatever
// the number of rules.
#pragma once

static __always_inline void count(__u32 which) {
  __u64* value = bpf_map_lookup_elem(&pol_counters, &which);
  if (value) ++*value;
}

static __always_inline struct policy_globals* globals(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&pol_globals, &zero);
}

/* Peer 0 is everybody whom no rule tells apart. */
static __always_inline struct policy_peer find_peer(const __u32 address_be[4],
                                                    const struct policy_globals* global) {
  struct policy_peer nobody = {};
  struct policy_address address;
  set_v6(address.address_be, address_be);
  address.net_id = net_id;
  struct policy_peer* peer = bpf_map_lookup_elem(&pol_addresses, &address);
  if (peer) return *peer;
  if (global->range_count == 0) return nobody;
  struct policy_range range;
  range.prefix_bits = 160;
  range.net_id_be = bpf_htonl(net_id);
  set_v6(range.address_be, address_be);
  peer = bpf_map_lookup_elem(&pol_ranges, &range);
  return peer ? *peer : nobody;
}

/* The port's class in the set, or the class of all other protocols. */
static __always_inline __u32 port_class(__u32 set_id, const struct policy_set* set, __u8 protocol,
                                        __u16 port_be) {
  __u32 row;
  if (protocol == IPPROTO_TCP)
    row = 0;
  else if (protocol == IPPROTO_UDP)
    row = 256;
  else if (protocol == IPPROTO_SCTP)
    row = 512;
  else
    return set->other_class;
  __u16 port = bpf_ntohs(port_be);
  struct policy_directory* directory = bpf_map_lookup_elem(&pol_directories, &set_id);
  if (!directory) return ~0u;
  __u32 at = row + (port >> 8);
  if (at >= 768) return ~0u;
  __u32 entry = directory->at[at];
  if (entry & kDirectoryClass) return entry & 0xffff;
  struct policy_page* page = bpf_map_lookup_elem(&pol_pages, &entry);
  return page ? page->at[port & 255] : ~0u;
}

/* kPolicyAllow and the rule. What the tables do not have is denied. */
static __always_inline __u32 judge(__u32 set_id, __u32 peer, __u8 protocol, __u16 port_be) {
  if (set_id == 0) return kPolicyAllow;
  struct policy_set* set = bpf_map_lookup_elem(&pol_sets, &set_id);
  if (!set) return 0; /* kPolicyClosed, too */
  __u32 otherwise = set->otherwise & 0xffff;
  if (peer >= set->peer_count) return otherwise;
  __u32 block = set->class_block + peer / kClassesPerBlock;
  struct policy_class_block* classes = bpf_map_lookup_elem(&pol_classes, &block);
  if (!classes) return otherwise;
  __u32 peer_class = classes->at[peer % kClassesPerBlock];
  __u32 column = port_class(set_id, set, protocol, port_be);
  if (column >= set->port_class_count) return otherwise;
  __u32 cell = peer_class * set->port_class_count + column;
  block = set->verdict_block + cell / kVerdictsPerBlock;
  struct policy_verdict_block* verdicts = bpf_map_lookup_elem(&pol_verdicts, &block);
  return verdicts ? verdicts->at[cell % kVerdictsPerBlock] : otherwise;
}

static __always_inline void count_rule(__u32 rule, __u32 bytes, _Bool new_flow) {
  if (rule == 0) return;
  struct policy_rule_counts* counts = bpf_map_lookup_elem(&pol_counts, &rule);
  if (!counts) return;
  counts->packets += 1;
  counts->bytes += bytes;
  if (new_flow) counts->flows += 1;
}
