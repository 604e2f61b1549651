/* SPDX-License-Identifier: Apache-2.0 OR BSD-2-Clause OR GPL-2.0-only
 *
 * What the eBPF programs and the daemon agree on: keys, values, sizes and names of the pinned maps.
 * Included by C (clang -target bpf) and by C++. Every struct has fixed width, explicit padding and
 * no unions; sizes are asserted on both sides. Any change here needs a new kAbiVersion: pins live
 * under BPFFS_ROOT/tombolo/v<kAbiVersion>/ and are never reused under another layout.
 *
 * How a look-up goes (load balancing at the socket):
 *
 *   frontends[address, port, protocol] -> ring id        hash; the value of a key changes only by
 * replacing it rings[ring id]                     -> one 64-bit word {offset, count, flags}, stored
 * and loaded at once slots[offset + choice]             -> backend id (and the ring id, which must
 * be the one we came from) backends[backend id]               -> address and port; never rewritten
 * while a ring refers to it
 *
 * The one word makes a change of a ring atomic: count and slots can never be of different ages.
 */
#ifndef TOMBOLO_BPF_ABI_H
#define TOMBOLO_BPF_ABI_H

#include <linux/types.h>

#ifdef __cplusplus
#include <type_traits>
namespace tombolo::abi {
#define TOMBOLO_ABI_SIZE(type, size)                                         \
  static_assert(sizeof(type) == (size) && std::is_standard_layout_v<type> && \
                std::has_unique_object_representations_v<type>)
#else
#define TOMBOLO_ABI_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#endif

enum {
  kAbiVersion = 1,
  kMaxFrontends = 65536,     /* addresses x ports x protocols */
  kMaxRings = 65536,         /* services x ports x families; id 0 is never used */
  kMaxBackends = 65536,      /* distinct address, port, protocol; id 0 is never used */
  kMaxSlots = 1 << 20,       /* of all rings together, 8 bytes each */
  kMaxSlotsPerRing = 131071, /* the largest Maglev table */
  kPeersPerSocket = 8, /* services that one unconnected UDP socket talks to at the same time */
};

/* An address as everybody writes it: IPv6, or IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). net_id is
 * the address space: 0 is the fleet's plan, in which nothing overlaps. */
struct lb_endpoint {
  __u32 address_be[4];
  __u32 net_id;
  __u16 port_be;
  __u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
  __u8 pad;
};
TOMBOLO_ABI_SIZE(lb_endpoint, 24);

struct lb_frontend {
  __u32 ring_id;
  __u32 pad;
};
TOMBOLO_ABI_SIZE(lb_frontend, 8);

/* bits 0..31 offset into slots, 32..55 count of slots, 56..63 flags. 0: a service without backends.
 */
struct lb_ring {
  __u64 word;
};
TOMBOLO_ABI_SIZE(lb_ring, 8);

enum {
  kRingMaglev = 1, /* choose by a hash of the socket and the destination, not at random */
};

struct lb_slot {
  __u32 backend_id;
  __u32 ring_id;
};
TOMBOLO_ABI_SIZE(lb_slot, 8);

/* A translation that a socket has: what it asked for, and where that went. */
struct lb_peer {
  struct lb_endpoint backend; /* all zero: unused */
  struct lb_endpoint service;
};
TOMBOLO_ABI_SIZE(lb_peer, 48);

/* Kept with each socket that used a service; goes when the socket goes, so it is never evicted. */
struct lb_socket {
#ifdef __bpf__
  struct bpf_spin_lock lock; /* unconnected UDP sockets are used by several threads at once */
#else
  __u32 lock;
#endif
  __u32 next; /* where the next new peer goes */
  struct lb_peer peers[kPeersPerSocket];
};
TOMBOLO_ABI_SIZE(lb_socket, 8 + 48 * 8);

/* What the iterator over `sockets` tells of a UDP socket: its cookie, as sock_diag(7) has it. */
struct lb_udp_peer {
  __u64 cookie;
  struct lb_endpoint backend;
};
TOMBOLO_ABI_SIZE(lb_udp_peer, 32);

/* Indices of the per-CPU counters, 64 bits each. */
enum lb_counter {
  kCounterMiss,          /* not a service: left alone */
  kCounterTranslated,    /* sent to a backend */
  kCounterNoBackend,     /* refused: the service has no backend */
  kCounterStale,         /* refused: ring, slot and backend disagree; must stay 0 */
  kCounterReversed,      /* an answer or a peer name shown as the service */
  kCounterPeerForgotten, /* an older peer of the same socket gave way (kPeersPerSocket) */
  kCounterPeerNotStored, /* the kernel had no memory for it: the client sees the backend's address
                          */
  kCounters,
};

static inline __u64 lb_ring_word(__u32 offset, __u32 count, __u32 flags) {
  return (__u64)offset | (__u64)(count & 0xffffff) << 32 | (__u64)(flags & 0xff) << 56;
}
static inline __u32 lb_ring_offset(__u64 word) {
  return (__u32)word;
}
static inline __u32 lb_ring_count(__u64 word) {
  return (__u32)(word >> 32) & 0xffffff;
}
static inline __u32 lb_ring_flags(__u64 word) {
  return (__u32)(word >> 56);
}

/* ---- policy at interfaces
 *
 * How a packet is judged:
 *
 *   pol_places[ifindex], pol_pods[slot]          -> the pod: its addresses, one set per direction
 *   pol_buckets, pol_flows[hash of both ends]    -> judged already, under this generation: done
 *   pol_addresses[address], pol_ranges           -> peer number of the other end
 *   pol_sets[set]                                -> where its tables are
 *   pol_classes[set's offset + peer number]      -> peer class
 *   pol_directories[set][protocol][port >> 8] -> a port class, or pol_pages[…][port & 255]
 *   pol_verdicts[set's offset + peer class * port classes + port class] -> allowed or not, rule
 *
 * A set is never rewritten while an interface refers to it; an interface goes from one slot to
 * another in one store.
 */
enum {
  kMaxPolicyInterfaces = 4096,
  kInterfacePlaces = 1 << 14,
  kMaxPolicyAddresses = 1 << 18,
  kMaxPolicyRanges = 1 << 16,
  kFlowWays = 7, /* flows in one bucket */
  kMaxFlowBuckets = 1 << 15,
  kFlowTags = 511, /* what a bucket keeps of a flow's hash: 1 to this */
  kFlowTagShift = 7,
  kMaxPolicyFragments = 4096,
  kMaxPolicySets = 1024,  /* id 0: not isolated */
  kPolicyClosed = 0xffff, /* in place of a set: everything is denied */
  kClassesPerBlock = 32,
  kMaxClassBlocks = 1 << 17, /* 4 Mi peer classes */
  kVerdictsPerBlock = 16,
  kMaxVerdictBlocks = 1 << 17, /* 2 Mi verdicts */
  kPortsPerPage = 256,
  kMaxPortPages = 8192,
  kMaxPolicyRules = 1 << 16,
  kAddressesPerInterface = 8,
  kInterfaceName = 16, /* IFNAMSIZ */
  kTickShift = 29,     /* 0.54 s; 16 bits of them are more than any flow rests */
  kClientPort = 32768, /* from here on Linux takes ports for clients (ip_local_port_range) */
  kPolicyEventsBytes = 1 << 20,
  kPolicyEventsPerSecond = 2000, /* and CPU; more are counted, not told */
};

struct policy_address {
  __u32 address_be[4]; /* as in lb_endpoint */
  __u32 net_id;
};
TOMBOLO_ABI_SIZE(policy_address, 20);

/* For the trie: bits count from net_id on, so a whole IPv4 address has 32 + 128 bits. */
struct policy_range {
  __u32 prefix_bits;
  __u32 net_id_be; /* and 4 or 6 in the upper byte: ::/0 is no range of IPv4 addresses */
  __u32 address_be[4];
};
TOMBOLO_ABI_SIZE(policy_range, 24);

/* bits 0..15 peer number, 16..39 identity, 40..63 policy_check() of the address that it is for (0
 * for ranges): the kernel may give the memory of a hash element to another key while a program
 * looks at it. */
struct policy_peer {
  __u64 word;
};
TOMBOLO_ABI_SIZE(policy_peer, 8);

struct policy_slot {
  __u32 slot;
};
TOMBOLO_ABI_SIZE(policy_slot, 4);

/* The same without hashing, by the lower bits of the interface's number. What is there may be of
 * another interface with the same bits; then the hash is asked. */
struct policy_place {
  __u32 slot;
  __u32 pad;
};
TOMBOLO_ABI_SIZE(policy_place, 8);

/* An interface's slot. It never changes: a change is another slot, and the old one rests until
 * readers are gone. */
struct policy_interface {
  __u32 ifindex; /* must be the one we came from */
  __u32 birth;   /* never 0; no two attachments have the same */
  __u32 identity;
  __u32 ingress_set; /* 0: not isolated; kPolicyClosed */
  __u32 egress_set;
  __u32 address_count;
  char name[kInterfaceName]; /* to know it again when the device is gone */
  __u32 addresses_be[kAddressesPerInterface][4];
};
TOMBOLO_ABI_SIZE(policy_interface, 168);

struct policy_set {
  __u64 name[2]; /* VerdictSet::id, to know it again after a restart */
  __u32 class_block;
  __u32 peer_count;
  __u32 verdict_block;
  __u32 port_class_count;
  __u32 other_class;  /* port class of every protocol without ports */
  __u32 otherwise;    /* the rule that denies a peer without a class */
  __u32 class_blocks; /* how much of each is the set's own */
  __u32 verdict_blocks;
};
TOMBOLO_ABI_SIZE(policy_set, 48);

struct policy_class_block {
  __u16 at[kClassesPerBlock];
};
TOMBOLO_ABI_SIZE(policy_class_block, 64);

struct policy_verdict_block {
  __u32 at[kVerdictsPerBlock];
};
TOMBOLO_ABI_SIZE(policy_verdict_block, 64);

enum { kPolicyAllow = 1u << 31, kDirectoryClass = 1u << 31 };

/* By TCP, UDP, SCTP and the port's upper byte: kDirectoryClass and a class, or a page. */
struct policy_directory {
  __u32 at[3 * 256];
};
TOMBOLO_ABI_SIZE(policy_directory, 3072);

struct policy_page {
  __u16 at[kPortsPerPage];
};
TOMBOLO_ABI_SIZE(policy_page, 512);

enum policy_flow_state {
  kFlowLowStarted = 1, /* the end called low sent the first packet */
  kFlowAnswered = 2,
  kFlowStarterEnds = 4, /* FIN */
  kFlowOtherEnds = 8,
  kFlowReset = 16,
  kFlowNode = 32, /* started by the pod's own node: always allowed */
  kFlowTcp = 64,
};

/* One flow, both directions, of both pods when both are on this node. [1] is for the pod that
 * started it (its egress rules decide), [0] for the pod that it was started to. A cache line. */
struct policy_flow {
  __u64 key[5];        /* lower address, higher address, ports | protocol << 32 | net_id << 40 */
  __u32 generation[2]; /* under which the flow was allowed; 0: it is not */
  __u32 birth[2];      /* of the pod that accepted it once; 0: nobody did */
  __u16 rule[2];
  __u32 seen; /* in ticks of 2^kTickShift ns; also written without the lock */
};
TOMBOLO_ABI_SIZE(policy_flow, 64);

struct policy_flows {
  struct policy_flow at[kFlowWays];
};
TOMBOLO_ABI_SIZE(policy_flows, 448);

/* The bucket of those flows: all that is needed to know that a flow is not there and whose place it
 * may take. Half a cache line, so that the buckets of all flows stay in a CPU's own cache, where
 * the flows themselves do not fit. Both are written by who made the version odd, and read by
 * everybody between two looks at it. */
struct policy_bucket {
  __u32 version;
  __u16 tags[kFlowWays]; /* tag << kFlowTagShift | enum policy_flow_state; 0: free */
  __u16 seen[kFlowWays]; /* lower bits of the flow's */
};
TOMBOLO_ABI_SIZE(policy_bucket, 32);

struct policy_fragment_key {
  __u32 source_be[4];
  __u32 destination_be[4];
  __u32 id;
  __u32 net_id;
  __u8 protocol;
  __u8 pad[3];
};
TOMBOLO_ABI_SIZE(policy_fragment_key, 44);

struct policy_ports {
  __u16 source_be;
  __u16 destination_be;
};
TOMBOLO_ABI_SIZE(policy_ports, 4);

struct policy_globals {
  __u32 generation;    /* of everything that a verdict depends on; never 0 */
  __u32 range_count;   /* 0: the trie need not be asked */
  __u32 trace_accepts; /* 1: tell of new flows that are allowed, too */
  __u32 next_birth;    /* of an interface; the daemon's own, kept over restarts */
  __u64 flow_seed[5];  /* secret, so that nobody can fill one bucket on purpose */
};
TOMBOLO_ABI_SIZE(policy_globals, 56);

struct policy_rule_counts {
  __u64 flows;
  __u64 packets;
  __u64 bytes; /* of whole frames */
};
TOMBOLO_ABI_SIZE(policy_rule_counts, 24);

struct policy_rule {
  __u64 digest; /* NumberedRule::digest; 0: unused */
};
TOMBOLO_ABI_SIZE(policy_rule, 8);

/* In the order of FlowReason (bpf/guard.h). */
enum policy_reason {
  kReasonRule, /* a rule or an isolation decided, or the pod's own node sent it */
  kReasonRevoked,
  kReasonClosed,
  kReasonSource,
  kReasonUnknown,
  kReasonFragment,
  kReasonMalformed,
  kReasonNotIp,
  kReasonIcmpError,
};

struct policy_event {
  __u64 time_ns; /* CLOCK_MONOTONIC */
  __u32 ifindex;
  __u32 rule;
  __u32 own_identity;
  __u32 peer_identity;
  __u32 peer;
  __u32 length;
  __u32 source_be[4];
  __u32 destination_be[4];
  __u16 source_port_be;
  __u16 destination_port_be;
  __u8 protocol;
  __u8 egress; /* 1: the pod sent it */
  __u8 allowed;
  __u8 reason;
  __u8 judged_egress; /* 1: the pod's egress rules decided (an answer is judged as its question) */
  __u8 pad[7];
};
TOMBOLO_ABI_SIZE(policy_event, 80);

enum policy_counter {
  kPolicyPackets,
  kPolicyNewFlows,
  kPolicyDenied,
  kPolicySource,
  kPolicyUnknown,
  kPolicyFragments,
  kPolicyMalformed,
  kPolicyIcmpErrors,
  kPolicyRevoked,
  kPolicyFlowsEvicted,  /* a living flow gave way to a new one: the table is too small */
  kPolicyFlowsPickedUp, /* TCP from the middle: which end began was taken from the ports */
  kPolicyFlowsFromNode,
  kPolicyRejudged,   /* the first packet of a flow after a change of policy */
  kPolicyUnstable,   /* a hash element changed twice while it was read */
  kPolicyEventsLost, /* no room in the ring */
  kPolicyEventsSuppressed,
  kPolicyFlowsBusy, /* not kept or not found, as another CPU had its bucket for too long */
  kPolicyCounters,
};

struct policy_budget {
  __u64 window_ns;
  __u64 used;
};
TOMBOLO_ABI_SIZE(policy_budget, 16);

static inline __u32 policy_check(const __u32* address_be) {
  __u64 high = (__u64)address_be[0] << 32 | address_be[1];
  __u64 low = (__u64)address_be[2] << 32 | address_be[3];
  return (__u32)((high * 0x9e3779b97f4a7c15ULL + low * 0xbf58476d1ce4e5b9ULL) >> 40);
}
static inline __u64 policy_peer_word(__u32 peer, __u32 identity, __u32 check) {
  return (__u64)(peer & 0xffff) | (__u64)(identity & 0xffffff) << 16 |
         (__u64)(check & 0xffffff) << 40;
}
static inline __u32 policy_peer_number(__u64 word) {
  return (__u32)word & 0xffff;
}
static inline __u32 policy_peer_identity(__u64 word) {
  return (__u32)(word >> 16) & 0xffffff;
}

#ifdef __cplusplus
}  // namespace tombolo::abi
#endif

#endif
