// Devices of the node in pods, over a kernel in memory: an ADD's whole life, what is refused, and
// where a device is after a crash at each step or after the end of a namespace. The real kernel:
// app/netlink/devices_test.cpp; the real daemon under kill -9: tests/conformance.
#include "ipamd/cni/devices.h"

#include <atomic>
#include <catch2/generators/catch_generators.hpp>
#include <fstream>

#include "ipamd/cni/fake_devices.h"
#include "ipamd/cni/test_life.h"

namespace tombolo {
namespace {

using Catch::Generators::values;
using cni::DeviceRecord;

const std::string kNetns = "/run/netns/a";
const std::string kDevice = "0000:3b:02.1";
const std::string kMac = "02:00:00:00:3b:21";

struct World {
  World() {
    net.namespaces = {kNetns, "/run/netns/b"};
    devices.plug(kDevice, "ens1f0v1", kMac);
  }
  Folder folder;
  FakeNet net;
  FakeDevices devices{net};
  RecordingHooks hooks;
  Store store{folder.file("leases.db")};

  std::unique_ptr<Life> life() {
    return std::make_unique<Life>(folder, net, hooks, store,
                                  std::vector<std::string>{"10.7.0.0/28", "fd07::/64"}, true,
                                  nullptr, nullptr, nullptr, &devices);
  }
  static Call call(Command command, const std::string& container,
                   const std::string& netns = kNetns) {
    Call call = Life::call_of(command, container, netns);
    call.interface_name = "net1";
    call.device_id = kDevice;
    return call;
  }
  bool at_home() {
    auto link = devices.find_link("", "ens1f0v1");
    return link && link->mac == kMac && link->mtu == 9000 && link->up;
  }
  bool recorded() { return std::filesystem::exists(folder.file("devices/0000:3b:02.1.json")); }
  void record(const DeviceRecord& record) const {
    std::filesystem::create_directories(folder.file("devices"));
    std::ofstream(folder.file("devices/0000:3b:02.1.json")) << cni::encode_device_record(record);
  }
  DeviceRecord record_of(const std::string& container) {
    auto link = devices.find_link("", "ens1f0v1");
    REQUIRE(link);
    DeviceRecord record;
    record.device = kDevice;
    record.boot = devices.boot;
    record.container_id = container;
    record.interface_name = "net1";
    record.netns_path = kNetns;
    record.pod_index = 0x2000'0001;
    record.name = "ens1f0v1";
    record.index = link->index;
    record.mac = link->mac;
    record.mtu = link->mtu;
    record.up = link->up;
    return record;
  }
};

TEST_CASE("a device becomes a pod's interface and comes back as it was") {
  World world;
  auto life = world.life();
  REQUIRE(life->started());
  Call add = World::call(Command::kAdd, "a");
  add.mac = "02:00:00:00:00:77";
  add.mtu = 1500;
  auto added = life->call(add);
  REQUIRE(added);
  REQUIRE(added->at("interfaces").as_array().size() == 1);
  const auto& interface = added->at("interfaces").at(0).as_object();
  REQUIRE(interface.at("name") == "net1");
  REQUIRE(std::string(interface.at("pciID").as_string()) == kDevice);
  REQUIRE(interface.at("mac") == "02:00:00:00:00:77");
  REQUIRE(interface.at("mtu") == 1500);
  REQUIRE(std::string(interface.at("sandbox").as_string()) == kNetns);
  // The subnet of the node's block, and its first address as the gateway.
  const auto& ip = added->at("ips").at(0).as_object();
  REQUIRE(ip.at("address") == "10.7.0.2/28");
  REQUIRE(ip.at("gateway") == "10.7.0.1");
  REQUIRE(ip.at("interface") == 0);
  REQUIRE(added->at("routes").at(0).at("dst") == "0.0.0.0/0");
  auto inside = world.net.read_interface(kNetns, "net1");
  REQUIRE(inside);
  REQUIRE(inside->up);
  REQUIRE(inside->mac == "02:00:00:00:00:77");
  REQUIRE(inside->mtu == 1500);
  REQUIRE(inside->addresses.size() == 2);
  REQUIRE(inside->routes.size() == 2);
  REQUIRE(!world.devices.find_link("", "ens1f0v1"));
  REQUIRE(world.recorded());
  auto where = life->service().device_in_pod("a/net1");
  REQUIRE(where);
  REQUIRE(where->device == kDevice);
  REQUIRE(where->index == inside->index);

  Call check = World::call(Command::kCheck, "a");
  check.previous.emplace();
  check.previous->addresses = {InterfaceAddress::parse("10.7.0.2/28").value()};
  check.previous->routes = {Prefix::parse("0.0.0.0/0").value()};
  REQUIRE(life->call(check));
  check.previous->routes = {Prefix::parse("10.0.0.0/8").value()};
  auto differs = life->call(check);
  REQUIRE(!differs);
  REQUIRE(differs.error().code == cni::kCheckFailed);
  REQUIRE(differs.error().details.find("10.0.0.0/8") != std::string::npos);

  REQUIRE(life->call(World::call(Command::kAdd, "a")).error().code == cni::kAlreadyAttached);
  REQUIRE(life->call(World::call(Command::kDel, "a")));
  REQUIRE(world.at_home());
  REQUIRE(!world.recorded());
  REQUIRE(life->call(World::call(Command::kDel, "a")));
  REQUIRE(world.hooks.events == std::vector<std::string>{"before_up a/net1", "removed a/net1"});
}

TEST_CASE("an older configuration's result has no PCI address, the auxiliary bus none at all") {
  cni::GrantedAddresses none;
  cni::LentDevice device{"net1", kNetns, kMac, 1500, kDevice};
  auto old = cni::encode_device(device, none, "1.0.0");
  REQUIRE(!old.at("interfaces").at(0).as_object().contains("pciID"));
  device.device = "mlx5_core.sf.4";
  auto scalable = cni::encode_device(device, none, "1.1.0");
  REQUIRE(!scalable.at("interfaces").at(0).as_object().contains("pciID"));
}

TEST_CASE("devices that cannot be lent are refused, and nothing is left") {
  struct Case {
    const char* name;
    std::function<void(World&)> before;
    int code;
    const char* says;
  };
  auto test = GENERATE(values<Case>({
      {"not there", [](World& world) { world.devices.unplug(kDevice); }, cni::kNoDevice,
       "no device 0000:3b:02.1"},
      {"of user space", [](World& world) { world.devices.set(kDevice, {"vfio-pci", {}, ""}); },
       cni::kNoDevice, "its driver is vfio-pci"},
      {"without a driver", [](World& world) { world.devices.set(kDevice, {}); }, cni::kNoDevice,
       "no driver is bound"},
      {"several interfaces",
       [](World& world) {
         world.net.add_host_link("ens1f0v1d1");
         world.devices.set(kDevice, {"mlx4_core", {"ens1f0v1", "ens1f0v1d1"}, ""});
       },
       cni::kNoDevice, "several interfaces: ens1f0v1, ens1f0v1d1"},
      {"the node's uplink",
       [](World& world) { world.devices.uses["ens1f0v1"] = "it is a port of another interface"; },
       cni::kNoDevice, "uses ens1f0v1, the interface of the device 0000:3b:02.1: it is a port"},
      {"the name is taken in the pod",
       [](World& world) { REQUIRE(world.net.create_veth({"other", "", kNetns, "net1", "", 0})); },
       cni::kKernelRefused, "net1 exists already"},
      {"no such namespace", [](World& world) { world.net.remove_namespace(kNetns); },
       cni::kInvalidNetns, "no namespace"},
      {"the datapath refuses", [](World& world) { world.hooks.refuse = true; }, cni::kHookRefused,
       "no program"},
      {"the kernel refuses the addresses",
       [](World& world) {
         world.net.before = [](const std::string& operation) -> Result<void> {
           if (operation == "set_up net1") return fail(Code::kInternal, "no room");
           return {};
         };
       },
       cni::kKernelRefused, "no room"},
  }));
  INFO(test.name);
  World world;
  auto life = world.life();
  test.before(world);
  bool had_one = world.at_home();
  auto answer = life->call(World::call(Command::kAdd, "a"));
  REQUIRE(!answer);
  REQUIRE(answer.error().code == test.code);
  INFO(answer.error().message);
  REQUIRE(answer.error().message.find(test.says) != std::string::npos);
  REQUIRE(world.at_home() == had_one);
  REQUIRE(!world.recorded());
  REQUIRE(life->attachments().rows().empty());
  REQUIRE(!life->service().book().find("a/net1"));
}

TEST_CASE("a device is one pod's, also over a restart") {
  World world;
  {
    auto life = world.life();
    REQUIRE(life->call(World::call(Command::kAdd, "a")));
  }
  auto life = world.life();
  REQUIRE(life->started());
  REQUIRE(life->attachments().find("a/net1") != nullptr);
  auto other = life->call(World::call(Command::kAdd, "b", "/run/netns/b"));
  REQUIRE(!other);
  REQUIRE(other.error().code == cni::kNoDevice);
  REQUIRE(other.error().message.find("lent to a/net1") != std::string::npos);
  REQUIRE(life->call(World::call(Command::kDel, "a")));
  REQUIRE(life->call(World::call(Command::kAdd, "b", "/run/netns/b")));
}

TEST_CASE("after a crash the device is lent whole or at home") {
  struct Case {
    const char* name;
    bool moved;
    const char* now_called;  // on the node; empty: as ever
  };
  auto test = GENERATE(values<Case>({
      {"recorded, not moved", false, ""},
      {"moved, no lease on the disk", true, ""},
      {"put down, not moved", false, "ens1f0v1"},
      {"brought back by the kernel under another name", false, "dev7"},
  }));
  INFO(test.name);
  World world;
  DeviceRecord record = world.record_of("a");
  world.record(record);
  if (test.moved)
    REQUIRE(world.devices.move_link(
        {"", record.index, kNetns, "net1", record.pod_index, "02:00:00:00:00:99", 1500, false}));
  if (test.now_called[0] != '\0')
    REQUIRE(world.devices.move_link({"", record.index, "", test.now_called, 0, "", 1400, false}));
  auto life = world.life();
  REQUIRE(life->started());
  REQUIRE(world.at_home());
  REQUIRE(!world.recorded());
  REQUIRE(life->call(World::call(Command::kAdd, "a")));
}

TEST_CASE("a record of an earlier boot changes nothing of the device") {
  World world;
  DeviceRecord record = world.record_of("a");
  record.mac = "02:00:00:00:00:98";
  record.boot = "before";
  world.record(record);
  auto life = world.life();
  REQUIRE(life->started());
  REQUIRE(world.at_home());
  REQUIRE(!world.recorded());
}

TEST_CASE("a record that cannot be read is set aside, and the node goes on") {
  World world;
  std::filesystem::create_directories(world.folder.file("devices"));
  std::ofstream(world.folder.file("devices/backup.json")) << "{";
  auto life = world.life();
  REQUIRE(life->started());
  REQUIRE(std::filesystem::exists(world.folder.file("devices/backup.json.damaged")));
  REQUIRE(life->call(World::call(Command::kAdd, "a")));
}

TEST_CASE("a device that the node uses by now stays what it is") {
  World world;
  DeviceRecord record = world.record_of("a");
  record.mac = "02:00:00:00:00:98";
  world.record(record);
  world.devices.uses["ens1f0v1"] = "it has the address 192.0.2.7";
  auto life = world.life();
  REQUIRE(life->started());
  REQUIRE(world.at_home());
  REQUIRE(!world.recorded());
}

TEST_CASE("DEL waits while a process still has the device somewhere") {
  World world;
  auto life = world.life();
  REQUIRE(life->call(World::call(Command::kAdd, "a")));
  // The path is gone, the namespace is not.
  world.net.rename_namespace(kNetns, "/proc/77/ns/net");
  auto refused = life->call(World::call(Command::kDel, "a"));
  REQUIRE(!refused);
  REQUIRE(refused.error().message.find("a process still has it") != std::string::npos);
  REQUIRE(life->service().book().find("a/net1"));
  REQUIRE(world.recorded());
  world.devices.bring_back("/proc/77/ns/net", "ens1f0v1");
  REQUIRE(life->call(World::call(Command::kDel, "a")));
  REQUIRE(life->reaches([&] { return !life->service().book().find("a/net1"); }));
}

TEST_CASE("a namespace ends without DEL: the address is free, the device comes home") {
  World world;
  auto life = world.life();
  REQUIRE(life->call(World::call(Command::kAdd, "a")));
  world.net.remove_namespace(kNetns);
  auto freed = [&] { return !life->service().book().find("a/net1"); };
  auto home = [&] { return world.at_home() && !world.recorded(); };
  SECTION("the kernel has brought it, under the name in the pod") {
    world.devices.bring_back(kNetns, "net1");
    world.devices.set(kDevice, {"iavf", {"net1"}, ""});
    REQUIRE(life->reaches(home));
    REQUIRE(life->reaches(freed));
  }
  SECTION("the kernel takes its time") {
    // Its interface is with a namespace that nobody can see.
    world.devices.set(kDevice, {"iavf", {}, ""});
    world.devices.bring_back(kNetns, "unseen");
    REQUIRE(life->reaches(freed));
    REQUIRE(world.recorded());
    auto early = life->call(World::call(Command::kAdd, "b", "/run/netns/b"));
    REQUIRE(!early);
    REQUIRE(early.error().code == cni::kTryLater);
    world.devices.set(kDevice, {"iavf", {"unseen"}, ""});
    REQUIRE(life->reaches(home));
  }
  SECTION("somebody has its name by now") {
    world.devices.set(kDevice, {"iavf", {}, ""});
    world.net.add_host_link("ens1f0v1");
    world.devices.bring_back(kNetns, "net1");
    world.devices.set(kDevice, {"iavf", {"net1"}, ""});
    REQUIRE(life->reaches([&] { return world.devices.find_link("", "dev0").has_value(); }));
    REQUIRE(life->reaches([&] { return !world.recorded(); }));
  }
  SECTION("its driver refuses the MAC address that it had") {
    world.devices.bring_back(kNetns, "net1", "02:00:00:00:00:55");
    world.devices.set(kDevice, {"iavf", {"net1"}, ""});
    world.devices.refused_macs = {kMac};
    REQUIRE(life->reaches([&] { return world.devices.find_link("", "ens1f0v1").has_value(); }));
    REQUIRE(life->reaches([&] { return !world.recorded(); }));
    REQUIRE(life->reaches(freed));
    REQUIRE(world.devices.find_link("", "ens1f0v1")->mac == "02:00:00:00:00:55");
  }
  SECTION("the device was pulled out") {
    world.devices.unplug(kDevice);
    world.devices.bring_back(kNetns, "unseen");
    REQUIRE(life->reaches([&] { return !world.recorded(); }));
    REQUIRE(life->reaches(freed));
  }
}

TEST_CASE("an ADD that comes again finds the device that it could not give back") {
  World world;
  std::atomic<bool> refuses = true;
  world.net.before = [&refuses](const std::string& operation) -> Result<void> {
    if (refuses && (operation == "set_up net1" || operation == "move back"))
      return fail(Code::kInternal, "not now");
    return {};
  };
  auto life = world.life();
  REQUIRE(!life->call(World::call(Command::kAdd, "a")));
  REQUIRE(world.recorded());
  refuses = false;
  REQUIRE(life->call(World::call(Command::kAdd, "a")));
  REQUIRE(life->call(World::call(Command::kDel, "a")));
  REQUIRE(world.at_home());
  REQUIRE(!world.recorded());
}

TEST_CASE("records survive their own encoding, and what is none is refused with its place") {
  DeviceRecord record{kDevice,    "a", "net1", kNetns, 0x2000'0001, true,
                      "ens1f0v1", 7,   kMac,   9000,   true};
  auto again = cni::decode_device_record("f.json", cni::encode_device_record(record));
  REQUIRE(again);
  REQUIRE(*again == record);
  for (const char* text : {"", "{}", R"({"device": 7})", "[1]"}) {
    auto bad = cni::decode_device_record("f.json", text);
    REQUIRE(!bad);
    REQUIRE(bad.error().text().find("f.json") != std::string::npos);
  }
}

}  // namespace
}  // namespace tombolo
