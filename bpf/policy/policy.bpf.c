// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Policy at a pod's interface, on the host's side of its veth: `from_pod` sees what the pod sends
// (tc ingress of that device), `to_pod` what it gets (tc egress). Attached by tcx (Linux 6.6) or by
// clsact. Both return TC_ACT_UNSPEC for what may pass, so that programs after them see it too.
// Needs Linux 6.1; only UAPI structs, so no CO-RE. Hooks: kernel net/core/dev.c, sch_handle_ingress
// and sch_handle_egress.
// clang-format off: libbpf needs the kernel's types before it
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
// clang-format on

#include "bpf/abi.h"

// Which address space this node's pods are in.
const volatile __u32 net_id = 0;

// clang-format off: each needs those before it
#include "bpf/policy/maps.bpf.h"
#include "bpf/policy/packet.bpf.h"
#include "bpf/policy/verdict.bpf.h"
#include "bpf/policy/event.bpf.h"
#include "bpf/policy/flow.bpf.h"
// clang-format on

enum { kPass = TC_ACT_UNSPEC, kDrop = TC_ACT_SHOT };

struct scene {
  struct packet packet;
  struct policy_flow_key key;
  struct decision decision;
  _Bool egress; /* the pod sent it */
  _Bool source_low;
  _Bool new_flow;
};

static __always_inline int refuse(struct __sk_buff* skb, struct scene* scene,
                                  const struct policy_interface* interface, __u32 counter) {
  count(kPolicyDenied);
  if (counter != kPolicyDenied) count(counter);
  count_rule(scene->decision.rule, skb->len, scene->new_flow);
  tell(skb, &scene->packet, interface, &scene->decision, scene->egress, 0);
  return kDrop;
}

static __always_inline _Bool owns(const struct policy_interface* interface,
                                  const __u32 address_be[4]) {
  for (__u32 i = 0; i < kAddressesPerInterface; ++i) {
    if (i >= interface->address_count) return 0;
    if (compare_end(interface->addresses_be[i], address_be) == 0) return 1;
  }
  return 0;
}

/* One end's decision on a flow that `pod_began` or not. */
static __always_inline __u32 judge_end(const struct policy_interface* interface,
                                       const struct policy_globals* global, struct scene* scene,
                                       _Bool pod_began) {
  const struct packet* packet = &scene->packet;
  const __u32* other = scene->egress ? packet->destination_be : packet->source_be;
  scene->decision.peer = find_peer(other, global);
  scene->decision.judged_egress = pod_began;
  /* The port asked is the one of the end that did not begin. */
  _Bool source_began = pod_began == scene->egress;
  __u16 port_be = source_began ? packet->destination_port_be : packet->source_port_be;
  __u32 set_id = pod_began ? interface->egress_set : interface->ingress_set;
  __u32 verdict = judge(set_id, scene->decision.peer.peer, packet->protocol, port_be);
  scene->decision.rule = verdict & 0xffff;
  scene->decision.reason = set_id == kPolicyClosed ? kReasonClosed : kReasonRule;
  return verdict & kPolicyAllow;
}

static __always_inline void remember(struct policy_judgement* judgement,
                                     const struct policy_interface* interface,
                                     const struct policy_globals* global, __u32 rule) {
  judgement->interface_generation = interface->generation;
  judgement->peers_generation = global->peers_generation;
  judgement->rule = rule;
}

