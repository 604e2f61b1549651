// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What is told of a packet: a record in the ring, within a budget per CPU, so that a flood of
// denials does not become a flood of records. Counters stay exact.
#pragma once

struct decision {
  __u32 rule;
  __u32 reason;
  __u32 judged_egress;
  struct policy_peer peer;
};

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

static __always_inline void tell(struct __sk_buff* skb, const struct packet* packet,
                                 const struct policy_interface* interface,
                                 const struct decision* decision, _Bool egress, _Bool allowed) {
  __u64 now = bpf_ktime_get_ns();
  if (!may_tell(now)) return;
  struct policy_event* event = bpf_ringbuf_reserve(&pol_events, sizeof(*event), 0);
  if (!event) {
    count(kPolicyEventsLost);
    return;
  }
  __builtin_memset(event, 0, sizeof(*event));
  event->time_ns = now;
  event->ifindex = skb->ifindex;
  event->rule = decision->rule;
  event->own_identity = interface ? interface->identity : 0;
  event->peer_identity = decision->peer.identity;
  event->peer = decision->peer.peer;
  event->length = skb->len;
  set_v6(event->source_be, packet->source_be);
  set_v6(event->destination_be, packet->destination_be);
  event->source_port_be = packet->source_port_be;
  event->destination_port_be = packet->destination_port_be;
  event->protocol = packet->protocol;
  event->egress = egress;
  event->allowed = allowed;
  event->reason = (__u8)decision->reason;
  event->judged_egress = (__u8)decision->judged_egress;
  bpf_ringbuf_submit(event, 0);
}
