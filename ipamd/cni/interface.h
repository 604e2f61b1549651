// How a pod's interface looks: names, MAC addresses, addresses, neighbours and routes of both
// ends, from the attachment alone, and what of it is missing. Pure. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/net.h"
#include "core/tables.h"
#include "ipamd/cni/call.h"

namespace tombolo::cni {

// The next hop of a pod: never on the wire, both ends know it.
Ip next_hop(Family family);

// "tboxxxxxxxxxxxx": prefix and 48 bits of a hash of the attachment's key, 15 bytes at most.
std::string host_interface_name(std::string_view prefix, std::string_view attachment_key);
// "02:…": locally administered, from the attachment's key; the two ends differ.
std::string pod_mac(std::string_view attachment_key);
std::string host_mac(std::string_view attachment_key);

// What the pools that an interface's addresses are from say beside the addresses.
struct InterfaceExtras {
  bool default_routes = true;
  std::vector<Prefix> routes;  // by the next hop, as everything
};

VethSpec veth_of(const Attachment& attachment, std::uint32_t mtu);
InterfaceSetup host_setup(const Attachment& attachment);
InterfaceSetup pod_setup(const Attachment& attachment, const InterfaceExtras& extras = {});

// What differs from the setup, one phrase each; empty when nothing does.
std::vector<std::string> differences_in_pod(const Attachment& attachment,
                                            const InterfaceState& state,
                                            const InterfaceExtras& extras = {});
std::vector<std::string> differences_on_host(const Attachment& attachment,
                                             const InterfaceState& state);

// The resolver of a pod: its own namespace's names first, then the cluster's, then the fleet's.
void add_resolver(Success& success, const std::string& pod_namespace,
                  const std::string& cluster_zone, const std::string& clusterset_zone);

}  // namespace tombolo::cni
