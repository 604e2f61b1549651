// Devices for unit tests: a bus in memory whose interfaces are those of a FakeNet. Used from the
// service's worker threads.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "core/device_net.h"
#include "ipamd/cni/fake_net.h"

namespace tombolo {

class FakeDevices final : public DeviceNet {
 public:
  explicit FakeDevices(FakeNet& net) : net_(net) {}
  // A device whose interface is on the node.
  void plug(const std::string& id, const std::string& name, const std::string& mac) {
    set(id, {"iavf", {name}, ""});
    std::lock_guard lock(net_.mutex_);
    net_.links_[{"", name}] = {name, ++last_index_, mac, 9000, true, {}, {}};
  }

  // What the bus tells from now on; interfaces that are not on the node are left out.
  void set(const std::string& id, BusDevice device) {
    std::lock_guard lock(net_.mutex_);
    bus_[id] = std::move(device);
  }
  void unplug(const std::string& id) {
    std::lock_guard lock(net_.mutex_);
    bus_.erase(id);
  }

  Result<BusDevice> find_device(const std::string& id) override {
    TRY_OK(net_.before("find_device"));
    std::lock_guard lock(net_.mutex_);
    auto at = bus_.find(id);
    if (at == bus_.end()) return fail(Code::kNotFound, "this node has no device {}", id);
    BusDevice device = at->second;
    std::erase_if(device.interfaces,
                  [&](const std::string& name) { return !net_.links_.contains({"", name}); });
    return device;
  }
  Result<LinkState> find_link(const NetnsPath& netns, const std::string& name) override {
    return find(netns, [&](const InterfaceState& link) { return link.name == name; });
  }
  Result<LinkState> find_link(const NetnsPath& netns, std::uint32_t index) override {
    return find(netns, [&](const InterfaceState& link) { return link.index == index; });
  }
  Result<void> move_link(const DeviceMove& move) override {
    TRY_OK(net_.before(move.to.empty() ? "move back" : "move"));
    std::lock_guard lock(net_.mutex_);
    if (!move.to.empty() && !net_.namespaces.contains(move.to))
      return fail(Code::kNotFound, "no namespace {}", move.to);
    auto at = std::ranges::find_if(net_.links_, [&](const auto& link) {
      return link.first.first == move.from && link.second.index == move.index;
    });
    if (at == net_.links_.end()) return fail(Code::kNotFound, "no interface {}", move.index);
    std::string name = move.name == "dev%d" ? "dev0" : move.name;
    bool here = move.from == move.to && at->first.second == name;
    if (!here && net_.links_.contains({move.to, name}))
      return fail_errno(EEXIST, "the name {} is taken", name);
    // As the kernel: namespace and index are done before the driver is asked.
    bool refused = (!move.mac.empty() && refused_macs.contains(move.mac));
    if (refused) name = at->second.name;
    InterfaceState link = at->second;
    net_.links_.erase(at);
    for (auto& [id, device] : bus_)
      for (std::string& known : device.interfaces)
        if (move.to.empty() && move.from.empty() && known == link.name) known = name;
    link.name = name;
    if (move.new_index != 0 && move.from != move.to) link.index = move.new_index;
    std::string before = link.mac;
    if (!move.mac.empty()) link.mac = move.mac;
    if (move.mtu != 0) link.mtu = move.mtu;
    link.up = move.up;
    link.addresses.clear();
    link.routes.clear();
    if (refused) {
      link.mac = before;
      link.up = false;
    }
    net_.links_[{move.to, name}] = std::move(link);
    if (refused) return fail_errno(EPERM, "the driver refuses the address {}", move.mac);
    return {};
  }
  Result<std::string> used_for(const std::string& name) override {
    std::lock_guard lock(net_.mutex_);
    auto at = uses.find(name);
    return at == uses.end() ? std::string() : at->second;
  }
  std::string boot_id() override { return boot; }
  std::set<std::string> refused_macs;       // by the driver
  std::map<std::string, std::string> uses;  // of interfaces on the node, by name
  std::string boot = "first";

  // The namespace ended, and the kernel has brought its device to the node: under that name.
  void bring_back(const NetnsPath& netns, const std::string& name, const std::string& mac = "") {
    std::lock_guard lock(net_.mutex_);
    for (auto at = net_.links_.begin(); at != net_.links_.end(); ++at) {
      if (at->first.first != netns || at->second.index < 0x2000'0000) continue;
      InterfaceState link = at->second;
      link.name = name;
      if (!mac.empty()) link.mac = mac;
      link.up = false;
      link.addresses.clear();
      net_.links_.erase(at);
      net_.links_[{"", name}] = std::move(link);
      return;
    }
  }

 private:
  template <class Wanted>
  Result<LinkState> find(const NetnsPath& netns, Wanted wanted) {
    std::lock_guard lock(net_.mutex_);
    for (const auto& [key, link] : net_.links_)
      if (key.first == netns && wanted(link))
        return LinkState{link.name, link.index, link.mac, link.mtu, link.up};
    return fail(Code::kNotFound, "no such interface in {}", netns);
  }

  FakeNet& net_;
  std::map<std::string, BusDevice> bus_;
  std::uint32_t last_index_ = 10;
};

}  // namespace tombolo
