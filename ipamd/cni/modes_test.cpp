// The service when other plugins make the interface, and what comes back without a DEL, over a
// kernel in memory. tests/conformance has the same with real plugins.
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/cni/test_life.h"

namespace tombolo {
namespace {

using cni::Mode;

const std::string kNetns = "/run/netns/a";

Call call_of(Mode mode, Command command, const std::string& container,
             const std::string& network = "pods") {
  Call call;
  call.command = command;
  call.mode = mode;
  call.cni_version = "1.1.0";
  call.network = network;
  call.container_id = container;
  call.interface_name = "eth0";
  call.netns_path = kNetns;
  return call;
}

std::string address_of(const Answer<json::object>& answer, std::size_t index) {
  REQUIRE(answer);
  return std::string(answer->at("ips").at(index).at("address").as_string());
}

// A call that comes after another plugin, which made eth0 with 10.1.0.2.
Call chained(Command command, const std::string& container) {
  Call call = call_of(Mode::kChained, command, container);
  call.previous.emplace();
  call.previous->addresses = {InterfaceAddress::parse("10.1.0.2/24").value()};
  call.previous_result = {{"cniVersion", "1.1.0"}, {"ips", json::array{}}};
  return call;
}

void make_foreign_interface(FakeNet& net) {
  REQUIRE(net.create_veth({"veth1", "02:00:00:00:00:01", kNetns, "eth0", "02:00:00:00:00:02", 0}));
  InterfaceSetup setup;
  setup.name = "eth0";
  setup.addresses = {InterfaceAddress::parse("10.1.0.2/24").value()};
  REQUIRE(net.set_up_interface(kNetns, setup));
}

TEST_CASE("addresses only: a subnet with a gateway, no interface, kept over a restart") {
  Folder folder;
  FakeNet net;
  net.namespaces = {kNetns};
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  {
    Life life(folder, net, hooks, store);
    Call add = call_of(Mode::kAddresses, Command::kAdd, "a");
    add.routes = {{Prefix::parse("0.0.0.0/0").value(), {}},
                  {Prefix::parse("10.0.0.0/8").value(), Ip::parse("10.7.0.9").value()}};
    auto first = life.call(add);
    // The first address of each block became its gateway.
    REQUIRE(to_json(*first) ==
            R"({"cniVersion":"1.1.0","ips":[{"address":"10.7.0.2/29","gateway":"10.7.0.1"},)"
            R"({"address":"fd07::2/64","gateway":"fd07::1"}],"routes":[{"dst":"0.0.0.0/0"},)"
            R"({"dst":"10.0.0.0/8","gw":"10.7.0.9"}],"dns":{"nameservers":["169.254.20.10"],)"
            R"("search":["svc.cluster.local","cluster.local","svc.clusterset.local"],)"
            R"("options":["ndots:5"]}})");
    REQUIRE(net.link_count() == 0);
    REQUIRE(hooks.events.empty());
    REQUIRE(life.call(add).error().code == cni::kAlreadyAttached);
    REQUIRE(address_of(life.call(call_of(Mode::kAddresses, Command::kAdd, "b")), 0) ==
            "10.7.0.3/29");
    REQUIRE(life.attachments().rows().size() == 2);
    REQUIRE(life.attachments().find("a/eth0")->host_interface.empty());
  }
  Life life(folder, net, hooks, store);
  REQUIRE(life.attachments().rows().size() == 2);
  REQUIRE(address_of(life.call(call_of(Mode::kAddresses, Command::kAdd, "c")), 0) == "10.7.0.4/29");
  // Another network's DEL, and a DEL of an interface, are not about these.
  REQUIRE(life.call(call_of(Mode::kAddresses, Command::kDel, "a", "other")));
  REQUIRE(life.call(call_of(Mode::kInterface, Command::kDel, "a")));
  REQUIRE(life.attachments().find("a/eth0") != nullptr);
  Call collect = call_of(Mode::kInterface, Command::kGc, "");
  REQUIRE(life.call(collect));
  REQUIRE(life.attachments().rows().size() == 3);
  for (int i = 0; i < 3; ++i) REQUIRE(life.call(call_of(Mode::kAddresses, Command::kDel, "a")));
  collect.mode = Mode::kAddresses;
  collect.valid_attachments = {{"c", "eth0"}};
  REQUIRE(life.call(collect));
  REQUIRE(life.attachments().rows().size() == 1);
  REQUIRE(life.in_use() == 2);  // of c and the gateway
}

TEST_CASE("addresses only: CHECK compares what is held with the result") {
  struct Case {
    std::string name;
    std::string container;
    std::vector<std::string> addresses;
    int code;
  };
  auto test = GENERATE(values<Case>({
      {"both", "a", {"10.7.0.2/29", "fd07::2/64"}, 0},
      {"one is not in the result", "a", {"10.7.0.2/29"}, cni::kCheckFailed},
      {"another's", "a", {"10.7.0.3/29", "fd07::2/64"}, cni::kCheckFailed},
      {"nobody", "b", {"10.7.0.2/29"}, cni::kUnknownContainer},
  }));
  INFO(test.name);
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  net.namespaces = {kNetns};
  Life life(folder, net, hooks, store);
  REQUIRE(life.call(call_of(Mode::kAddresses, Command::kAdd, "a")));
  Call check = call_of(Mode::kAddresses, Command::kCheck, test.container);
  check.previous.emplace();
  for (const auto& address : test.addresses)
    check.previous->addresses.push_back(InterfaceAddress::parse(address).value());
  auto answer = life.call(check);
  REQUIRE((answer ? 0 : answer.error().code) == test.code);
}

TEST_CASE("addresses only: what cannot be written, or is not there, is not given") {
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  net.namespaces = {kNetns};
  Life life(folder, net, hooks, store, {"10.7.0.0/30"});
  store.refuse = true;
  auto refused = life.call(call_of(Mode::kAddresses, Command::kAdd, "a"));
  REQUIRE(refused.error().code == cni::kIoFailure);
  REQUIRE(life.attachments().rows().empty());
  store.refuse = false;
  REQUIRE(life.reaches([&] { return life.in_use() == 0; }));
  // Two addresses: one for the gateway.
  REQUIRE(life.call(call_of(Mode::kAddresses, Command::kAdd, "a")));
  auto full = life.call(call_of(Mode::kAddresses, Command::kAdd, "b"));
  REQUIRE(full.error().code == cni::kTryLater);
  REQUIRE(life.call(call_of(Mode::kAddresses, Command::kStatus, "")).error().code ==
          cni::kNotAvailable);
}

TEST_CASE("chained: the result passes through, hooks come and go, a restart keeps it") {
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Store adopted(folder.file("adopted.db"));
  net.namespaces = {kNetns};
  make_foreign_interface(net);
  {
    Life life(folder, net, hooks, store, {"10.7.0.0/29"}, true, &adopted);
    auto answer = life.call(chained(Command::kAdd, "a"));
    REQUIRE(to_json(answer.value()) == R"({"cniVersion":"1.1.0","ips":[]})");
    REQUIRE(hooks.events == std::vector<std::string>{"before_up a/eth0"});
    REQUIRE(life.attachments().find("a/eth0")->host_interface == "veth1");
    REQUIRE(life.in_use() == 0);
    REQUIRE(life.call(chained(Command::kAdd, "a")).error().code == cni::kAlreadyAttached);
    REQUIRE(life.call(chained(Command::kCheck, "a")));
    REQUIRE(life.call(chained(Command::kStatus, "")));
  }
  Life life(folder, net, hooks, store, {"10.7.0.0/29"}, true, &adopted);
  REQUIRE(life.attachments().find("a/eth0")->host_interface == "veth1");
  for (int i = 0; i < 2; ++i) REQUIRE(life.call(chained(Command::kDel, "a")));
  REQUIRE(hooks.events.back() == "removed a/eth0");
  REQUIRE(life.attachments().rows().empty());
  REQUIRE(net.link_count() == 2);
  REQUIRE(life.call(chained(Command::kCheck, "a")).error().code == cni::kUnknownContainer);
}

TEST_CASE("chained: what cannot be guarded or written is refused and let go") {
  struct Case {
    std::string name;
    bool interface;
    bool hook_refuses;
    bool disk_refuses;
    int code;
  };
  auto test = GENERATE(values<Case>({
      {"no interface", false, false, false, cni::kHookRefused},
      {"the datapath", true, true, false, cni::kHookRefused},
      {"the disk", true, false, true, cni::kIoFailure},
  }));
  INFO(test.name);
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  Store adopted(folder.file("adopted.db"));
  net.namespaces = {kNetns};
  if (test.interface) make_foreign_interface(net);
  hooks.refuse = test.hook_refuses;
  adopted.refuse = test.disk_refuses;
  Life life(folder, net, hooks, store, {"10.7.0.0/29"}, true, &adopted);
  auto answer = life.call(chained(Command::kAdd, "a"));
  REQUIRE(answer.error().code == test.code);
  REQUIRE(life.attachments().rows().empty());
  if (test.interface) REQUIRE(hooks.events.back() == "removed a/eth0");
}

TEST_CASE("a lost attachment comes back on two witnesses, never on one") {
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store(folder.file("leases.db"));
  net.namespaces = {kNetns, "/run/netns/b"};
  Life life(folder, net, hooks, store);
  REQUIRE(life.code(Command::kAdd, "a") == 0);
  Call addresses = call_of(Mode::kAddresses, Command::kAdd, "b");
  addresses.netns_path = "/run/netns/b";
  REQUIRE(life.call(addresses));

  // The path alone.
  net.namespaces = {};
  const Ip ip = life.attachments().find("b/eth0")->ips.at(0);
  net.foreign_addresses = {ip};
  auto beats = [&] {
    int looks = 0;
    net.before = [&looks](const std::string& what) {
      if (what == "netns_number") ++looks;
      return Result<void>{};
    };
    life.service().links_changed();
    REQUIRE(life.reaches([&] { return looks >= 4; }));
    net.before = [](const std::string&) { return Result<void>{}; };
  };
  beats();
  REQUIRE(life.attachments().rows().size() == 2);
  // The kernel agrees for the one, then for the other.
  net.remove_namespace(kNetns);
  life.service().links_changed();
  REQUIRE(life.reaches([&] { return life.attachments().find("a/eth0") == nullptr; }));
  REQUIRE(hooks.events.back() == "removed a/eth0");
  REQUIRE(life.attachments().rows().size() == 1);
  net.foreign_addresses = {};
  life.service().links_changed();
  REQUIRE(life.reaches([&] { return life.attachments().rows().empty(); }));
}

}  // namespace
}  // namespace tombolo
