// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// A frame -> addresses, protocol, ports. IPv4 (RFC 791), IPv6 with its extension headers (RFC 8200,
// at most kMaxExtensions), TCP, UDP, SCTP, ICMP. Everything is copied out of the frame, so that
// nothing depends on where it lies in memory.
#pragma once

enum {
  kMaxExtensions = 6,
  kIcmpEcho = 8,
  kIcmpEchoReply = 0,
  kIcmp6Echo = 128,
  kIcmp6EchoReply = 129,
  kProtocolIcmp6 = 58,
};

enum packet_kind {
  kPacketPlain,
  kPacketIcmpError,     /* `inner` is where the packet that it is about begins */
  kPacketNeighbour,     /* ND, RS, RA, MLD: RFC 4861, RFC 3810 */
  kPacketLaterFragment, /* has no ports of its own */
  kPacketMalformed,
};

struct packet {
  __u32 source_be[4];
  __u32 destination_be[4];
  __u16 source_port_be;
  __u16 destination_port_be;
  __u8 protocol;
  __u8 tcp_flags;
  __u8 echo_reply; /* ICMP echo: an answer */
  __u8 is_v6;
  __u32 kind;
  __u32 fragment_id;
  __u32 first_fragment; /* more follow, and they have no ports */
  __u32 inner;          /* offset */
};

struct ipv4_header {
  __u8 version_length;
  __u8 tos;
  __u16 length_be;
  __u16 id_be;
  __u16 fragment_be;
  __u8 ttl;
  __u8 protocol;
  __u16 checksum_be;
  __u32 source_be;
  __u32 destination_be;
};

struct ipv6_header {
  __u32 version_class_label_be;
  __u16 length_be;
  __u8 next;
  __u8 hops;
  __u32 source_be[4];
  __u32 destination_be[4];
};

static __always_inline void set_v4(__u32 out[4], __u32 address_be) {
  out[0] = 0;
  out[1] = 0;
  out[2] = bpf_htonl(0xffff);
  out[3] = address_be;
}

static __always_inline void set_v6(__u32 out[4], const __u32 in[4]) {
  out[0] = in[0];
  out[1] = in[1];
  out[2] = in[2];
  out[3] = in[3];
}

static __always_inline _Bool is_link_local_or_none(const __u32 address_be[4]) {
  if ((address_be[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000)) return 1;
  return address_be[0] == 0 && address_be[1] == 0 && address_be[2] == 0 && address_be[3] == 0;
}

static __always_inline void read_icmp(struct packet* packet, __u8 type, __u16 id_be, __u32 offset) {
  _Bool v6 = packet->protocol == kProtocolIcmp6;
  if (type == (v6 ? kIcmp6Echo : kIcmpEcho) || type == (v6 ? kIcmp6EchoReply : kIcmpEchoReply)) {
    packet->source_port_be = id_be;
    packet->destination_port_be = id_be;
    packet->echo_reply = type == (v6 ? kIcmp6EchoReply : kIcmpEchoReply);
    return;
  }
  _Bool error = v6 ? type >= 1 && type <= 4 : type == 3 || type == 5 || type == 11 || type == 12;
  if (error) {
    packet->kind = kPacketIcmpError;
    packet->inner = offset + 8;
    return;
  }
  if (v6 && ((type >= 130 && type <= 137) || type == 143)) packet->kind = kPacketNeighbour;
}

/* Ports, or what stands for them. Returns 0 when the header ends early. */
static __always_inline int read_transport(struct __sk_buff* skb, __u32 offset,
                                          struct packet* packet) {
  /* One read for all: 14 bytes reach TCP's flags; the shorter headers have at least 8. */
  __u8 head[14] = {};
  __u8 protocol = packet->protocol;
  if (protocol == IPPROTO_TCP) {
    if (bpf_skb_load_bytes(skb, offset, head, 14)) return 0;
    packet->tcp_flags = head[13];
  } else if (protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP || protocol == IPPROTO_ICMP ||
             protocol == kProtocolIcmp6) {
    if (bpf_skb_load_bytes(skb, offset, head, 8)) return 0;
  } else {
    return 1;
  }
  if (protocol == IPPROTO_ICMP || protocol == kProtocolIcmp6) {
    read_icmp(packet, head[0], *(__u16*)(head + 4), offset);
    return 1;
  }
  packet->source_port_be = *(__u16*)head;
  packet->destination_port_be = *(__u16*)(head + 2);
  return 1;
}

static __always_inline int read_v4(struct __sk_buff* skb, __u32 offset, struct packet* packet) {
  struct ipv4_header header;
  if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header))) return 0;
  __u32 length = (header.version_length & 15) * 4;
  if (length < sizeof(header)) return 0;
  set_v4(packet->source_be, header.source_be);
  set_v4(packet->destination_be, header.destination_be);
  packet->protocol = header.protocol;
  __u16 fragment = bpf_ntohs(header.fragment_be);
  packet->fragment_id = header.id_be;
  if (fragment & 0x1fff) {
    packet->kind = kPacketLaterFragment;
    return 1;
  }
  packet->first_fragment = (fragment & 0x2000) != 0;
  return read_transport(skb, offset + length, packet);
}

