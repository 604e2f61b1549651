// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// From a frame to what policy needs to know of it: addresses, ports, what kind of packet of its
// flow it is. IPv4 (RFC 791), IPv6 with a bounded walk over extension headers (RFC 8200),
// fragments, TCP, UDP, SCTP, ICMP, ARP (RFC 826), neighbour discovery (RFC 4861), MLD (RFC 3810).
//
// Functions that are not static are verified once, by themselves, whoever calls them; the others
// once for every path that leads to them.
#pragma once

enum {
  kEthernetBytes = 14,
  kEthertypeV4 = 0x0800,
  kEthertypeArp = 0x0806,
  kEthertypeVlan = 0x8100, /* IEEE 802.1Q */
  kEthertypeQinq = 0x88a8, /* IEEE 802.1ad */
  kEthertypeV6 = 0x86dd,
  kMaxExtensions = 8,
  kDirectBytes = 512,
  kFragmentsMore = 0x2000,
  kFragmentOffset = 0x1fff,
  kTcpFin = 1,
  kTcpSyn = 2,
  kTcpRst = 4,
  kTcpAck = 16,
};

enum packet_kind {
  kPlain,      /* no more is known: the first packet of a flow starts it */
  kOpens,      /* TCP SYN, an echo request: never an answer */
  kAnswers,    /* TCP SYN+ACK, an echo reply: never the start */
  kMiddle,     /* other TCP */
  kTellsError, /* ICMP error: the packet in it decides */
};

enum parsed {
  kIp,     /* everything is known */
  kAlways, /* ARP, neighbour discovery */
  kNoIp,
  kBroken, /* headers cut off or too deep; the addresses are known */
  kNoAddresses,
  kNoFirst, /* a later fragment; its first was not seen */
  kSpoofed,
};

struct packet {
  __u32 source[4] __attribute__((aligned(8))); /* network order; IPv4 mapped */
  __u32 destination[4];
  __u16 source_port; /* network order; an echo's identifier in both */
  __u16 destination_port;
  __u8 protocol;
  __u8 kind;
  __u8 tcp_flags;
  __u8 icmp_type;
  __u32 header; /* where the transport header is */
  __u32 id;     /* of a datagram in pieces */
  __u8 is_v6;
  __u8 first_piece;
  __u8 hop_limit;
  __u8 from_pod;
  __u16 later_piece; /* its offset in units of 8 bytes; 0: not a later one */
  __u16 pad;
};

static __always_inline void set_v6(__u32* out, const __u32* in) {
  out[0] = in[0];
  out[1] = in[1];
  out[2] = in[2];
  out[3] = in[3];
}

/* The same into an address that is read in halves: a half that was stored as two words cannot be
 * read before everything that was stored earlier has come to the cache. `out` is aligned to 8. */
static __always_inline void set_halves(__u32* out, __u32 a, __u32 b, __u32 c, __u32 d) {
  _Bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
  ((__u64*)out)[0] = little ? (__u64)b << 32 | a : (__u64)a << 32 | b;
  ((__u64*)out)[1] = little ? (__u64)d << 32 | c : (__u64)c << 32 | d;
}

static __always_inline void set_v4(__u32* out, __u32 v4_be) {
  set_halves(out, 0, 0, bpf_htonl(0xffff), v4_be);
}

static __always_inline _Bool same_address(const __u32* a, const __u32* b) {
  return a[3] == b[3] && a[2] == b[2] && a[1] == b[1] && a[0] == b[0];
}

struct ip_address {
  __u32 at[4];
};

__noinline int owns_address(const struct policy_interface* pod, const struct ip_address* address) {
  if (!pod || !address) return 0;
  for (__u32 i = 0; i < kAddressesPerInterface; ++i) {
    if (i >= pod->address_count) return 0;
    if (same_address(pod->addresses_be[i], address->at)) return 1;
  }
  return 0;
}

static __always_inline _Bool owns(const struct policy_interface* pod, const __u32* address) {
  if (pod->address_count > 0 && same_address(pod->addresses_be[0], address)) return 1;
  return owns_address(pod, (const struct ip_address*)address);
}

