// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Policy at the host side of a pod's veth: `from_pod` (what the pod sends; ingress of the veth) and
// `to_pod`. A packet passes when its flow was started in a direction that the pod's policies allow;
// a flow is judged once per generation of the tables, from whichever end its next packet comes.
// Fails closed: an interface without an entry, a pod without a policy yet, headers that cannot be
// read are dropped, counted and told. Needs Linux 6.1; only UAPI structs. Maps: bpf/abi.h.
// clang-format off: libbpf needs the kernel's types before it
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

// Which address space this node's pods are in; 24 bits.
const volatile __u32 net_id = 0;
// Stores and loads of one CPU may be seen by another in another order (not on x86).
const volatile __u32 weakly_ordered = 1;
// Number of buckets of pol_flows.
const volatile __u32 flow_buckets = kMaxFlowBuckets;

// each needs those before it
#include "bpf/policy/maps.bpf.h"
#include "bpf/policy/packet.bpf.h"
#include "bpf/policy/verdict.bpf.h"
#include "bpf/policy/event.bpf.h"
#include "bpf/policy/flow.bpf.h"
// clang-format on

enum { kIngress = 0, kEgress = 1 };  // the two sides, as in policy_flow

enum { kPassOn = TC_ACT_UNSPEC, kDrop = TC_ACT_SHOT };  // as tcx has them too: next, drop

static __always_inline struct policy_interface* pod_in(const __u32* place, __u32 ifindex) {
  __u32 slot = *(const volatile __u32*)place;
  struct policy_interface* pod = bpf_map_lookup_elem(&pol_pods, &slot);
  return pod && pod->ifindex == ifindex ? pod : 0;
}

// The pod behind an interface. The entry may be written anew for another interface while we look.
static __always_inline struct policy_interface* pod_behind(__u32 ifindex) {
  __u32 at = ifindex & (kInterfacePlaces - 1);
  struct policy_place* place = bpf_map_lookup_elem(&pol_places, &at);
  struct policy_interface* pod = place ? pod_in(&place->slot, ifindex) : 0;
  if (pod) return pod;
  for (int i = 0; i < 2; ++i) {
    struct policy_slot* found = bpf_map_lookup_elem(&pol_interfaces, &ifindex);
    if (!found) return 0;
    pod = pod_in(&found->slot, ifindex);
    if (pod) return pod;
  }
  count(kPolicyUnstable);
  return 0;
}

static __always_inline int deny(struct __sk_buff* skb, const struct packet* packet,
                                const struct policy_interface* pod, __u64 peer, __u32 direction,
                                __u32 reason, __u32 verdict) {
  count(kPolicyDenied);
  if (reason == kReasonSource) count(kPolicySource);
  if (reason == kReasonUnknown) count(kPolicyUnknown);
  if (reason == kReasonFragment) count(kPolicyFragments);
  if (reason == kReasonMalformed) count(kPolicyMalformed);
  if (reason == kReasonIcmpError) count(kPolicyIcmpErrors);
  if (reason == kReasonRevoked) count(kPolicyRevoked);
  tell(skb, packet, pod, peer, what_to_say(direction, reason, verdict & ~(__u32)kPolicyAllow));
  return kDrop;
}

// The port of the destination of the flow's first packet, host order.
static __always_inline __u32 service_port(const struct packet* packet, _Bool forward) {
  if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP &&
      packet->protocol != IPPROTO_SCTP)
    return 0;
  return bpf_ntohs(forward ? packet->destination_port : packet->source_port);
}

static __always_inline __u32 set_of(const struct policy_interface* pod, __u32 side) {
  return side ? pod->egress_set : pod->ingress_set;
}

static __always_inline __u32 judge_side(const struct policy_interface* pod, __u32 side, __u64 peer,
                                        const struct packet* packet, _Bool forward) {
  return judge(set_of(pod, side), policy_peer_number(peer), packet->protocol,
               service_port(packet, forward));
}

enum { kBackward, kForward, kEither };

// Which way a flow goes of which only this packet is known. An answer to a question that nobody
// asked has to be allowed both ways, as a middle whose ports do not tell.
static __always_inline __u32 guess_way(const struct packet* packet) {
  if (packet->kind == kAnswers) return kEither;
  if (packet->kind != kMiddle) return kForward;
  _Bool client_sent = bpf_ntohs(packet->source_port) >= kClientPort;
  _Bool client_gets = bpf_ntohs(packet->destination_port) >= kClientPort;
  if (client_sent == client_gets) return kEither;
  return client_sent ? kForward : kBackward;
}

