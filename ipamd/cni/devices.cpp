// Devices in pods, by their records.
#include "ipamd/cni/devices.h"

#include <algorithm>

namespace tombolo::cni {
namespace {

bool has_v6(const Attachment& attachment) {
  return std::ranges::any_of(attachment.ips, [](const Ip& ip) { return !ip.is_v4(); });
}

struct Located {
  NetnsPath netns;
  LinkState link;
};

// Nothing: the interface is neither on the node nor where it was moved to. kNotFound: no bus has
// the device.
Result<std::optional<Located>> locate(DeviceNet& net, const DeviceRecord& record) {
  TRY(device, net.find_device(record.device));
  bool here = !device.interfaces.empty();
  auto link = here ? net.find_link("", device.interfaces.front())
                   : net.find_link(record.netns_path, record.pod_index);
  if (link) return Located{here ? "" : record.netns_path, std::move(*link)};
  // The path may lead to a file that is no namespace any more.
  bool nowhere = link.error().code == Code::kNotFound ||
                 (!here && link.error().code == Code::kInvalidArgument);
  if (nowhere) return std::nullopt;
  return std::unexpected(std::move(link).error());
}

bool is_as_it_was(const Located& found, const DeviceRecord& record) {
  return found.netns.empty() && found.link.name == record.name && found.link.mac == record.mac &&
         found.link.mtu == record.mtu && found.link.up == record.up;
}

DeviceMove way_back(const Located& found, const DeviceRecord& record) {
  DeviceMove back;
  back.from = found.netns;
  back.index = found.link.index;
  back.name = record.name;
  back.new_index = record.index;
  if (found.link.mac != record.mac) back.mac = record.mac;
  if (found.link.mtu != record.mtu) back.mtu = record.mtu;
  back.up = record.up;
  return back;
}

}  // namespace

InterfaceSetup device_setup(const Attachment& attachment, const GrantedAddresses& places) {
  InterfaceSetup setup;
  setup.name = attachment.interface_name;
  setup.sysctls["ipv4/arp_notify"] = "1";
  if (has_v6(attachment)) {
    setup.sysctls["ipv6/disable_ipv6"] = "0";
    setup.sysctls["ipv6/accept_dad"] = "0";
    setup.sysctls["ipv6/accept_ra"] = "0";
    setup.sysctls["ipv6/ndisc_notify"] = "1";
  }
  setup.addresses = places.addresses;
  for (const AddressRoute& wanted : places.routes) {
    Route route;
    route.destination = wanted.destination;
    route.via = wanted.gateway;
    route.interface_name = attachment.interface_name;
    route.behind_others = wanted.destination.length() == 0;
    setup.routes.push_back(std::move(route));
  }
  return setup;
}

std::vector<std::string> differences_of_device(const Attachment& attachment,
                                               const DeviceRecord& record,
                                               const InterfaceState& state,
                                               const PreviousResult& previous) {
  std::vector<std::string> found;
  if (!state.up) found.push_back(fmt::format("the interface {} is down", state.name));
  if (state.index != record.pod_index)
    found.push_back(fmt::format("{} is another interface than that of the device {}", state.name,
                                record.device));
  if (state.mac != attachment.mac)
    found.push_back(fmt::format("the interface {} has the MAC address {}, not {}", state.name,
                                state.mac, attachment.mac));
  for (const Ip& ip : attachment.ips)
    if (std::ranges::find(state.addresses, ip, &InterfaceAddress::ip) == state.addresses.end())
      found.push_back(fmt::format("the address {} is not on {}", ip, state.name));
  for (const InterfaceAddress& address : previous.addresses)
    if (std::ranges::find(state.addresses, address) == state.addresses.end())
      found.push_back(fmt::format("the address {} is not on {}", address.str(), state.name));
  for (const Prefix& route : previous.routes)
    if (std::ranges::find(state.routes, route, &Route::destination) == state.routes.end())
      found.push_back(fmt::format("the route to {} by {} is missing", route.str(), state.name));
  return found;
}

Result<DeviceReturn> give_back(DeviceNet& net, const DeviceRecord& record) {
  auto found = locate(net, record);
  if (!found && found.error().code == Code::kNotFound) return DeviceReturn{DevicePlace::kGone, ""};
  if (!found) return std::unexpected(std::move(found).error());
  if (!*found) return DeviceReturn{DevicePlace::kAway, ""};
  if (is_as_it_was(**found, record)) return DeviceReturn{DevicePlace::kBack, ""};
  if ((*found)->netns.empty()) {
    // Whoever uses it there has made it what it is.
    TRY(use, net.used_for((*found)->link.name));
    if (!use.empty())
      return DeviceReturn{DevicePlace::kBack, fmt::format("the node uses it already: {}", use)};
  }
  auto moved = net.move_link(way_back(**found, record));
  if (moved) return DeviceReturn{DevicePlace::kBack, ""};
  if (moved.error().code == Code::kNotFound) return DeviceReturn{DevicePlace::kAway, ""};
  // Somebody has the name or the index by now, or the driver refuses what it allowed before: the
  // device is more important than all of them.
  std::string without = moved.error().text();
  for (bool everything : {true, false}) {
    // The step before may have brought it half the way.
    TRY(now, locate(net, record));
    if (!now) return DeviceReturn{DevicePlace::kAway, ""};
    DeviceMove back = way_back(*now, record);
    back.new_index = 0;
    auto holder = net.find_link("", record.name);
    if (holder && (!now->netns.empty() || holder->index != now->link.index)) back.name = "dev%d";
    if (!everything) {
      back.mac.clear();
      back.mtu = 0;
      back.up = false;
    }
    moved = net.move_link(back);
    if (moved) return DeviceReturn{DevicePlace::kBack, std::move(without)};
  }
  return std::unexpected(std::move(moved).error());
}

}  // namespace tombolo::cni
