// The DeviceNet port: sysfs for what a device is, rtnetlink for where its interface is. A move is
// one RTM_SETLINK (net/core/rtnetlink.c, do_setlink): namespace and index first, then MAC address,
// MTU, name and flags. Blocking. Any thread.
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "app/netlink/internal.h"
#include "app/netlink/netlink.h"

namespace tombolo {
namespace {

using namespace netlink;
namespace fs = std::filesystem;

using Message = std::unique_ptr<nl_msg, Free<nlmsg_free>>;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

// The kernel shows each namespace its own interfaces; a name that means nothing here is left out.
std::vector<std::string> interfaces_in(const fs::path& folder) {
  std::vector<std::string> names = names_in(folder);
  std::erase_if(names, [](const std::string& name) { return ::if_nametoindex(name.c_str()) == 0; });
  return names;
}

Message setlink(std::uint32_t index, unsigned flags, unsigned change) {
  Message message(nlmsg_alloc_simple(RTM_SETLINK, 0));
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(index);
  header.ifi_flags = flags;
  header.ifi_change = change;
  if (message && nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0)
    message.reset();
  return message;
}

// Sends it and waits for the kernel's word.
Result<void> tell(nl_sock* socket, Message message, std::string_view what) {
  if (!message) return fail(Code::kResourceExhausted, "no memory for a netlink message");
  // nl_send_sync frees it.
  int code = nl_send_sync(socket, message.release());
  if (code < 0) return std::unexpected(nl_error(code, what));
  return {};
}

Result<Message> move_message(const DeviceMove& move, int netns_fd) {
  Message message = setlink(move.index, move.up ? IFF_UP : 0, IFF_UP);
  bool put = message &&
             nla_put_u32(message.get(), IFLA_NET_NS_FD, static_cast<std::uint32_t>(netns_fd)) >= 0;
  put = put && nla_put_string(message.get(), IFLA_IFNAME, move.name.c_str()) >= 0;
  if (move.new_index != 0)
    put = put && nla_put_u32(message.get(), IFLA_NEW_IFINDEX, move.new_index) >= 0;
  if (move.mtu != 0) put = put && nla_put_u32(message.get(), IFLA_MTU, move.mtu) >= 0;
  if (!move.mac.empty()) {
    TRY(mac, mac_address(move.mac));
    put = put && nla_put_addr(message.get(), IFLA_ADDRESS, mac.get()) >= 0;
  }
  if (!put) return fail(Code::kResourceExhausted, "no memory for a netlink message");
  return message;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// A virtio device is one of its own bus, below that of the PCI bus.
std::vector<std::string> interfaces_of(const fs::path& device) {
  std::vector<std::string> interfaces = interfaces_in(device / "net");
  for (const std::string& name : names_in(device))
    if (name.starts_with("virtio"))
      for (std::string& one : interfaces_in(device / name / "net"))
        interfaces.push_back(std::move(one));
  return interfaces;
}

// In switchdev mode the card shows its functions' representors beside its own port, whose name is
// "p0", "p1", … (net/core/devlink, phys_port_name). Empty: it cannot be told which leads outside.
std::string wire_of(const fs::path& folder) {
  std::vector<std::string> names = interfaces_in(folder);
  if (names.size() == 1) return names.front();
  std::string found;
  for (const std::string& name : names) {
    std::ifstream file(folder / name / "phys_port_name");
    std::string port;
    file >> port;
    if (port.size() < 2 || port[0] != 'p' || !std::ranges::all_of(port.substr(1), is_digit))
      continue;
    if (!found.empty()) return "";
    found = name;
  }
  return found;
}

class NetlinkDeviceNet final : public DeviceNet {
 public:
  explicit NetlinkDeviceNet(std::string sysfs) : sysfs_(std::move(sysfs)) {}

  Result<BusDevice> find_device(const std::string& id) override {
    if (id.empty() || id.find('/') != std::string::npos || id.starts_with('.'))
      return fail(Code::kInvalidArgument, "'{}' is no name of a device", id.substr(0, 64));
    bool any_bus = false;
    for (const char* bus : {"pci", "auxiliary"}) {
      std::error_code error;
      any_bus = any_bus || fs::exists(sysfs_ / "bus" / bus, error);
      fs::path folder = sysfs_ / "bus" / bus / "devices" / id;
      if (!fs::exists(folder, error)) continue;
      BusDevice device;
      fs::path driver = fs::read_symlink(folder / "driver", error);
      if (!error) device.driver = driver.filename();
      device.interfaces = interfaces_of(folder);
      // A scalable function is below its card, a virtual one beside it.
      fs::path card =
          fs::path(bus) == "pci" ? folder / "physfn" : fs::canonical(folder, error) / "..";
      device.parent = wire_of(card / "net");
      return device;
    }
    // Without sysfs nothing may be taken for pulled out.
    if (!any_bus)
      return fail(Code::kFailedPrecondition, "{} shows no bus that could have the device {}",
                  sysfs_.string(), id);
    return fail(Code::kNotFound, "this node has no device {}", id);
  }

  Result<LinkState> find_link(const NetnsPath& netns, const std::string& name) override {
    return look(netns, [&](nl_sock* socket) { return netlink::find_link(socket, name); });
  }
  Result<LinkState> find_link(const NetnsPath& netns, std::uint32_t index) override {
    return look(netns, [&](nl_sock* socket) { return netlink::find_link(socket, index); });
  }

  Result<void> move_link(const DeviceMove& move) override {
    std::string to = move.to.empty() ? "/proc/thread-self/ns/net" : move.to;
    TRY(netns, open_netns(to));
    if (move.from.empty() && !move.to.empty()) {
      TRY(own, is_own_netns(netns.get()));
      if (own)
        return fail(Code::kInvalidArgument, "{} is the agent's own network namespace", move.to);
    }
    return inside(move.from, [&]() -> Result<void> {
      TRY(socket, open_socket());
      // Before the move, so that a driver that wants its interface down for a new MAC has it so.
      TRY_OK(tell(socket.get(), setlink(move.index, 0, IFF_UP), "bring the interface down"));
      TRY(message, move_message(move, netns.get()));
      return tell(socket.get(), std::move(message),
                  fmt::format("move interface {} to {} as {}", move.index,
                              move.to.empty() ? "the node" : move.to, move.name));
    });
  }

  Result<std::string> used_for(const std::string& name) override { return use_of_link(name); }

  std::string boot_id() override {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    file >> id;
    return id;
  }

 private:
  template <class Find>
  static Result<LinkState> look(const NetnsPath& netns, Find find) {
    LinkState state;
    TRY_OK(inside(netns, [&]() -> Result<void> {
      TRY(socket, open_socket());
      TRY(link, find(socket.get()));
      state = link_state(link.get());
      return {};
    }));
    return state;
  }

  fs::path sysfs_;
};

}  // namespace

std::unique_ptr<DeviceNet> make_netlink_device_net(std::string sysfs) {
  return std::make_unique<NetlinkDeviceNet>(std::move(sysfs));
}

}  // namespace tombolo