static __always_inline int accept(struct __sk_buff* skb, const struct packet* packet,
                                  const struct policy_interface* pod, __u64 peer, __u32 side,
                                  __u32 verdict, _Bool new_flow) {
  count_rule(skb, verdict, new_flow);
  if (!new_flow) return kPassOn;
  count(kPolicyNewFlows);
  struct policy_globals* state = globals();
  if (state && state->trace_accepts)
    tell(skb, packet, pod, peer, what_to_say(side, kReasonRule, verdict | kPolicyAllow));
  return kPassOn;
}

// What the node itself sends always arrives; kept as a flow so that the pod's answers pass.
static __always_inline int accept_node(const struct packet* packet, const struct meeting* met,
                                       const struct found_flow* flow) {
  _Bool ours = flow->found && flow->birth == met->birth;
  // An answer to what the pod began, or the middle of something: no start of the node's.
  if (ours && !flow->forward && packet->kind != kOpens) return kPassOn;
  if (packet->kind == kTellsError || guess_way(packet) != kForward) return kPassOn;
  struct judgement said = {
      .verdict = kPolicyAllow, .forward = 1, .side = kIngress, .node = kFlowNode, .fresh = 1};
  keep(met, &said);
  count(kPolicyFlowsFromNode);
  return kPassOn;
}

// A packet whose flow has no judgement in force.
static __always_inline int decide(struct __sk_buff* skb, const struct packet* packet,
                                  const struct policy_interface* pod, const struct meeting* met,
                                  struct found_flow* flow) {
  __u64 peer = find_peer(met->side ? packet->destination : packet->source);
  _Bool accepted_once = flow->found && flow->birth == pod->birth;
  // Of the pod that had the address before, of the node, or begun anew from the other end.
  if (flow->found && ((flow->birth && !accepted_once) || flow->state & kFlowNode ||
                      (!flow->forward && packet->kind == kOpens))) {
    flow->found = 0;
    accepted_once = 0;
  }
  __u32 way = flow->found ? (flow->forward ? kForward : kBackward) : guess_way(packet);
  struct judgement said = {.forward = way != kBackward, .fresh = !flow->found};
  said.side = said.forward ? met->side : !met->side;
  __u32 verdict = judge_side(pod, said.side, peer, packet, said.forward);
  if (way == kEither && verdict & kPolicyAllow &&
      !(judge_side(pod, !met->side, peer, packet, 0) & kPolicyAllow))
    verdict = judge_side(pod, !met->side, peer, packet, 0);
  if (!(verdict & kPolicyAllow) && flow->found && !flow->forward && !accepted_once &&
      packet->kind == kPlain) {
    // Never accepted the other way; this packet may start a flow of its own.
    said.forward = 1;
    said.fresh = 1;
    said.side = met->side;
    verdict = judge_side(pod, said.side, peer, packet, 1);
  }
  said.verdict = verdict;
  if (!(verdict & kPolicyAllow)) {
    if (accepted_once) keep(met, &said);
    count_rule(skb, verdict, !accepted_once);
    return deny(skb, packet, pod, peer, said.side, accepted_once ? kReasonRevoked : kReasonRule,
                verdict);
  }
  if (accepted_once) count(kPolicyRejudged);
  if (!flow->found && packet->kind == kMiddle) count(kPolicyFlowsPickedUp);
  keep(met, &said);
  return accept(skb, packet, pod, peer, said.side, verdict, !accepted_once);
}

