// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The table of flows: buckets of seven in one array. A bucket is written by one CPU at a time, and
// read by all. It is never full: in a full bucket a new flow takes the place of the one that was
// seen longest ago, and that is counted. Nothing here needs the daemon.
//
// A new flow costs what it costs to wait for memory: one line of its bucket, which is read, and one
// of its own, which is only written. Nothing behind that waits for it: giving a bucket back is a
// plain store, where bpf_spin_unlock may be an atomic operation.
#pragma once

enum { kTakeTries = 1024 }; /* some microseconds; writing takes a tenth of one */

/* Seconds after which a flow is forgotten. */
enum {
  kTcpOpening = 60,
  kTcpEstablished = 21600,
  kTcpEnding = 10,
  kOtherOneWay = 60,
  kOtherAnswered = 180,
};

enum { kStateBits = (1 << kFlowTagShift) - 1, kTagBits = 0xffff & ~kStateBits };

struct flow_place {
  __u64 key[5];
  __u32 bucket;
  __u32 tag;      /* shifted */
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
  __u32 way;
  __u32 generation;
  __u32 rule;
};

static __always_inline void place_of(const struct policy_globals* state, __u32 buckets,
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
  place->bucket = (__u32)((hash & 0xffffffff) * buckets >> 32);
  place->tag = (1 + (__u32)((hash >> 32) * kFlowTags >> 32)) << kFlowTagShift;
  /* Its memory is fetched while other things are done. */
  struct policy_bucket* bucket = bpf_map_lookup_elem(&pol_buckets, &place->bucket);
  if (bucket) (void)*(volatile __u32*)&bucket->version;
}

/* By its state and the ticks since it was seen. */
static __always_inline _Bool is_expired(__u32 state, __u32 age) {
  __u64 limit_s = kOtherOneWay;
  if (state & kFlowTcp) {
    limit_s = state & kFlowAnswered ? kTcpEstablished : kTcpOpening;
    __u32 ends = state & (kFlowStarterEnds | kFlowOtherEnds);
    if (state & kFlowReset || ends == (kFlowStarterEnds | kFlowOtherEnds)) limit_s = kTcpEnding;
  } else if (state & kFlowAnswered) {
    limit_s = kOtherAnswered;
  }
  return age > limit_s * 1000000000 >> kTickShift;
}

static __always_inline _Bool same_key(const __u64* a, const __u64* b) {
  return a[3] == b[3] && a[4] == b[4] && a[1] == b[1] && a[0] == b[0] && a[2] == b[2];
}

/* 1 for 0, else 0; x below 2^31. Without branches, each of which doubles what the verifier walks.
 */
static __always_inline __u32 is_zero(__u32 x) {
  __u32 less = x - 1;
  barrier_var(less);
  return less >> 31;
}

/* Which of the ways has the flow, or kFlowWays. */
static __always_inline __u32 way_of(const struct policy_bucket* bucket,
                                    const struct policy_flows* flows,
                                    const struct flow_place* place) {
  __u32 candidates = 0;
#pragma unroll
  for (__u32 i = 0; i < kFlowWays; ++i)
    candidates |= is_zero((bucket->tags[i] & kTagBits) ^ place->tag) << i;
  for (int i = 0; i < kFlowWays && candidates; ++i) {
    __u32 lowest = candidates & -candidates;
    __u32 way = (is_zero(lowest & 0xaa) ^ 1) | (is_zero(lowest & 0xcc) ^ 1) << 1 |
                (is_zero(lowest & 0xf0) ^ 1) << 2;
    barrier_var(way); /* the verifier wants to see the limit */
    if (way >= kFlowWays) break;
    if (same_key(flows->at[way].key, place->key)) return way;
    candidates &= candidates - 1;
  }
  return kFlowWays;
}

/* Ticks since the oldest flow was seen, with its way in the lower three bits; bit 20 for a free
 * place. */