/* A flow that is not in the table. */
static __always_inline int begin(struct __sk_buff* skb, struct scene* scene,
                                 const struct policy_interface* interface,
                                 const struct policy_globals* global, __u64 now) {
  const struct packet* packet = &scene->packet;
  scene->new_flow = 1;
  _Bool from_node = !scene->egress && skb->ingress_ifindex == 0;
  _Bool pod_began = scene->egress;
  if (from_node) {
    scene->decision.rule = 0;
  } else if (!judge_end(interface, global, scene, pod_began)) {
    /* Neither can begin a flow: an answer, or the middle of a connection. */
    _Bool middle = packet->echo_reply || (packet->protocol == IPPROTO_TCP &&
                                          (packet->tcp_flags & (kTcpSyn | kTcpAck)) != kTcpSyn);
    struct decision forward = scene->decision;
    if (!middle || !judge_end(interface, global, scene, !pod_began)) {
      if (middle) scene->decision = forward;
      return refuse(skb, scene, interface, kPolicyDenied);
    }
    pod_began = !pod_began;
  }
  struct policy_flow flow = {.seen_ns = now};
  _Bool source_began = pod_began == scene->egress;
  if (source_began != scene->source_low) flow.flags |= kFlowHighBegan;
  if (!source_began) flow.flags |= kFlowAnswered;
  if (from_node) flow.flags |= kFlowFromNode;
  if (pod_began)
    remember(&flow.egress, interface, global, scene->decision.rule);
  else
    remember(&flow.ingress, interface, global, scene->decision.rule);
  if (bpf_map_update_elem(&pol_flows, &scene->key, &flow, BPF_ANY)) count(kPolicyFlowNotStored);
  count(kPolicyNewFlows);
  count_rule(scene->decision.rule, skb->len, 1);
  if (global->trace_accepts) tell(skb, packet, interface, &scene->decision, scene->egress, 1);
  return kPass;
}

/* A packet of a flow that is in the table. */
static __always_inline int go_on(struct __sk_buff* skb, struct scene* scene,
                                 const struct policy_interface* interface,
                                 const struct policy_globals* global, struct policy_flow* flow,
                                 __u64 now) {
  _Bool low_began = !(flow->flags & kFlowHighBegan);
  _Bool source_began = low_began == scene->source_low;
  _Bool pod_began = source_began == scene->egress;
  struct policy_judgement* judgement = pod_began ? &flow->egress : &flow->ingress;
  if (judgement->interface_generation == interface->generation &&
      judgement->peers_generation == global->peers_generation) {
    touch(flow, &scene->packet, scene->source_low, now);
    count_rule(judgement->rule, skb->len, 0);
    return kPass;
  }
  /* What the node began, and what it begins on a flow of its own, is never shut out. */
  _Bool from_node = !pod_began && (flow->flags & kFlowFromNode);
  if (!scene->egress && !pod_began && skb->ingress_ifindex == 0) from_node = 1;
  _Bool first = judgement->interface_generation == 0;
  if (from_node) {
    scene->decision.rule = 0;
  } else if (!judge_end(interface, global, scene, pod_began)) {
    scene->new_flow = first;
    if (first) return refuse(skb, scene, interface, kPolicyDenied);
    scene->decision.reason = kReasonRevoked;
    return refuse(skb, scene, interface, kPolicyRevoked);
  }
  remember(judgement, interface, global, scene->decision.rule);
  touch(flow, &scene->packet, scene->source_low, now);
  if (first) count(kPolicyNewFlows);
  count_rule(scene->decision.rule, skb->len, first);
  if (first && global->trace_accepts)
    tell(skb, &scene->packet, interface, &scene->decision, scene->egress, 1);
  return kPass;
}

/* Passes when the packet that it is about belongs to a flow that is known here. */
static __always_inline int judge_error(struct __sk_buff* skb, struct scene* scene,
                                       const struct policy_interface* interface, __u64 now) {
  __u32 set_id = scene->egress ? interface->egress_set : interface->ingress_set;
  if (set_id == 0) return kPass;
  struct packet inner = {};
  scene->decision.reason = kReasonIcmpError;
  if (read_inner(skb, scene->packet.inner, scene->packet.is_v6, &inner)) {
    flow_key(&inner, &scene->key);
    if (find_flow(&scene->key, &inner, now)) return kPass;
  }
  return refuse(skb, scene, interface, kPolicyIcmpErrors);
}

