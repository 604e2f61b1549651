// One CNI call (github.com/containernetworking/cni, SPEC.md 1.1.0) as it came in, checked, and the
// answers to it. Pure. Used by the plugin, which looks first, and by the agent, which does not
// trust the plugin. Any thread.
#pragma once

#include <array>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip.h"
#include "core/json.h"

namespace tombolo::cni {

inline constexpr std::array<std::string_view, 3> kVersions{"0.4.0", "1.0.0", "1.1.0"};
inline constexpr std::string_view kDefaultSocket = "/run/tombolo/cni.sock";

// Codes of SPEC.md "Error", then our own.
enum ErrorCode : int {
  kIncompatibleVersion = 1,
  kUnsupportedField = 2,
  kUnknownContainer = 3,
  kInvalidEnvironment = 4,
  kIoFailure = 5,
  kNotDecoded = 6,
  kInvalidConfig = 7,
  kInvalidNetns = 8,
  kTryLater = 11,
  kNotAvailable = 50,
  kLimited = 51,           // STATUS: and pods that run may not be reached
  kKernelRefused = 100,    // an interface, address or route could not be made
  kAlreadyAttached = 101,  // ADD of what is there
  kCheckFailed = 102,      // CHECK found a difference
  kAgentMismatch = 103,    // plugin and agent do not understand each other
  kNoPool = 105,           // the pod's pools cannot be used as it asks
  kHookRefused = 104,      // the datapath could not be put on the interface
  kNoDevice = 106,         // the device has no interface that could be lent
};

struct Failure {
  int code = kIoFailure;
  std::string message;
  std::string details;
  bool operator==(const Failure&) const = default;
};
template <class T>
using Answer = std::expected<T, Failure>;

enum class Command { kAdd, kDel, kCheck, kGc, kStatus, kVersion };
std::string_view to_string(Command command);  // "ADD", …

// The CNI_… variables; one that is not set is empty.
struct Environment {
  std::string command;
  std::string container_id;
  std::string netns;
  std::string interface_name;
  std::string args;
};

// A container's interface, as GC names the ones to keep.
struct AttachmentId {
  std::string container_id;
  std::string interface_name;
  auto operator<=>(const AttachmentId&) const = default;
};

// How the plugin is used (SPEC.md, sections 1 and 4).
enum class Mode {
  kInterface,  // makes the interface and gives it addresses
  kAddresses,  // another plugin makes it and asks for addresses: "ipam": {"type": "tombolo-cni"}
  kChained,    // another plugin made it and gave them: "chained": true, after that one
};

// A route that an IPAM configuration asks for, to be passed on.
struct AddressRoute {
  Prefix destination;
  std::optional<Ip> gateway;
  bool operator==(const AddressRoute&) const = default;
};

// What of an earlier result CHECK compares and chained ADD takes up.
struct PreviousResult {
  std::vector<InterfaceAddress> addresses;  // of the interface inside the container
  std::vector<Prefix> routes;
  bool in_sandbox = false;  // the interface is named, with the container it is in
  bool operator==(const PreviousResult&) const = default;
};

struct Call {
  Command command = Command::kVersion;
  Mode mode = Mode::kInterface;
  std::string cni_version;
  std::string network;  // "name" of the configuration
  std::string socket;
  std::uint32_t mtu = 0;
  // kInterface: the interface is to be this device of the node, "deviceID" as Multus writes it.
  // kAddresses: the device that the plugin which asks makes an interface of.
  std::string device_id;
  std::string mac;  // that the interface is to have: runtimeConfig.mac
  std::string container_id;
  std::string netns_path;
  std::string interface_name;
  std::string pod_namespace;  // CNI_ARGS K8S_POD_…; empty when the runtime gave none
  std::string pod_name;
  std::string pod_uid;
  std::optional<PreviousResult> previous;
  json::value previous_result;       // the whole of it; chained ADD only
  std::vector<AddressRoute> routes;  // kAddresses only
  // kAddresses only: the device that the plugin which asks puts the interface on, "master" or
  // "bridge" of its configuration, and what is asked for there before an address is answered.
  std::string device;
  bool device_is_bridge = false;
  bool conflict_probe = false;
  bool gateway_probe = false;  // of the gateways of `routes`
  // Pools that the configuration names, as Spiderpool's default_ipv4_ippool, default_ipv6_ippool.
  std::vector<std::string> ipv4_pools;
  std::vector<std::string> ipv6_pools;
  std::vector<AttachmentId> valid_attachments;  // GC
};

// Checks everything that can be checked without the agent. Failures name the variable or the key,
// as "stdin: prevResult.ips[0].address: …". For VERSION only the command and the JSON are checked.
Answer<Call> decode_call(const Environment& environment, std::string_view config);
Answer<Call> decode_parsed_call(const Environment& environment, const json::value& config);

// What ADD answers.
struct Success {
  std::string interface_name;
  std::string netns_path;
  std::string mac;
  std::string host_interface;
  std::string host_mac;
  std::uint32_t mtu = 0;
  std::vector<Ip> ips;
  std::vector<Ip> gateways;  // one per address, same family
  bool default_routes = true;
  std::vector<Prefix> routes;  // beside the default ones, by the same gateways
  std::vector<Ip> nameservers;
  std::vector<std::string> search;
  std::vector<std::string> options;
};
json::object encode_success(const Success& success, std::string_view cni_version);

// What ADD answers in mode kAddresses.
struct GrantedAddresses {
  std::vector<InterfaceAddress> addresses;
  std::vector<std::optional<Ip>> gateways;  // one entry per address, same family
  std::vector<AddressRoute> routes;
  std::vector<Ip> nameservers;
  std::vector<std::string> search;
  std::vector<std::string> options;
};
struct LentDevice {
  std::string interface_name;
  std::string netns_path;
  std::string mac;
  std::uint32_t mtu = 0;
  std::string device;
};
// What ADD answers for a device: one interface, in the container; its PCI address from 1.1.0 on.
json::object encode_device(const LentDevice& device, const GrantedAddresses& granted,
                           std::string_view cni_version);
// Without interfaces, as SPEC.md "Delegated plugins (IPAM)" has it.
json::object encode_addresses(const GrantedAddresses& granted, std::string_view cni_version);
json::object encode_failure(const Failure& failure, std::string_view cni_version);
json::object encode_versions(std::string_view cni_version);

}  // namespace tombolo::cni
