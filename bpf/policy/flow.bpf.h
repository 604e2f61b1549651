// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Connection tracking: one entry per flow, for both directions and for both pods when both are on
// this node. It remembers who began, and what each end decided under which generation; it is never
// needed to be right: without an entry (no room, or the node was just taken over) a packet is
// judged as if it began a flow, and a TCP packet that cannot begin one also as the answer of a flow
// that could be.
#pragma once

enum {
  kTcpFin = 1,
  kTcpSyn = 2,
  kTcpReset = 4,
  kTcpAck = 16,
};

#define SECONDS 1000000000ull

/* How long a silent flow is remembered; RFC 5382, RFC 4787 and RFC 5508 want at least this much. */
static __always_inline __u64 lifetime(__u8 protocol, __u32 flags) {
  if (protocol == IPPROTO_TCP) {
    if (flags & kFlowReset) return 10 * SECONDS;
    if ((flags & (kFlowFinLow | kFlowFinHigh)) == (kFlowFinLow | kFlowFinHigh)) return 60 * SECONDS;
    return flags & kFlowAnswered ? 7440 * SECONDS : 240 * SECONDS;
  }
  if (protocol == IPPROTO_SCTP) return flags & kFlowAnswered ? 7440 * SECONDS : 240 * SECONDS;
  if (protocol == IPPROTO_UDP) return 300 * SECONDS;
  return 60 * SECONDS;
}

static __always_inline int compare_end(const __u32 a[4], const __u32 b[4]) {
  for (int i = 0; i < 4; ++i)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return 0;
}

/* Fills the key; true when the packet's source is the end called low. */
static __always_inline _Bool flow_key(const struct packet* packet, struct policy_flow_key* key) {
  int order = compare_end(packet->source_be, packet->destination_be);
  if (order == 0) order = packet->source_port_be <= packet->destination_port_be ? -1 : 1;
  _Bool source_low = order < 0;
  set_v6(key->low_be, source_low ? packet->source_be : packet->destination_be);
  set_v6(key->high_be, source_low ? packet->destination_be : packet->source_be);
  key->low_port_be = source_low ? packet->source_port_be : packet->destination_port_be;
  key->high_port_be = source_low ? packet->destination_port_be : packet->source_port_be;
  key->net_id = net_id;
  key->protocol = packet->protocol;
  key->pad[0] = 0;
  key->pad[1] = 0;
  key->pad[2] = 0;
  return source_low;
}

/* The entry, unless it has been silent for too long or another connection takes its ports. */
static __always_inline struct policy_flow* find_flow(const struct policy_flow_key* key,
                                                     const struct packet* packet, __u64 now) {
  struct policy_flow* flow = bpf_map_lookup_elem(&pol_flows, key);
  if (!flow) return 0;
  if (now - flow->seen_ns > lifetime(key->protocol, flow->flags)) return 0;
  _Bool opens = (packet->tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn;
  _Bool closed = (flow->flags & kFlowReset) ||
                 (flow->flags & (kFlowFinLow | kFlowFinHigh)) == (kFlowFinLow | kFlowFinHigh);
  if (opens && closed) return 0;
  return flow;
}

static __always_inline void touch(struct policy_flow* flow, const struct packet* packet,
                                  _Bool source_low, __u64 now) {
  __u32 flags = flow->flags;
  if (packet->tcp_flags & kTcpFin) flags |= source_low ? kFlowFinLow : kFlowFinHigh;
  if (packet->tcp_flags & kTcpReset) flags |= kFlowReset;
  _Bool from_beginner = source_low == !(flags & kFlowHighBegan);
  if (!from_beginner) flags |= kFlowAnswered;
  if (flags != flow->flags) flow->flags = flags;
  /* A line that another CPU reads is not written with every packet. */
  if (now - flow->seen_ns > SECONDS / 4) flow->seen_ns = now;
}