static __always_inline __u32 oldest_of(const struct policy_bucket* bucket, __u32 now) {
  __u32 oldest = 0;
#pragma unroll
  for (__u32 i = 0; i < kFlowWays; ++i) {
    /* A packet may have been seen by another CPU after this one looked at the clock. */
    __u32 age = (__u32)(__u16)(now - bucket->seen[i] + 1) << 3 | i;
    age |= is_zero(bucket->tags[i]) << 20;
    __u32 less = oldest - age;
    barrier_var(less);
    less = (__u32)((__s32)less >> 31);
    oldest ^= (oldest ^ age) & less;
  }
  return oldest;
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

/* A copy of the flow, if it is there. */
static __always_inline void look(const struct policy_bucket* bucket,
                                 const struct policy_flows* flows, const struct meeting* met,
                                 struct found_flow* out) {
  out->found = 0;
  __u32 way = way_of(bucket, flows, &met->place);
  if (way >= kFlowWays) return;
  const struct policy_flow* flow = &flows->at[way];
  __u32 state = bucket->tags[way] & kStateBits;
  __s32 age = (__s32)(met->now - flow->seen);
  /* A packet may have been seen by another CPU after this one looked at the clock. */
  if (age > 0 && is_expired(state, (__u32)age)) return;
  out->found = 1;
  out->way = way;
  out->state = state;
  out->forward = (state & kFlowLowStarted) == met->place.low_sent;
  out->side = out->forward ? met->side : !met->side;
  out->generation = out->side ? flow->generation[1] : flow->generation[0];
  out->rule = out->side ? flow->rule[1] : flow->rule[0];
  out->birth = out->side ? flow->birth[1] : flow->birth[0];
}

/* Between looks at the version and what is read in their protection: x86 keeps loads in order and
 * stores in order, others are told to by an atomic operation. */
static __always_inline __u32 version_of(struct policy_bucket* bucket) {
  if (weakly_ordered) return __sync_fetch_and_add(&bucket->version, 0);
  return *(volatile __u32*)&bucket->version;
}

static __always_inline __u32 try_to_take(struct policy_bucket* bucket) {
  __u32 version = *(volatile __u32*)&bucket->version;
  if (version & 1) return 0;
  __u32 found = __sync_val_compare_and_swap(&bucket->version, version, version + 1);
  return found == version ? version + 1 : 0;
}

struct waiting {
  struct policy_bucket* bucket;
  __u32 version;
  __u32 pad;
};

static long try_again(__u32 index, struct waiting* waiting) {
  (void)index;
  waiting->version = try_to_take(waiting->bucket);
  return waiting->version != 0;
}

__noinline __u32 wait_and_take(struct policy_bucket* bucket) {
  if (!bucket) return 0;
  struct waiting waiting = {.bucket = bucket};
  bpf_loop(kTakeTries, try_again, &waiting, 0);
  if (!waiting.version) count(kPolicyFlowsBusy);
  return waiting.version;
}

/* Makes the bucket this CPU's and returns its version meanwhile, or 0: another has it. Whoever has
 * one gives it back within a few instructions, but a virtual CPU may rest in between, or be
 * interrupted. */
static __always_inline __u32 take(struct policy_bucket* bucket) {
  __u32 version = try_to_take(bucket);
  return version ? version : wait_and_take(bucket);
}

static __always_inline void give_back(struct policy_bucket* bucket, __u32 version) {
  barrier();
  if (weakly_ordered)
    __sync_fetch_and_add(&bucket->version, 1);
  else
    *(volatile __u32*)&bucket->version = version + 1;
}

/* Finds the flow and returns 1 when the packet passes by a judgement of this generation. Generation
 * 0 only looks. */
__noinline int meet(const struct meeting* met, struct found_flow* flow) {
  if (!met || !flow) return 0;
  struct policy_bucket* bucket = bpf_map_lookup_elem(&pol_buckets, &met->place.bucket);
  struct policy_flows* flows = bpf_map_lookup_elem(&pol_flows, &met->place.bucket);
  if (!bucket || !flows) return 0;
  __u32 version = version_of(bucket);
  barrier();
  look(bucket, flows, met, flow);
  barrier();
  if (version & 1 || version_of(bucket) != version) {
    flow->found = 0;
    version = take(bucket);
    if (!version) return 0;
    look(bucket, flows, met, flow);
    give_back(bucket, version);
  }
  if (!met->generation || !flow->found || flow->birth != met->birth) return 0;
  if (!flow->forward && met->kind == kOpens) return 0;
  __u32 state = flow->state;
  /* The node always reaches its pods, and a pod may always answer it. */
  _Bool allowed = state & kFlowNode ? (met->side ? !flow->forward : met->from_node)
                                    : flow->generation == met->generation;
  if (!allowed) return 0;
  __u32 way = flow->way;
  if (way >= kFlowWays) return 0;
  struct policy_flow* kept = &flows->at[way];
  if (kept->seen != met->now) {
    kept->seen = met->now;
    bucket->seen[way] = (__u16)met->now;
  }
  if (next_state(state, flow->forward, met->protocol, met->kind, met->tcp_flags) == state) return 1;
  version = take(bucket);
  if (!version) return 1; /* the next packet tells it again */
  /* Unless another has its place by now. */
  __u32 tag = bucket->tags[way];
  if ((tag & kTagBits) == met->place.tag && same_key(kept->key, met->place.key) &&
      !((state ^ tag) & kFlowLowStarted))
    bucket->tags[way] =
        (__u16)(met->place.tag | next_state(tag & kStateBits, flow->forward, met->protocol,
                                            met->kind, met->tcp_flags));
  give_back(bucket, version);
  return 1;
}

struct judgement {
  __u32 verdict;
  __u32 forward;
  __u32 side;
  __u32 node;  /* kFlowNode or 0 */
  __u32 fresh; /* begin anew: whatever was known of the flow is forgotten */
};

/* Keeps a judgement, in place of the flow itself, of a free, an expired or the oldest one. */
__noinline int keep(const struct meeting* met, const struct judgement* said) {
  if (!met || !said) return 0;
  struct policy_bucket* bucket = bpf_map_lookup_elem(&pol_buckets, &met->place.bucket);
  struct policy_flows* flows = bpf_map_lookup_elem(&pol_flows, &met->place.bucket);
  if (!bucket || !flows) return 0;
  __u32 version = take(bucket);
  if (!version) return 0; /* the next packet is judged, too */
  barrier();
  _Bool evicted = 0;
  __u32 way = way_of(bucket, flows, &met->place);
  _Bool fresh = said->fresh || way == kFlowWays;
  if (way >= kFlowWays) {
    __u32 oldest = oldest_of(bucket, met->now);
    way = oldest & 7;
    barrier_var(way);
    if (way >= kFlowWays) way = 0; /* never; the verifier does not know */
    evicted = !(oldest >> 20) && !is_expired(bucket->tags[way] & kStateBits, (oldest >> 3) - 1);
  }
  struct policy_flow* flow = &flows->at[way];
  __u32 state = bucket->tags[way] & kStateBits;
  if (fresh) {
    flow->key[0] = met->place.key[0];
    flow->key[1] = met->place.key[1];
    flow->key[2] = met->place.key[2];
    flow->key[3] = met->place.key[3];
    flow->key[4] = met->place.key[4];
    flow->generation[0] = 0;
    flow->generation[1] = 0;
    flow->birth[0] = 0;
    flow->birth[1] = 0;
    flow->seen = met->now;
    bucket->seen[way] = (__u16)met->now;
    state = said->forward ? met->place.low_sent : met->place.low_sent ^ kFlowLowStarted;
    state |= said->node;
    if (met->protocol == IPPROTO_TCP) state |= kFlowTcp;
  }
  __u32 side = said->side & 1;
  if (said->verdict & kPolicyAllow) {
    flow->generation[side] = met->generation;
    flow->rule[side] = (__u16)said->verdict;
    flow->birth[side] = met->birth;
    flow->seen = met->now;
    bucket->seen[way] = (__u16)met->now;
    state = next_state(state, said->forward, met->protocol, met->kind, met->tcp_flags);
  } else {
    flow->generation[side] = 0;
  }
  bucket->tags[way] = (__u16)(met->place.tag | state);
  give_back(bucket, version);
  if (evicted) count(kPolicyFlowsEvicted);
  return 0;
}