/* Later fragments have the first one's ports. 0: the first was not seen. */
static __always_inline int join_fragments(struct packet* packet) {
  struct policy_fragment_key key = {};
  set_v6(key.source_be, packet->source_be);
  set_v6(key.destination_be, packet->destination_be);
  key.id = packet->fragment_id;
  key.net_id = net_id;
  key.protocol = packet->protocol;
  if (packet->kind == kPacketLaterFragment) {
    struct policy_ports* ports = bpf_map_lookup_elem(&pol_fragments, &key);
    if (!ports) return 0;
    packet->source_port_be = ports->source_be;
    packet->destination_port_be = ports->destination_be;
    packet->kind = kPacketPlain;
    return 1;
  }
  struct policy_ports ports = {packet->source_port_be, packet->destination_port_be};
  bpf_map_update_elem(&pol_fragments, &key, &ports, BPF_ANY);
  return 1;
}

/* False: the other end began, and this end never let it in; what it sends is a flow of its own. */
static __always_inline _Bool is_answered_for(const struct scene* scene,
                                             const struct policy_flow* flow) {
  _Bool source_began = scene->source_low == !(flow->flags & kFlowHighBegan);
  return source_began || !scene->egress || flow->ingress.interface_generation != 0;
}

static __always_inline int judge_ip(struct __sk_buff* skb, struct scene* scene,
                                    const struct policy_interface* interface) {
  struct packet* packet = &scene->packet;
  struct policy_globals* global = globals();
  if (!global) return kDrop;
  if (packet->kind == kPacketNeighbour &&
      (!scene->egress || is_link_local_or_none(packet->source_be) ||
       owns(interface, packet->source_be)))
    return kPass;
  if (scene->egress && !owns(interface, packet->source_be)) {
    scene->decision.reason = kReasonSource;
    return refuse(skb, scene, interface, kPolicySource);
  }
  __u32 set_id = scene->egress ? interface->egress_set : interface->ingress_set;
  __u64 now = bpf_ktime_get_ns();
  if (packet->kind == kPacketIcmpError) return judge_error(skb, scene, interface, now);
  if ((packet->kind == kPacketLaterFragment || packet->first_fragment) && !join_fragments(packet)) {
    if (set_id == 0) return kPass;
    scene->decision.reason = kReasonFragment;
    return refuse(skb, scene, interface, kPolicyFragments);
  }
  scene->source_low = flow_key(packet, &scene->key);
  struct policy_flow* flow = find_flow(&scene->key, packet, now);
  if (flow && !is_answered_for(scene, flow)) flow = 0;
  if (flow) return go_on(skb, scene, interface, global, flow, now);
  return begin(skb, scene, interface, global, now);
}

static __always_inline int judge_frame(struct __sk_buff* skb, _Bool egress) {
  struct scene scene = {};
  scene.egress = egress;
  count(kPolicyPackets);
  /* ARP and ND make addresses usable; what is said over them is judged. */
  if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present) return kPass;
  __u32 ifindex = skb->ifindex;
  struct policy_interface* interface = bpf_map_lookup_elem(&pol_interfaces, &ifindex);
  if (!interface) {
    scene.decision.reason = kReasonUnknown;
    return refuse(skb, &scene, 0, kPolicyUnknown);
  }
  int whole;
  if (skb->vlan_present)
    whole = -1;
  else if (skb->protocol == bpf_htons(ETH_P_IP))
    whole = read_v4(skb, ETH_HLEN, &scene.packet);
  else if (skb->protocol == bpf_htons(ETH_P_IPV6))
    whole = read_v6(skb, ETH_HLEN, &scene.packet);
  else
    whole = -1;
  if (whole > 0) return judge_ip(skb, &scene, interface);
  if (whole < 0) {
    if ((egress ? interface->egress_set : interface->ingress_set) == 0) return kPass;
    scene.decision.reason = kReasonNotIp;
    return refuse(skb, &scene, interface, kPolicyDenied);
  }
  scene.decision.reason = kReasonMalformed;
  return refuse(skb, &scene, interface, kPolicyMalformed);
}

SEC("tc/ingress")
int from_pod(struct __sk_buff* skb) {
  return judge_frame(skb, 1);
}

SEC("tc/egress")
int to_pod(struct __sk_buff* skb) {
  return judge_frame(skb, 0);
}

/* What an interface costs without policy: the floor of the benchmark. */
SEC("tc")
int nothing(struct __sk_buff* skb) {
  (void)skb;
  return kPass;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
