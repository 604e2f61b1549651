// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The table of flows: buckets of eight, each under a spin lock, in one array. It is never full: in
// a full bucket a new flow takes the place of the one that was seen longest ago, and that is
// counted. Nothing here needs the daemon.
#pragma once

/* Seconds after which a flow is forgotten. */
enum {
  kTicksPerSecond = 1000000000 >> kTickShift,
  kTcpOpening = 60,
  kTcpEstablished = 21600,
  kTcpEnding = 10,
  kOtherOneWay = 60,
  kOtherAnswered = 180,
};

struct flow_place {
  __u64 key[5];
  __u32 bucket;
  __u32 tag;
  __u32 low_sent; /* kFlowLowStarted when the packet comes from the lower endpoint, else 0 */
  __u32 pad;
};

/* What a packet meets. */
struct meeting {
  struct flow_place place;
  __u32 now; /* ticks */
  __u32 generation;
  __u32 birth; /* of the pod */
  __u32 side;  /* 0: the packet goes to the pod, 1: it comes from it */
  __u32 protocol;
  __u32 kind;
  __u32 tcp_flags;
  __u32 from_node;
};

/* A copy of what was found. */
struct found_flow {
  __u32 found;
  __u32 forward; /* the packet goes the way of the flow's first one */
  __u32 side;    /* which side of the flow the pod is */
  __u32 birth;
  __u32 state;
  __u32 passed; /* nothing more to decide */
  __u64 judged;
};

static __always_inline void place_of(const struct policy_globals* state, __u32 mask,
                                     const struct packet* packet, struct flow_place* place) {
  __u64 source_high = *(const __u64*)&packet->source[0];
  __u64 source_low = *(const __u64*)&packet->source[2];
  __u64 destination_high = *(const __u64*)&packet->destination[0];
  __u64 destination_low = *(const __u64*)&packet->destination[2];
  _Bool low_sent = source_high < destination_high;
  if (source_high == destination_high) {
    low_sent = source_low < destination_low;
    if (source_low == destination_low) low_sent = packet->source_port <= packet->destination_port;
  }
  __u64 rest = (__u64)packet->protocol << 32 | (__u64)net_id << 40;
  if (low_sent) {
    place->key[0] = source_high;
    place->key[1] = source_low;
    place->key[2] = destination_high;
    place->key[3] = destination_low;
    place->key[4] = rest | packet->source_port | (__u32)packet->destination_port << 16;
  } else {
    place->key[0] = destination_high;
    place->key[1] = destination_low;
    place->key[2] = source_high;
    place->key[3] = source_low;
    place->key[4] = rest | packet->destination_port | (__u32)packet->source_port << 16;
  }
  place->low_sent = low_sent ? kFlowLowStarted : 0;
  __u64 hash = 0;
  for (int i = 0; i < 5; ++i) {
    __u64 word = place->key[i] * state->flow_seed[i];
    hash += word ^ word >> 32;
  }
  hash ^= hash >> 29;
  hash *= 0xbf58476d1ce4e5b9ULL;
  hash ^= hash >> 32;
  place->bucket = (__u32)hash & mask;
  place->tag = (__u32)(hash >> 32) | 1;
}

static __always_inline _Bool is_expired(const struct policy_flow* flow, __u32 now) {
  __u32 limit = kOtherOneWay;
  if ((__u8)(flow->key[4] >> 32) == IPPROTO_TCP) {
    limit = flow->state & kFlowAnswered ? kTcpEstablished : kTcpOpening;
    __u32 ends = flow->state & (kFlowStarterEnds | kFlowOtherEnds);
    if (flow->state & kFlowReset || ends == (kFlowStarterEnds | kFlowOtherEnds)) limit = kTcpEnding;
  } else if (flow->state & kFlowAnswered) {
    limit = kOtherAnswered;
  }
  return now - flow->seen > limit * kTicksPerSecond;
}

static __always_inline _Bool same_key(const __u64* a, const __u64* b) {
  return a[3] == b[3] && a[4] == b[4] && a[1] == b[1] && a[0] == b[0] && a[2] == b[2];
}

/* Which of the ways has the flow, or kFlowWays. The lock is held. */
static __always_inline __u32 way_of(const struct policy_bucket* bucket,
                                    const struct flow_place* place) {
#pragma unroll
  for (__u32 i = 0; i < kFlowWays; ++i)
    if (bucket->tags[i] == place->tag && same_key(bucket->flows[i].key, place->key)) return i;
  return kFlowWays;
}

