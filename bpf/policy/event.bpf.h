// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What is told of a packet: a record in the ring, within a budget per CPU, so that a flood of
// denials does not become a flood of records. Counters stay exact.
#pragma once

static __always_inline _Bool may_tell(__u64 now) {
  __u32 zero = 0;
  struct policy_budget* budget = bpf_map_lookup_elem(&pol_budget, &zero);
  if (!budget) return 0;
  if (now - budget->window_ns >= 1000000000ull) {
    budget->window_ns = now;
    budget->used = 0;
  }
  if (budget->used >= kPolicyEventsPerSecond) {
    count(kPolicyEventsSuppressed);
    return 0;
  }
  ++budget->used;
  return 1;
}

/* Packed, as a call has five arguments: whose rules decided, the reason, the verdict. */
static __always_inline __u64 what_to_say(__u32 judged_egress, __u32 reason, __u32 verdict) {
  return (__u64)judged_egress << 40 | (__u64)reason << 32 | verdict;
}

__noinline int tell(struct __sk_buff* skb, const struct packet* packet,
                    const struct policy_interface* pod, __u64 peer, __u64 said) {
  if (!packet) return 0;
  __u64 now = bpf_ktime_get_ns();
  if (!may_tell(now)) return 0;
  struct policy_event* event = bpf_ringbuf_reserve(&pol_events, sizeof(*event), 0);
  if (!event) {
    count(kPolicyEventsLost);
    return 0;
  }
  __builtin_memset(event, 0, sizeof(*event));
  event->time_ns = now;
  event->ifindex = skb->ifindex;
  event->rule = (__u32)said & kRuleBits;
  event->own_identity = pod ? pod->identity : 0;
  event->peer_identity = policy_peer_identity(peer);
  event->peer = policy_peer_number(peer);
  event->length = skb->len;
  set_v6(event->source_be, packet->source);
  set_v6(event->destination_be, packet->destination);
  event->source_port_be = packet->source_port;
  event->destination_port_be = packet->destination_port;
  event->protocol = packet->protocol;
  event->egress = packet->from_pod;
  event->allowed = (__u32)said >> 31;
  event->reason = (__u8)(said >> 32);
  event->judged_egress = (__u8)(said >> 40);
  bpf_ringbuf_submit(event, 0);
  return 0;
}
