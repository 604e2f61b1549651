// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Lists the UDP translations that sockets have: a reader of this iterator gets one lb_udp_peer
// each, over all network namespaces. It costs the sockets nothing, as they keep that for their own
// answers anyway. Kernel net/core/bpf_sk_storage.c (Linux 5.9), needs the kernel's BTF. Map: see
// sock.bpf.c.
// clang-format off: libbpf needs the kernel's types before it
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
// clang-format on

#include "bpf/abi.h"

// What the kernel hands over; only pointers are taken from it.
struct bpf_iter_meta {
  struct seq_file* seq;
};
struct bpf_iter__bpf_sk_storage_map {
  struct bpf_iter_meta* meta;
  struct bpf_map* map;
  struct sock* sk;
  struct lb_socket* value;
};

SEC("iter/bpf_sk_storage_map")
int udp_peers(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* socket = ctx->sk;
  struct lb_socket* state = ctx->value;
  if (!socket || !state) return 0;  // the end
  for (__u32 i = 0; i < kPeersPerSocket; ++i) {
    if (state->peers[i].backend.protocol != IPPROTO_UDP) continue;
    struct lb_udp_peer peer = {};
    peer.cookie = bpf_get_socket_cookie(socket);
    peer.backend = state->peers[i].backend;
    bpf_seq_write(ctx->meta->seq, &peer, sizeof(peer));
  }
  return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
