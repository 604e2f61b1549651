// Devices of the node's buses whose interfaces are lent to pods whole: virtual functions of a
// network card, scalable functions. The port is blocking; callers run it on a Worker. The real one
// is app/netlink.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/net.h"

namespace tombolo {

// What the kernel tells of a device below /sys/bus (Documentation/ABI/testing/sysfs-bus-pci).
struct BusDevice {
  std::string driver;                   // empty: none is bound to it
  std::vector<std::string> interfaces;  // in the agent's own namespace, sorted
  // The interface that leads to the same wire from the node: of the physical function, or of the
  // card that a scalable function is of. Empty: none, or none in this namespace.
  std::string parent;
};

// One interface from one namespace into another. What is empty or 0 stays as it is.
struct DeviceMove {
  NetnsPath from;
  std::uint32_t index = 0;  // there
  NetnsPath to;
  std::string name;
  std::uint32_t new_index = 0;  // 0: the kernel finds one
  std::string mac;
  std::uint32_t mtu = 0;
  bool up = false;  // afterwards
};

class DeviceNet {
 public:
  virtual ~DeviceNet() = default;

  // `id` is a PCI address ("0000:3b:02.1") or a name of the auxiliary bus ("mlx5_core.sf.4").
  // kNotFound: neither bus has it; kFailedPrecondition: there is no bus to be seen.
  virtual Result<BusDevice> find_device(const std::string& id) = 0;
  // kNotFound: no such interface, or no such namespace.
  virtual Result<LinkState> find_link(const NetnsPath& netns, const std::string& name) = 0;
  virtual Result<LinkState> find_link(const NetnsPath& netns, std::uint32_t index) = 0;
  // The interface is in the other namespace afterwards, without addresses and routes. The kernel
  // does it in one step: a process that dies leaves it here or there, never between. From the
  // agent's own namespace ("") to itself it gets its name, MAC address and MTU. kNotFound:
  // there is no such interface or namespace; kInvalidArgument: `to` is no namespace, or the agent's
  // own by its path; kAlreadyExists: the name is taken in the other namespace, where the interface
  // may be under its old one by then.
  virtual Result<void> move_link(const DeviceMove& move) = 0;
  // What the node itself uses an interface of its own for: it is a port of another one, others are
  // made over it, it has addresses beyond the link, or routes lead out of it. Empty: for nothing.
  // kNotFound: no such interface.
  virtual Result<std::string> used_for(const std::string& name) = 0;
  // Names this boot of the kernel; empty: it is not told.
  virtual std::string boot_id() = 0;
};

}  // namespace tombolo