/* fe80::/10, or :: (as a source: no address yet). */
static __always_inline _Bool is_link_local(const __u32* address) {
  if ((address[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000)) return 1;
  return !(address[0] | address[1] | address[2] | address[3]);
}

/* Copies a header: straight from the frame where its first part is in one piece, as it mostly is.
 */
#define READ_HEADER(skb, at, out)                                                           \
  ({                                                                                        \
    _Bool read_ = 1;                                                                        \
    __u32 at_ = (at);                                                                       \
    void* data_ = (void*)(long)(skb)->data;                                                 \
    if (at_ < kDirectBytes && data_ + at_ + sizeof(*(out)) <= (void*)(long)(skb)->data_end) \
      *(out) = *(__typeof__(out))(data_ + at_);                                             \
    else                                                                                    \
      read_ = bpf_skb_load_bytes(skb, at_, out, sizeof(*(out))) == 0;                       \
    read_;                                                                                  \
  })

struct first_words {
  __be16 source;
  __be16 destination;
  __be32 sequence;
};
struct tcp_words {
  struct first_words first;
  __be32 acknowledged;
  __u8 offset;
  __u8 flags;
  __be16 window;
};

/* The ports or what stands for them, from the first bytes of the transport header. */
static __always_inline _Bool read_transport(struct __sk_buff* skb, struct packet* packet) {
  __u8 protocol = packet->protocol;
  if (protocol == IPPROTO_TCP) {
    struct tcp_words tcp;
    if (!READ_HEADER(skb, packet->header, &tcp)) return 0;
    packet->source_port = tcp.first.source;
    packet->destination_port = tcp.first.destination;
    packet->tcp_flags = tcp.flags;
    if (!(tcp.flags & kTcpSyn))
      packet->kind = kMiddle;
    else
      packet->kind = tcp.flags & kTcpAck ? kAnswers : kOpens;
    return 1;
  }
  struct first_words words;
  if (protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) {
    if (!READ_HEADER(skb, packet->header, &words)) return 0;
    packet->source_port = words.source;
    packet->destination_port = words.destination;
    return 1;
  }
  _Bool v6_icmp = packet->is_v6 && protocol == IPPROTO_ICMPV6;
  if (!v6_icmp && (packet->is_v6 || protocol != IPPROTO_ICMP)) return 1;
  /* type, code, checksum; then the identifier */
  if (!READ_HEADER(skb, packet->header, &words)) return 0;
  __u8 type = (__u8)(bpf_ntohs(words.source) >> 8);
  packet->icmp_type = type;
  if (v6_icmp) {
    if (type < 128) packet->kind = kTellsError;
    if (type == 128) packet->kind = kOpens;
    if (type == 129) packet->kind = kAnswers;
  } else {
    if (type == 3 || type == 4 || type == 5 || type == 11 || type == 12) packet->kind = kTellsError;
    if (type == 8) packet->kind = kOpens;
    if (type == 0) packet->kind = kAnswers;
  }
  if (packet->kind == kOpens || packet->kind == kAnswers) {
    packet->source_port = (__u16)words.sequence;
    packet->destination_port = packet->source_port;
  }
  return 1;
}

static __always_inline enum parsed parse_v4(struct __sk_buff* skb, __u32 at,
                                            struct packet* packet) {
  struct iphdr ip;
  if (!READ_HEADER(skb, at, &ip)) return kNoAddresses;
  if (ip.version != 4 || ip.ihl < 5) return kNoAddresses;
  set_v4(packet->source, ip.saddr);
  set_v4(packet->destination, ip.daddr);
  packet->protocol = ip.protocol;
  packet->header = at + ip.ihl * 4;
  __u16 fragment = bpf_ntohs(ip.frag_off);
  packet->id = ip.id;
  packet->later_piece = fragment & kFragmentOffset;
  packet->first_piece = !packet->later_piece && (fragment & kFragmentsMore) != 0;
  return kIp;
}

static __always_inline enum parsed parse_v6(struct __sk_buff* skb, __u32 at,
                                            struct packet* packet) {
  struct ipv6hdr ip;
  if (!READ_HEADER(skb, at, &ip)) return kNoAddresses;
  if (ip.version != 6) return kNoAddresses;
  const __u32* from = ip.saddr.in6_u.u6_addr32;
  const __u32* to = ip.daddr.in6_u.u6_addr32;
  set_halves(packet->source, from[0], from[1], from[2], from[3]);
  set_halves(packet->destination, to[0], to[1], to[2], to[3]);
  packet->hop_limit = ip.hop_limit;
  __u8 next = ip.nexthdr;
  __u32 offset = at + sizeof(ip);
  for (int i = 0; i < kMaxExtensions; ++i) {
    if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60 && next != 135) {
      packet->protocol = next;
      packet->header = offset;
      return kIp;
    }
    struct {
      __u8 next;
      __u8 length;
      __be16 fragment;
      __be32 id;
    } extension;
    if (bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension))) return kBroken;
    if (next == 44) {
      __u16 fragment = bpf_ntohs(extension.fragment);
      packet->id = extension.id;
      packet->later_piece = fragment >> 3;
      packet->first_piece = !packet->later_piece && (fragment & 1);
      offset += 8;
      if (packet->later_piece) { /* what follows is data */
        packet->protocol = extension.next;
        packet->header = offset;
        return kIp;
      }
    } else if (next == 51) {
      offset += (extension.length + 2u) * 4;
    } else {
      /* a routing header that is not at its end: the destination is another one */
      if (next == 43 && extension.fragment & bpf_htons(0xff)) return kBroken;
      offset += (extension.length + 1u) * 8;
    }
    next = extension.next;
  }
  return kBroken;
}

