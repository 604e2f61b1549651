// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Load balancing at the socket: a connect() or sendto() to a service address goes straight to one
// backend, so that no packet is rewritten later; recvmsg() and getpeername() show the service
// again. Attached at the node's cgroup_root, for IPv4, IPv6 and IPv4-mapped destinations, TCP and
// UDP (connected or not). Hooks: kernel net/ipv4/af_inet.c, net/ipv4/udp.c, net/ipv6/udp.c and
// their use of BPF_CGROUP_RUN_*. Needs Linux 6.1; only UAPI structs, so no CO-RE. Maps: see
// bpf/abi.h.
// clang-format off: libbpf needs the kernel's types before it
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
// clang-format on

#include "bpf/abi.h"

// Which address space this node's sockets are in.
const volatile __u32 net_id = 0;
// bpf_set_retval in cgroup/connect: Linux 6.1 has it; without it a refused call sees EPERM.
const volatile __u8 has_set_retval = 1;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, kMaxFrontends);
  __type(key, struct lb_endpoint);
  __type(value, struct lb_frontend);
} frontends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxRings);
  __type(key, __u32);
  __type(value, struct lb_ring);
} rings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxSlots);
  __type(key, __u32);
  __type(value, struct lb_slot);
} slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kMaxBackends);
  __type(key, __u32);
  __type(value, struct lb_endpoint);
} backends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct lb_socket);
} sockets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, kCounters);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

enum verdict { kRefuse = 0, kPass = 1 };  // of connect and sendmsg; the others always pass

static __always_inline void count(__u32 which) {
  __u64* value = bpf_map_lookup_elem(&counters, &which);
  if (value) ++*value;
}

static __always_inline int refuse(__u32 why) {
  count(why);
  if (has_set_retval) bpf_set_retval(-ECONNREFUSED);
  return kRefuse;
}

static __always_inline _Bool same_place(const struct lb_endpoint* a, const struct lb_endpoint* b) {
  return a->address_be[3] == b->address_be[3] && a->port_be == b->port_be &&
         a->address_be[2] == b->address_be[2] && a->address_be[1] == b->address_be[1] &&
         a->address_be[0] == b->address_be[0];
}

// The destination (or source) that the call carries. False: a protocol that is not balanced.
static __always_inline _Bool read_place(struct bpf_sock_addr* ctx, _Bool is_v4,
                                        struct lb_endpoint* place) {
  __u32 protocol = ctx->protocol;
  if (protocol == 262) protocol = IPPROTO_TCP;  // IPPROTO_MPTCP (RFC 8684) falls back to TCP
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return 0;
  if (is_v4) {
    place->address_be[0] = 0;
    place->address_be[1] = 0;
    place->address_be[2] = bpf_htonl(0xffff);
    place->address_be[3] = ctx->user_ip4;
  } else {
    place->address_be[0] = ctx->user_ip6[0];
    place->address_be[1] = ctx->user_ip6[1];
    place->address_be[2] = ctx->user_ip6[2];
    place->address_be[3] = ctx->user_ip6[3];
  }
  place->net_id = net_id;
  place->port_be = (__u16)ctx->user_port;
  place->protocol = (__u8)protocol;
  place->pad = 0;
  return 1;
}

static __always_inline void write_place(struct bpf_sock_addr* ctx, _Bool is_v4,
                                        const struct lb_endpoint* place) {
  if (is_v4) {
    ctx->user_ip4 = place->address_be[3];
  } else {
    ctx->user_ip6[0] = place->address_be[0];
    ctx->user_ip6[1] = place->address_be[1];
    ctx->user_ip6[2] = place->address_be[2];
    ctx->user_ip6[3] = place->address_be[3];
  }
  ctx->user_port = place->port_be;
}