/* Walks the extension headers. Returns the offset of the transport header, or 0. */
static __always_inline __u32 walk_v6(struct __sk_buff* skb, __u32 offset, __u8 next,
                                     struct packet* packet) {
  for (int i = 0; i < kMaxExtensions; ++i) {
    __u8 head[8];
    /* Hop-by-hop, routing, destination options, mobility; authentication counts in other units. */
    _Bool plain = next == 0 || next == 43 || next == 60 || next == 135;
    if (!plain && next != 44 && next != 51) {
      packet->protocol = next;
      return offset;
    }
    if (bpf_skb_load_bytes(skb, offset, head, 8)) return 0;
    if (next == 44) {
      __u16 fragment = bpf_ntohs(*(__u16*)(head + 2));
      packet->fragment_id = *(__u32*)(head + 4);
      packet->first_fragment = fragment & 1;
      if (fragment & 0xfff8) {
        packet->kind = kPacketLaterFragment;
        packet->protocol = head[0];
        return offset;
      }
      offset += 8;
    } else {
      offset += next == 51 ? (head[1] + 2) * 4 : (head[1] + 1) * 8;
    }
    next = head[0];
  }
  return 0;
}

static __always_inline int read_v6(struct __sk_buff* skb, __u32 offset, struct packet* packet) {
  struct ipv6_header header;
  if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header))) return 0;
  set_v6(packet->source_be, header.source_be);
  set_v6(packet->destination_be, header.destination_be);
  packet->is_v6 = 1;
  offset = walk_v6(skb, offset + sizeof(header), header.next, packet);
  if (offset == 0) return 0;
  if (packet->kind == kPacketLaterFragment) return 1;
  return read_transport(skb, offset, packet);
}

/* The packet inside an ICMP error: as much of it as there is (RFC 792: 8 bytes of transport). */
static __always_inline int read_inner(struct __sk_buff* skb, __u32 offset, _Bool is_v6,
                                      struct packet* inner) {
  __u8 ports[8] = {};
  __u32 transport;
  if (is_v6) {
    struct ipv6_header header;
    if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header))) return 0;
    set_v6(inner->source_be, header.source_be);
    set_v6(inner->destination_be, header.destination_be);
    inner->protocol = header.next;
    transport = offset + sizeof(header);
  } else {
    struct ipv4_header header;
    if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header))) return 0;
    if ((header.version_length & 15) < 5 || (bpf_ntohs(header.fragment_be) & 0x1fff)) return 0;
    set_v4(inner->source_be, header.source_be);
    set_v4(inner->destination_be, header.destination_be);
    inner->protocol = header.protocol;
    transport = offset + (header.version_length & 15) * 4;
  }
  if (bpf_skb_load_bytes(skb, transport, ports, 8)) return 0;
  if (inner->protocol == IPPROTO_ICMP || inner->protocol == kProtocolIcmp6) {
    inner->source_port_be = *(__u16*)(ports + 4);
    inner->destination_port_be = inner->source_port_be;
  } else {
    inner->source_port_be = *(__u16*)ports;
    inner->destination_port_be = *(__u16*)(ports + 2);
  }
  return 1;
}