/* Neighbour discovery and multicast listener reports, without which IPv6 does not work. A pod may
 * speak for its own addresses only, and is no router. */
static __always_inline enum parsed is_link_work(struct __sk_buff* skb,
                                                const struct policy_interface* pod,
                                                const struct packet* packet, _Bool from_pod) {
  if (!packet->is_v6 || packet->protocol != IPPROTO_ICMPV6) return kIp;
  __u8 type = packet->icmp_type;
  _Bool discovery = type >= 133 && type <= 136;
  _Bool listener = (type >= 130 && type <= 132) || type == 143;
  if (!discovery && !listener) return kIp;
  /* Nothing that a router passed on. */
  if (packet->hop_limit != (discovery ? 255 : 1)) return kIp;
  if (listener && !is_link_local(packet->source)) return kIp;
  if (!from_pod) return kAlways;
  if (!is_link_local(packet->source) && !owns(pod, packet->source)) return kSpoofed;
  if (type == 134) return kIp;
  if (type == 136) {
    __u32 target[4];
    if (bpf_skb_load_bytes(skb, packet->header + 8, target, sizeof(target))) return kBroken;
    if (!is_link_local(target) && !owns(pod, target)) return kSpoofed;
  }
  return kAlways;
}

static __always_inline enum parsed check_arp(struct __sk_buff* skb,
                                             const struct policy_interface* pod, _Bool from_pod) {
  if (!from_pod) return kAlways;
  __u32 sender_be;
  __u32 sender[4] __attribute__((aligned(8)));
  if (bpf_skb_load_bytes(skb, kEthernetBytes + 14, &sender_be, 4)) return kNoIp;
  if (sender_be == 0) return kAlways; /* a probe (RFC 5227) */
  set_v4(sender, sender_be);
  return owns(pod, sender) ? kAlways : kSpoofed;
}

static __always_inline struct policy_fragment_key fragment_key(const struct packet* packet) {
  struct policy_fragment_key key = {};
  set_v6(key.source_be, packet->source);
  set_v6(key.destination_be, packet->destination);
  key.id = packet->id;
  key.net_id = net_id;
  key.protocol = packet->protocol;
  return key;
}

/* The first piece told the ports, later ones ask for them. */
static __always_inline enum parsed ask_first_piece(struct packet* packet) {
  /* Not over a header that was judged (RFC 1858, RFC 3128). */
  if (packet->protocol == IPPROTO_TCP && packet->later_piece == 1) return kBroken;
  struct policy_fragment_key key = fragment_key(packet);
  struct policy_ports* ports = bpf_map_lookup_elem(&pol_fragments, &key);
  if (!ports) return kNoFirst;
  packet->source_port = ports->source_be;
  packet->destination_port = ports->destination_be;
  packet->kind = packet->protocol == IPPROTO_TCP ? kMiddle : kPlain;
  return kIp;
}

/* The headers of the IP packet at that place, of the family that the caller says. */
__noinline int parse_ip(struct __sk_buff* skb, struct packet* packet, __u32 at) {
  if (!packet) return kNoIp;
  return packet->is_v6 ? parse_v6(skb, at, packet) : parse_v4(skb, at, packet);
}

/* enum parsed. `from_pod` is set already. */
__noinline int parse(struct __sk_buff* skb, const struct policy_interface* pod,
                     struct packet* packet) {
  if (!pod || !packet) return kNoIp;
  _Bool from_pod = packet->from_pod;
  __u16 ethertype = bpf_ntohs((__u16)skb->protocol);
  /* The stack takes a tag of VLAN 0 off behind us, and what is under it goes its way. */
  if (skb->vlan_present || ethertype == kEthertypeVlan || ethertype == kEthertypeQinq)
    return from_pod ? kSpoofed : kNoIp;
  if (ethertype == kEthertypeArp) return check_arp(skb, pod, from_pod);
  if (ethertype != kEthertypeV4 && ethertype != kEthertypeV6) return kNoIp;
  packet->is_v6 = ethertype == kEthertypeV6;
  int parsed =
      packet->is_v6 ? parse_v6(skb, kEthernetBytes, packet) : parse_v4(skb, kEthernetBytes, packet);
  if (parsed != kIp) return parsed;
  if (!packet->later_piece) {
    if (!read_transport(skb, packet)) return kBroken;
    parsed = is_link_work(skb, pod, packet, from_pod);
    if (parsed != kIp) return parsed;
  }
  return packet->later_piece ? ask_first_piece(packet) : kIp;
}

/* After it has passed: what a refused piece says must not speak for others. */
__noinline int remember_first_piece(const struct packet* packet) {
  if (!packet) return 0;
  struct policy_fragment_key key = fragment_key(packet);
  struct policy_ports ports = {packet->source_port, packet->destination_port};
  bpf_map_update_elem(&pol_fragments, &key, &ports, BPF_ANY);
  return 0;
}
