// Which load balancer addresses a service asks for: its class, its families, and the addresses that
// annotations or the deprecated field name. Derivation; pure.
//
// The first of these that is there decides: ipam.tombolo.io/load-balancer-ips, then what others
// understand (lbipam.cilium.io/ips and io.cilium/lb-ipam-ips of Cilium, metallb.io/loadBalancerIPs
// and metallb.universe.tf/loadBalancerIPs of MetalLB, projectcalico.org/loadBalancerIPs of Calico,
// a JSON list, kube-vip.io/loadbalancerIPs of kube-vip), then spec.loadBalancerIP. At most one
// address of each family.
#pragma once

#include "servicesync/controller/rows.h"

namespace tombolo::controller {

// The class that says "Tombolo's"; a service without a class is Tombolo's, too.
inline constexpr std::string_view kLoadBalancerClass = "tombolo.io/load-balancer";

// In the status table.
inline constexpr std::string_view kLoadBalancerAllocator = "load balancers";

// True for type LoadBalancer of our class or of none.
bool is_ours_to_expose(const Service& service);

// Nothing when the service is not ours to expose. `service` with its families filled. What cannot
// be read is the want's `problem`.
std::optional<AddressWant> load_balancer_want(const Service& service);

}  // namespace tombolo::controller
