// An interface that is a device of the node: what becomes of it in the pod, what of it is missing
// there, and how it comes back. Pure but for give_back. Private to ipamd/cni.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/device_net.h"
#include "core/tables.h"
#include "ipamd/cni/call.h"
#include "ipamd/cni/device_records.h"
#include "ipamd/cni/service.h"

namespace tombolo {

struct CniService::Devices {
  Devices(DeviceNet& to, std::string folder, Worker& worker)
      : net(to), records(std::move(folder), worker) {}
  DeviceNet& net;
  cni::DeviceRecords records;
  // What was logged of devices that do not come back, so that it is once.
  std::map<std::string, std::string> troubles;
};

namespace cni {

// With the subnet and the gateways of its addresses, as it is on the wire: nothing of it is on the
// node. It tells the wire of its addresses when it comes up.
InterfaceSetup device_setup(const Attachment& attachment, const GrantedAddresses& places);

std::vector<std::string> differences_of_device(const Attachment& attachment,
                                               const DeviceRecord& record,
                                               const InterfaceState& state,
                                               const PreviousResult& previous);

enum class DevicePlace {
  kBack,  // on the node
  kGone,  // no bus has the device any more
  kAway,  // neither on the node nor where it was moved to: the kernel brings it when a namespace
          // ends
};
struct DeviceReturn {
  DevicePlace place = DevicePlace::kAway;
  std::string without;  // kBack: why it is not quite as it was; empty: it is
};
// Brings the interface of a record back as it was, wherever it is: in the pod, or on the node,
// where the kernel brings the devices of a namespace that ended (net/core/dev.c,
// default_device_exit_net) under whatever name. Under "dev…" when somebody else has the name, and
// without MAC address, MTU and being up when its driver refuses them. Blocking.
Result<DeviceReturn> give_back(DeviceNet& net, const DeviceRecord& record);

}  // namespace cni
}  // namespace tombolo
