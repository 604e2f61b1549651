// The Net port on libnl-route-3 and /proc/sys: no other program is started. Blocking; each call
// opens its own netlink socket, so calls from several threads do not meet. Pods' namespaces are
// entered by short-lived threads only: no thread of the daemon ever changes its namespace.
#pragma once

#include <memory>

#include "core/device_net.h"
#include "core/net.h"

namespace tombolo {

std::unique_ptr<Net> make_netlink_net();
// `sysfs` is where the node's is mounted, in the network namespace of the node: "/sys".
std::unique_ptr<DeviceNet> make_netlink_device_net(std::string sysfs);

}  // namespace tombolo
