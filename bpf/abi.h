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

#ifdef __cplusplus
}  // namespace tombolo::abi
#endif

#endif