// An ICMP error (RFC 792, RFC 4443): passes when the packet in it is of a flow that is allowed.
static __always_inline int follow_error(struct __sk_buff* skb, const struct packet* packet,
                                        const struct policy_interface* pod, struct meeting* met,
                                        const struct policy_globals* state) {
  struct packet inner = {};
  __u32 at = packet->header + 8;
  inner.is_v6 = packet->is_v6;
  int parsed = parse_ip(skb, &inner, at);
  if (parsed == kIp && !inner.later_piece) {
    // Only eight bytes of its transport header need to be there.
    __u8 start[8] = {};
    _Bool got = bpf_skb_load_bytes(skb, inner.header, start, sizeof(start)) == 0;
    __u8 protocol = inner.protocol;
    if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) {
      inner.source_port = *(__u16*)&start[0];
      inner.destination_port = *(__u16*)&start[2];
    } else if (protocol == (packet->is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
      inner.source_port = *(__u16*)&start[4];
      inner.destination_port = inner.source_port;
    }
    // It went the other way than the error does.
    met->side = !met->side;
    place_of(state, flow_buckets, &inner, &met->place);
    if (got) {
      struct found_flow flow = {};
      met->generation = 0; /* only looks */
      met->birth = 0;
      meet(met, &flow);
      if (flow.found && flow.birth == pod->birth) {
        if (flow.state & kFlowNode) return kPassOn;
        __u64 peer = find_peer(met->side ? inner.destination : inner.source);
        __u32 verdict = judge_side(pod, flow.side, peer, &inner, flow.forward);
        if (verdict & kPolicyAllow) {
          count_rule(skb, verdict, 0);
          return kPassOn;
        }
      }
    }
    met->side = !met->side;
  }
  if (!set_of(pod, met->side)) return kPassOn;
  return deny(skb, packet, pod, 0, met->side, kReasonIcmpError, 0);
}

static __always_inline int judge_packet(struct __sk_buff* skb, const struct packet* packet,
                                        const struct policy_interface* pod, struct meeting* met,
                                        const struct policy_globals* state) {
  met->now = (__u32)(bpf_ktime_get_coarse_ns() >> kTickShift);
  met->birth = pod->birth;
  met->protocol = packet->protocol;
  met->kind = packet->kind;
  met->tcp_flags = packet->tcp_flags;
  met->from_node = met->side == kIngress && skb->ingress_ifindex == 0;
  if (packet->kind == kTellsError && !met->from_node)
    return follow_error(skb, packet, pod, met, state);
  struct found_flow flow = {};
  if (meet(met, &flow)) {
    count_rule(skb, flow.rule, 0);
    return kPassOn;
  }
  if (met->from_node) return accept_node(packet, met, &flow);
  return decide(skb, packet, pod, met, &flow);
}

static __always_inline int guard(struct __sk_buff* skb, __u32 side) {
  struct packet packet = {.from_pod = side == kEgress};
  count(kPolicyPackets);
  struct policy_globals* state = globals();
  if (!state) return kDrop;
  // Before anything that a verdict depends on is read: what changes meanwhile makes the judgement
  // one of an old generation.
  struct meeting met = {.side = side, .generation = *(volatile __u32*)&state->generation};
  struct policy_interface* pod = pod_behind(skb->ifindex);
  if (!pod) return deny(skb, &packet, 0, 0, side, kReasonUnknown, 0);
  _Bool from_pod = side == kEgress;
  int parsed = parse(skb, pod, &packet);
  if (parsed == kAlways) return kPassOn;
  if (parsed == kIp) place_of(state, flow_buckets, &packet, &met.place);
  if (pod->ingress_set == kPolicyClosed && pod->egress_set == kPolicyClosed)
    return deny(skb, &packet, pod, 0, side, kReasonClosed, 0);
  if (parsed == kNoIp) {
    if (!set_of(pod, side)) return kPassOn;
    return deny(skb, &packet, pod, 0, side, kReasonNotIp, 0);
  }
  if (parsed == kNoAddresses) return deny(skb, &packet, pod, 0, side, kReasonMalformed, 0);
  if (parsed == kSpoofed || (from_pod && !owns(pod, packet.source)))
    return deny(skb, &packet, pod, 0, side, kReasonSource, 0);
  // Nothing more is known of these than who sends them: only for pods that may talk to everybody.
  if (parsed != kIp) {
    if (!pod->ingress_set && !pod->egress_set) return kPassOn;
    return deny(skb, &packet, pod, 0, side, parsed == kNoFirst ? kReasonFragment : kReasonMalformed,
                0);
  }
  int verdict = judge_packet(skb, &packet, pod, &met, state);
  if (packet.first_piece && verdict == kPassOn) remember_first_piece(&packet);
  return verdict;
}

SEC("tc/ingress")
int from_pod(struct __sk_buff* skb) {
  return guard(skb, kEgress);
}

SEC("tc/egress")
int to_pod(struct __sk_buff* skb) {
  return guard(skb, kIngress);
}

// What an interface costs without policy: the floor of the benchmark.
SEC("tc")
int nothing(struct __sk_buff* skb) {
  (void)skb;
  return kPassOn;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