// Finalizer of splitmix64: spreads socket cookies, which are consecutive numbers.
static __always_inline __u64 mix(__u64 value) {
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9ULL;
  value ^= value >> 27;
  value *= 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

// 32 bits that choose the slot. There is no source port yet, so the socket's cookie stands for the
// flow: Maglev gives one socket the same backend for as long as the ring allows. Datagrams of one
// unconnected socket must not be scattered over the backends either.
static __always_inline __u32 choice(struct bpf_sock_addr* ctx, const struct lb_endpoint* service,
                                    _Bool by_socket) {
  if (!by_socket) return bpf_get_prandom_u32();
  __u64 place = (__u64)service->address_be[3] << 16 | service->port_be;
  return (__u32)(mix(bpf_get_socket_cookie(ctx) + mix(place)) >> 32);
}

// Remembers that `backend` stands for `service` on this socket.
static __always_inline void remember(struct bpf_sock_addr* ctx, const struct lb_endpoint* service,
                                     const struct lb_endpoint* backend) {
  struct bpf_sock* socket = ctx->sk;
  struct lb_socket* state =
      socket ? bpf_sk_storage_get(&sockets, socket, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
  if (!state) {
    count(kCounterPeerNotStored);
    return;
  }
  _Bool replaced = 0;
  bpf_spin_lock(&state->lock);
  __u32 at = kPeersPerSocket;
  for (__u32 i = 0; i < kPeersPerSocket; ++i) {
    if (same_place(&state->peers[i].backend, backend)) {
      at = i;
      break;
    }
  }
  if (at >= kPeersPerSocket) {
    at = state->next % kPeersPerSocket;
    state->next = at + 1;
    replaced = state->peers[at].backend.port_be != 0;
  }
  state->peers[at].backend = *backend;
  state->peers[at].service = *service;
  bpf_spin_unlock(&state->lock);
  if (replaced) count(kCounterPeerForgotten);
}

// The socket now talks to `place` itself: answers from there are no service's. The kernel hands
// every send() of an IPv6 UDP socket that is connected to an IPv4-mapped address to the IPv4 code
// with the peer as if it were named in the call (net/ipv6/udp.c): that changes nothing.
static __always_inline void forget(struct bpf_sock_addr* ctx, const struct lb_endpoint* place,
                                   _Bool is_datagram) {
  struct bpf_sock* socket = ctx->sk;
  if (!socket || (is_datagram && socket->state == BPF_TCP_ESTABLISHED)) return;
  struct lb_socket* state = bpf_sk_storage_get(&sockets, socket, 0, 0);
  if (!state) return;
  bpf_spin_lock(&state->lock);
  for (__u32 i = 0; i < kPeersPerSocket; ++i) {
    if (same_place(&state->peers[i].backend, place)) {
      __builtin_memset(&state->peers[i], 0, sizeof(state->peers[i]));
      break;
    }
  }
  bpf_spin_unlock(&state->lock);
}

// connect and sendmsg.
static __always_inline int translate(struct bpf_sock_addr* ctx, _Bool is_v4, _Bool is_datagram) {
  struct lb_endpoint service = {};
  if (!read_place(ctx, is_v4, &service)) return kPass;
  struct lb_frontend* frontend = bpf_map_lookup_elem(&frontends, &service);
  if (!frontend) {
    count(kCounterMiss);
    forget(ctx, &service, is_datagram);
    return kPass;
  }
  __u32 ring_id = frontend->ring_id;
  struct lb_ring* ring = bpf_map_lookup_elem(&rings, &ring_id);
  if (!ring) return refuse(kCounterStale);
  __u64 word = *(volatile __u64*)&ring->word;
  __u32 slot_count = lb_ring_count(word);
  if (slot_count == 0) return refuse(kCounterNoBackend);
  __u32 random = choice(ctx, &service, is_datagram || (lb_ring_flags(word) & kRingMaglev));
  __u32 slot_at = lb_ring_offset(word) + (__u32)((__u64)random * slot_count >> 32);
  struct lb_slot* slot = bpf_map_lookup_elem(&slots, &slot_at);
  if (!slot || slot->ring_id != ring_id) return refuse(kCounterStale);
  __u32 backend_id = slot->backend_id;
  struct lb_endpoint* found = bpf_map_lookup_elem(&backends, &backend_id);
  if (!found) return refuse(kCounterStale);
  struct lb_endpoint backend = *found;
  if (backend.port_be == 0) return refuse(kCounterStale);
  remember(ctx, &service, &backend);
  write_place(ctx, is_v4, &backend);
  count(kCounterTranslated);
  return kPass;
}

// recvmsg and getpeername.
static __always_inline int reverse(struct bpf_sock_addr* ctx, _Bool is_v4) {
  struct lb_endpoint place = {};
  if (!read_place(ctx, is_v4, &place)) return kPass;
  struct bpf_sock* socket = ctx->sk;
  struct lb_socket* state = socket ? bpf_sk_storage_get(&sockets, socket, 0, 0) : 0;
  if (!state) return kPass;
  _Bool found = 0;
  bpf_spin_lock(&state->lock);
  for (__u32 i = 0; i < kPeersPerSocket; ++i) {
    if (same_place(&state->peers[i].backend, &place)) {
      place = state->peers[i].service;
      found = 1;
      break;
    }
  }
  bpf_spin_unlock(&state->lock);
  if (!found) return kPass;
  write_place(ctx, is_v4, &place);
  count(kCounterReversed);
  return kPass;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) {
  return translate(ctx, 1, 0);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) {
  return translate(ctx, 0, 0);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr* ctx) {
  return translate(ctx, 1, 1);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr* ctx) {
  return translate(ctx, 0, 1);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr* ctx) {
  return reverse(ctx, 1);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr* ctx) {
  return reverse(ctx, 0);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr* ctx) {
  return reverse(ctx, 1);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr* ctx) {
  return reverse(ctx, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
