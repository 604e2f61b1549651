// The DeviceNet port against the real kernel: real interfaces (veth ends: no machine of the tests
// has virtual functions) between namespaces that the test makes, and a sysfs that is a folder of
// the test. Needs root, else SKIP.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "app/netlink/netlink.h"
#include "app/netlink/test_netns.h"

namespace tombolo {
namespace {

namespace fs = std::filesystem;

class Sysfs {
 public:
  Sysfs() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Sysfs() {
    std::error_code ignored;  // a folder that is gone already is as good
    fs::remove_all(path_, ignored);
  }
  Sysfs(const Sysfs&) = delete;
  Sysfs& operator=(const Sysfs&) = delete;
  const std::string& path() const { return path_; }
  void device(const std::string& at, const std::string& driver,
              const std::vector<std::string>& interfaces) const {
    fs::create_directories(fs::path(path_) / at / "net");
    if (!driver.empty())
      fs::create_symlink("../../drivers/" + driver, fs::path(path_) / at / "driver");
    for (const auto& name : interfaces) fs::create_directories(fs::path(path_) / at / "net" / name);
  }

 private:
  std::string path_ = "/tmp/tombolo-sysfs-XXXXXX";
};

TEST_CASE("a device is found on its bus, with its driver, interfaces and parent") {
  OwnNetns node;
  if (!node.made()) SKIP("needs the right to make network namespaces (root)");
  Sysfs sysfs;
  sysfs.device("bus/pci/devices/0000:3b:02.1", "iavf", {"vf1", "not-here"});
  sysfs.device("bus/pci/devices/0000:3b:00.0", "ice", {"pf0"});
  fs::create_symlink("../0000:3b:00.0", sysfs.path() + "/bus/pci/devices/0000:3b:02.1/physfn");
  sysfs.device("bus/pci/devices/0000:3b:02.2", "vfio-pci", {});
  sysfs.device("bus/pci/devices/0000:00:03.0/virtio2", "virtio_net", {"virtual0"});
  // A scalable function, below the card.
  sysfs.device("devices/card", "", {"pf0"});
  sysfs.device("devices/card/mlx5_core.sf.4", "", {"sf4"});
  fs::create_directories(sysfs.path() + "/bus/auxiliary/devices");
  fs::create_symlink("../../../devices/card/mlx5_core.sf.4",
                     sysfs.path() + "/bus/auxiliary/devices/mlx5_core.sf.4");
  on_node(node, [&] {
    for (const char* name : {"vf1", "pf0", "sf4", "virtual0"})
      REQUIRE(std::system(fmt::format("ip link add {0} type veth peer name {0}p", name).c_str()) ==
              0);
    auto net = make_netlink_device_net(sysfs.path());
    auto vf = net->find_device("0000:3b:02.1");
    REQUIRE(vf);
    REQUIRE(vf->driver == "iavf");
    REQUIRE(vf->interfaces == std::vector<std::string>{"vf1"});
    REQUIRE(vf->parent == "pf0");
    auto userspace = net->find_device("0000:3b:02.2");
    REQUIRE(userspace);
    REQUIRE(userspace->driver == "vfio-pci");
    REQUIRE(userspace->interfaces.empty());
    auto scalable = net->find_device("mlx5_core.sf.4");
    REQUIRE(scalable);
    REQUIRE(scalable->interfaces == std::vector<std::string>{"sf4"});
    REQUIRE(scalable->parent == "pf0");
    // As the kernel has it for a PCI device of virtio.
    auto paravirtual = net->find_device("0000:00:03.0");
    REQUIRE(paravirtual);
    REQUIRE(paravirtual->interfaces == std::vector<std::string>{"virtual0"});
    auto blind = make_netlink_device_net(sysfs.path() + "/bus")->find_device("0000:3b:02.1");
    REQUIRE(!blind);
    REQUIRE(blind.error().code == Code::kFailedPrecondition);
    auto none = net->find_device("0000:3b:02.7");
    REQUIRE(!none);
    REQUIRE(none.error().code == Code::kNotFound);
    REQUIRE(!net->find_device("../../../../etc"));
  });
}

// By name: the PCI address of the card, or of what virtio is on. Only of those.
std::map<std::string, std::string> cards_of_this_machine() {
  std::map<std::string, std::string> cards;
  for (const auto& entry : fs::directory_iterator("/sys/class/net")) {
    std::error_code error;
    fs::path device = fs::canonical(entry.path() / "device", error);
    if (error) continue;
    if (device.filename().string().starts_with("virtio")) device = device.parent_path();
    if (fs::exists(fs::path("/sys/bus/pci/devices") / device.filename(), error))
      cards[entry.path().filename()] = device.filename();
  }
  return cards;
}

TEST_CASE("the cards of this machine are found in the real sysfs") {
  auto cards = cards_of_this_machine();
  if (cards.empty()) SKIP("needs a network card on the PCI bus");
  auto net = make_netlink_device_net("/sys");
  for (const auto& [name, id] : cards) {
    INFO(name << " is " << id);
    auto device = net->find_device(id);
    REQUIRE(device);
    REQUIRE(!device->driver.empty());
    REQUIRE(std::ranges::find(device->interfaces, name) != device->interfaces.end());
  }
}

TEST_CASE("an interface goes into a pod and comes back as it was") {
  OwnNetns node;
  OwnNetns pod;
  if (!node.made() || !pod.made()) SKIP("needs the right to make network namespaces (root)");
  on_node(node, [&] {
    auto net = make_netlink_device_net("/sys");
    REQUIRE(std::system(
                "ip link add vf1 address 02:00:00:00:01:01 mtu 9000 type veth peer name wire") ==
            0);
    REQUIRE(std::system("ip link set vf1 up && ip addr add 192.0.2.1/24 dev vf1") == 0);
    auto before = net->find_link("", "vf1");
    REQUIRE(before);
    constexpr std::uint32_t kIndex = 0x2000'0007;
    DeviceMove there{"",     before->index,       pod.path(), "net1",
                     kIndex, "02:00:00:00:02:02", 1500,       false};
    REQUIRE(net->move_link(there));
    REQUIRE(net->find_link("", "vf1").error().code == Code::kNotFound);
    auto inside = net->find_link(pod.path(), kIndex);
    REQUIRE(inside);
    REQUIRE(inside->name == "net1");
    REQUIRE(inside->mac == "02:00:00:00:02:02");
    REQUIRE(inside->mtu == 1500);
    REQUIRE(!inside->up);
    // A second one of that name is refused, and what came so far can be moved back.
    REQUIRE(std::system("ip link add vf2 type veth peer name wire2") == 0);
    auto other = net->find_link("", "vf2");
    REQUIRE(other);
    auto taken = net->move_link({"", other->index, pod.path(), "net1", kIndex + 1, "", 0, false});
    REQUIRE(!taken);
    REQUIRE(taken.error().code == Code::kAlreadyExists);
    DeviceMove back{pod.path(), kIndex, "", "vf1", before->index, before->mac, before->mtu, true};
    REQUIRE(net->move_link(back));
    auto after = net->find_link("", "vf1");
    REQUIRE(after);
    REQUIRE(after->index == before->index);
    REQUIRE(after->mac == before->mac);
    REQUIRE(after->mtu == before->mtu);
    REQUIRE(after->up);
    auto state = make_netlink_net()->read_interface("", "vf1");
    REQUIRE(state);
    REQUIRE(state->addresses.empty());
    REQUIRE(net->move_link(there));
    auto own = net->move_link({"", other->index, "/proc/thread-self/ns/net", "x", 0, "", 0, false});
    REQUIRE(!own);
    REQUIRE(own.error().code == Code::kInvalidArgument);
  });
}

}  // namespace
}  // namespace tombolo
