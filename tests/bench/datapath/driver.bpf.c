// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Gives each run of a repeated BPF_PROG_TEST_RUN another source port, so that flows rotate, and
// goes on to the program that is measured, if there is one: without it, this is the floor. The peer
// is a list of rules that is read until one fits (bpf_loop: a call a rule), without memory of
// flows.
// clang-format off: libbpf needs the kernel's types before it
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
// clang-format on

enum { kMaxRules = 10000, kDestination = 30, kPorts = 34 };  // of IPv4 behind Ethernet

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} measured SEC(".maps");

__u64 rules[kMaxRules] = {}; /* address, port, 1 to allow: 32, 16 and 16 bits */
__u32 rule_count = 0;
__u32 run = 0;
__u32 port_mask = 0;
__u32 port_offset = 0;

SEC("tc/ingress")
int drive(struct __sk_buff* skb) {
  __u16 port_be = bpf_htons((__u16)(run++ & port_mask));
  bpf_skb_store_bytes(skb, port_offset, &port_be, sizeof(port_be), 0);
  bpf_tail_call(skb, &measured, 0);
  return 0;
}

struct linear_search {
  __u64 wanted;
  __u64 allow;
};

static long fits(__u32 index, struct linear_search* search) {
  if (index >= kMaxRules) return 1;
  if (rules[index] >> 16 != search->wanted) return 0;
  search->allow = rules[index] & 1;
  return 1;
}

SEC("tc/ingress")
int linear(struct __sk_buff* skb) {
  __u32 address_be;
  __u16 ports_be[2];
  if (bpf_skb_load_bytes(skb, kDestination, &address_be, sizeof(address_be))) return TC_ACT_SHOT;
  if (bpf_skb_load_bytes(skb, kPorts, ports_be, sizeof(ports_be))) return TC_ACT_SHOT;
  struct linear_search search = {};
  search.wanted = (__u64)bpf_ntohl(address_be) << 16 | bpf_ntohs(ports_be[1]);
  bpf_loop(rule_count, fits, &search, 0);
  return search.allow ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
