// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Who is at the other end, and what the pod's rules say of it: a fixed number of look-ups, whatever
// the number of rules.
#pragma once

enum { kRuleBits = 0xffff };

static __always_inline void count(__u32 which) {
  __u64* value = bpf_map_lookup_elem(&pol_counters, &which);
  if (value) ++*value;
}

static __always_inline struct policy_globals* globals(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&pol_globals, &zero);
}

/* The word (bpf/abi.h) of an address. Peer 0 is everybody whom no rule tells apart. */
static __always_inline __u64 peer_word(const struct ip_address* of) {
  if (!of) return 0xffff;
  const __u32* address_be = of->at;
  struct policy_address address __attribute__((aligned(8)));
  set_halves(address.address_be, address_be[0], address_be[1], address_be[2], address_be[3]);
  address.net_id = net_id;
  for (int i = 0; i < 2; ++i) {
    struct policy_peer* peer = bpf_map_lookup_elem(&pol_addresses, &address);
    if (!peer) break;
    __u64 word = *(volatile __u64*)&peer->word;
    if (word >> 40 == policy_check(address.address_be)) return word;
    if (i == 1) {
      count(kPolicyUnstable);
      return 0xffff; /* a peer that no set knows */
    }
  }
  struct policy_globals* global = globals();
  if (!global || global->range_count == 0) return 0;
  _Bool is_v4 = !address.address_be[0] && !address.address_be[1] &&
                address.address_be[2] == bpf_htonl(0xffff);
  struct policy_range range;
  range.prefix_bits = 160;
  range.net_id_be = bpf_htonl(net_id | (is_v4 ? 4u : 6u) << 24);
  set_v6(range.address_be, address.address_be);
  struct policy_peer* found = bpf_map_lookup_elem(&pol_ranges, &range);
  return found ? *(volatile __u64*)&found->word : 0;
}

static __always_inline __u64 find_peer(const __u32* address_be) {
  return peer_word((const struct ip_address*)address_be);
}

/* The port's class in the set, or the class of all other protocols. */
static __always_inline __u32 port_class(__u32 set_id, const struct policy_set* set, __u32 protocol,
                                        __u32 port) {
  __u32 row;
  if (protocol == IPPROTO_TCP)
    row = 0;
  else if (protocol == IPPROTO_UDP)
    row = 256;
  else if (protocol == IPPROTO_SCTP)
    row = 512;
  else
    return set->other_class;
  struct policy_directory* directory = bpf_map_lookup_elem(&pol_directories, &set_id);
  if (!directory) return ~0u;
  __u32 at = row + (port >> 8);
  if (at >= 768) return ~0u;
  __u32 entry = directory->at[at];
  if (entry & kDirectoryClass) return entry & 0xffff;
  struct policy_page* page = bpf_map_lookup_elem(&pol_pages, &entry);
  return page ? page->at[port & 255] : ~0u;
}

/* kPolicyAllow and the rule, for the port (host order) that a flow was begun to. What the tables do
 * not have is denied. */
__noinline __u32 judge(__u32 set_id, __u32 peer, __u32 protocol, __u32 port) {
  if (set_id == 0) return kPolicyAllow;
  struct policy_set* set = bpf_map_lookup_elem(&pol_sets, &set_id);
  if (!set) return 0; /* kPolicyClosed, too */
  __u32 otherwise = set->otherwise & 0xffff;
  if (peer >= set->peer_count) return otherwise;
  __u32 block = set->class_block + peer / kClassesPerBlock;
  struct policy_class_block* classes = bpf_map_lookup_elem(&pol_classes, &block);
  if (!classes) return otherwise;
  __u32 peer_class = classes->at[peer % kClassesPerBlock];
  __u32 column = port_class(set_id, set, protocol, port & 0xffff);
  if (column >= set->port_class_count) return otherwise;
  __u32 cell = peer_class * set->port_class_count + column;
  block = set->verdict_block + cell / kVerdictsPerBlock;
  struct policy_verdict_block* verdicts = bpf_map_lookup_elem(&pol_verdicts, &block);
  return verdicts ? verdicts->at[cell % kVerdictsPerBlock] : otherwise;
}

static __always_inline void count_rule(struct __sk_buff* skb, __u32 verdict, _Bool new_flow) {
  __u32 rule = verdict & kRuleBits;
  if (rule == 0) return;
  struct policy_rule_counts* counts = bpf_map_lookup_elem(&pol_counts, &rule);
  if (!counts) return;
  __u32 segments = skb->gso_segs; /* one buffer may stand for many packets */
  counts->packets += segments ? segments : 1;
  counts->bytes += skb->len;
  counts->flows += new_flow;
}