/* The state after a packet that passed. */
static __always_inline __u32 next_state(__u32 state, _Bool forward, __u32 protocol, __u32 kind,
                                        __u32 tcp_flags) {
  if (!forward) state |= kFlowAnswered;
  if (protocol != IPPROTO_TCP) return state;
  if (kind == kOpens)
    return state & ~(__u32)(kFlowAnswered | kFlowStarterEnds | kFlowOtherEnds | kFlowReset);
  if (tcp_flags & kTcpFin) state |= forward ? kFlowStarterEnds : kFlowOtherEnds;
  if (tcp_flags & kTcpRst) state |= kFlowReset;
  return state;
}

/* Finds the flow; a packet of one that is judged in this generation is let through here. */
__noinline int meet(const struct meeting* met, struct found_flow* out) {
  if (!met || !out) return 0;
  struct policy_bucket* bucket = bpf_map_lookup_elem(&pol_flows, &met->place.bucket);
  if (!bucket) return 0;
  out->found = 0;
  out->passed = 0;
  bpf_spin_lock(&bucket->lock);
  __u32 way = way_of(bucket, &met->place);
  if (way < kFlowWays) {
    struct policy_flow* flow = &bucket->flows[way];
    if (!is_expired(flow, met->now)) {
      __u32 state = flow->state;
      __u32 forward = (state & kFlowLowStarted) == met->place.low_sent;
      __u32 side = forward ? met->side : !met->side;
      __u64 judged = side ? flow->judged[1] : flow->judged[0];
      __u32 birth = side ? flow->birth[1] : flow->birth[0];
      out->found = 1;
      out->forward = forward;
      out->side = side;
      out->judged = judged;
      out->birth = birth;
      out->state = state;
      _Bool current = birth == met->birth && (forward || met->kind != kOpens);
      _Bool allowed =
          judged >> 32 == met->generation && judged & kPolicyAllow && !(state & kFlowNode);
      /* The node always reaches its pods, and a pod may always answer it. */
      if (state & kFlowNode) allowed = met->side ? !forward : met->from_node;
      if (current && allowed) {
        out->passed = 1;
        flow->seen = met->now;
        flow->state = next_state(state, forward, met->protocol, met->kind, met->tcp_flags);
      }
    }
  }
  bpf_spin_unlock(&bucket->lock);
  return 0;
}

struct judgement {
  __u64 judged;
  __u32 forward;
  __u32 side;
  __u32 node;  /* kFlowNode or 0 */
  __u32 fresh; /* begin anew: whatever was known of the flow is forgotten */
};

/* Keeps a judgement, in place of the flow itself, of a free, an expired or the oldest one. */
__noinline int keep(const struct meeting* met, const struct judgement* said) {
  if (!met || !said) return 0;
  struct policy_bucket* bucket = bpf_map_lookup_elem(&pol_flows, &met->place.bucket);
  if (!bucket) return 0;
  _Bool evicted = 0;
  bpf_spin_lock(&bucket->lock);
  __u32 way = way_of(bucket, &met->place);
  _Bool fresh = said->fresh || way == kFlowWays;
  if (way == kFlowWays) {
    __u32 oldest = 0;
    way = 0;
#pragma unroll
    for (__u32 i = 0; i < kFlowWays; ++i) {
      __u32 age = met->now - bucket->flows[i].seen;
      if (bucket->tags[i] == 0) age = ~0u;
      if (age >= oldest) {
        oldest = age;
        way = i;
      }
    }
    way &= kFlowWays - 1;
    evicted = oldest != ~0u && !is_expired(&bucket->flows[way], met->now);
    bucket->tags[way] = met->place.tag;
  }
  struct policy_flow* flow = &bucket->flows[way & (kFlowWays - 1)];
  if (fresh) {
    flow->key[0] = met->place.key[0];
    flow->key[1] = met->place.key[1];
    flow->key[2] = met->place.key[2];
    flow->key[3] = met->place.key[3];
    flow->key[4] = met->place.key[4];
    flow->judged[0] = 0;
    flow->judged[1] = 0;
    flow->birth[0] = 0;
    flow->birth[1] = 0;
    __u32 low_started = said->forward ? met->place.low_sent : met->place.low_sent ^ kFlowLowStarted;
    flow->state = low_started | said->node;
  }
  _Bool allowed = said->judged & kPolicyAllow;
  if (said->side) {
    flow->judged[1] = said->judged;
    if (allowed) flow->birth[1] = met->birth;
  } else {
    flow->judged[0] = said->judged;
    if (allowed) flow->birth[0] = met->birth;
  }
  if (allowed) {
    flow->seen = met->now;
    flow->state = next_state(flow->state, said->forward, met->protocol, met->kind, met->tcp_flags);
  }
  bpf_spin_unlock(&bucket->lock);
  if (evicted) count(kPolicyFlowsEvicted);
  return 0;
}
