// Which pods keep their addresses, under which name and with how much room.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

PodInfo info(const std::string& owner, StringMap annotations = {}, StringMap labels = {},
             std::uint32_t replicas = 0) {
  PodInfo info;
  info.name_space = "shop";
  info.name = "db";
  info.kind = "Pod";
  info.owner = owner;
  info.annotations = std::move(annotations);
  info.labels = std::move(labels);
  info.replicas = replicas;
  return info;
}

TEST_CASE("identities of pods") {
  const std::string fixed = "ipam.tombolo.io/fixed";
  const std::string number = "ipam.tombolo.io/ip-number";
  const std::string spider_number = "ipam.spidernet.io/ippool-ip-number";
  struct Case {
    std::string name;
    PodInfo info;
    std::string pod;
    std::string identity;  // "NAME room", empty: none
  };
  auto test = GENERATE_COPY(values<Case>({
      {"a lone pod", info(""), "web", ""},
      {"a lone pod that asks", info("", {{fixed, "true"}}), "web", "Pod/shop/web 1"},
      {"a StatefulSet's, without being asked", info("StatefulSet/db", {}, {}, 3), "db-2",
       "StatefulSet/shop/db/2 1"},
      {"a StatefulSet that wants none", info("StatefulSet/db", {{fixed, "false"}}), "db-2", ""},
      {"a name that is no ordinal's", info("StatefulSet/db"), "db-x", ""},
      {"an ordinal with a zero before it", info("StatefulSet/db"), "db-02", ""},
      {"a Deployment", info("Deployment/web", {}, {}, 3), "web-7d9f-x2x", ""},
      {"a Deployment that asks", info("Deployment/web", {{fixed, "true"}}, {}, 3), "web-7d9f-x2x",
       "Deployment/shop/web 3"},
      {"a Deployment with one to spare", info("Deployment/web", {{number, "+1"}}, {}, 3), "web-a",
       "Deployment/shop/web 4"},
      {"as many as it says", info("Deployment/web", {{number, "10"}}, {}, 3), "web-a",
       "Deployment/shop/web 10"},
      {"Spiderpool's annotation", info("Deployment/web", {{spider_number, "+2"}}, {}, 3), "web-a",
       "Deployment/shop/web 5"},
      {"ours comes first", info("Deployment/web", {{number, "+1"}, {spider_number, "9"}}, {}, 1),
       "web-a", "Deployment/shop/web 2"},
      {"a virtual machine by label",
       info("VirtualMachineInstance/vm-x", {}, {{"vm.kubevirt.io/name", "vm"}}),
       "virt-launcher-vm-abcde", "VirtualMachine/shop/vm 1"},
      {"a virtual machine by owner", info("VirtualMachineInstance/vm"), "virt-launcher-vm-abcde",
       "VirtualMachine/shop/vm 1"},
      {"a virtual machine that wants none", info("VirtualMachineInstance/vm", {{fixed, "false"}}),
       "virt-launcher-vm-abcde", ""},
  }));
  CAPTURE(test.name);
  auto identity = fixed_identity(test.info, test.pod);
  REQUIRE(identity.has_value());
  std::string text;
  if (identity->has_value()) text = fmt::format("{} {}", (*identity)->name, (*identity)->room);
  REQUIRE(text == test.identity);
}

TEST_CASE("keeping over scaling is asked for") {
  REQUIRE_FALSE((*fixed_identity(info("StatefulSet/db"), "db-0"))->over_scaling);
  for (const char* keep : {"scale", "always", "workload"}) {
    auto identity =
        fixed_identity(info("StatefulSet/db", {{"ipam.tombolo.io/keep", keep}}), "db-0");
    REQUIRE(identity);
    REQUIRE(identity->value().over_scaling == (keep != std::string_view("workload")));
  }
}

TEST_CASE("addresses are kept for those whose pods may come again") {
  auto controller = [](const std::string& kind, const std::string& name, std::uint32_t replicas,
                       StringMap annotations = {}) {
    PodInfo made = info(kind + "/" + name, std::move(annotations), {}, replicas);
    made.kind = kind;
    made.name = name;
    return made;
  };
  PodInfo lone = info("");
  lone.name = "web";
  PodInfo machine = info("VirtualMachineInstance/vm");
  machine.name = "virt-launcher-vm-x";
  PodInfo written = info("StatefulSet/cache");
  written.name = "cache-4";
  AliveIdentities alive(
      {controller("StatefulSet", "db", 2),
       controller("StatefulSet", "kept", 1, {{"ipam.tombolo.io/keep", "scale"}}),
       controller("StatefulSet", "not", 3, {{"ipam.tombolo.io/fixed", "false"}}),
       controller("Deployment", "web", 2),
       controller("Deployment", "more", 2, {{"ipam.tombolo.io/ip-number", "+1"}}),
       controller("Deployment", "wide", 0, {{"ipam.tombolo.io/keep", "scale"}}),
       controller("Deployment", "unread", 1, {{"ipam.tombolo.io/ip-number", "x"}}), lone, machine,
       written});
  struct Case {
    std::string identity;
    std::size_t room;
    bool known = false;
  };
  auto test = GENERATE(values<Case>({
      {"StatefulSet/shop/db/1/eth0", 1, true},
      {"StatefulSet/shop/db/1/net1", 1, true},
      {"StatefulSet/shop/db/2/eth0", 0, true},
      {"StatefulSet/other/db/1/eth0", 0},
      {"StatefulSet/shop/kept/7/eth0", 1, true},
      {"StatefulSet/shop/not/0/eth0", 0},
      {"StatefulSet/shop/cache/4/eth0", 1, true},
      {"StatefulSet/shop/cache/3/eth0", 0},
      {"Deployment/shop/web/eth0", 2, true},
      {"Deployment/shop/more/eth0", 3, true},
      {"Deployment/shop/wide/eth0", 10'000, true},
      {"Deployment/shop/unread/eth0", 10'000, true},
      {"Deployment/shop/gone/eth0", 0},
      {"VirtualMachine/shop/vm/eth0", 1, true},
      {"VirtualMachine/shop/other/eth0", 0},
      {"Pod/shop/web/eth0", 1, true},
      {"Pod/shop/webs/eth0", 0},
      {"nonsense", 0},
      {"", 0},
  }));
  CAPTURE(test.identity);
  REQUIRE(alive.room(test.identity) == test.room);
  REQUIRE(alive.knows(test.identity) == test.known);
}

TEST_CASE("annotations that say something else are refused by name") {
  struct Case {
    std::string name;
    StringMap annotations;
    std::string what;
  };
  auto test = GENERATE(values<Case>({
      {"fixed",
       {{"ipam.tombolo.io/fixed", "yes"}},
       "annotation ipam.tombolo.io/fixed of pod shop/web: 'yes' is not true or false"},
      {"keep",
       {{"ipam.tombolo.io/keep", "x"}},
       "annotation ipam.tombolo.io/keep of pod shop/web: 'x' is not workload, scale or always"},
      {"number",
       {{"ipam.tombolo.io/ip-number", "-1"}},
       "annotation ipam.tombolo.io/ip-number of pod shop/web: '-1' is not a number, or + and a "
       "number, up to 10000"},
      {"no number",
       {{"ipam.spidernet.io/ippool-ip-number", "+"}},
       "annotation ipam.spidernet.io/ippool-ip-number of pod shop/web: '+' is not a number, or + "
       "and a number, up to 10000"},
      {"none at all",
       {{"ipam.tombolo.io/ip-number", "0"}},
       "annotation ipam.tombolo.io/ip-number of pod shop/web: '0' is not a number, or + and a "
       "number, up to 10000"},
  }));
  CAPTURE(test.name);
  REQUIRE(fixed_identity(info("Deployment/web", test.annotations), "web").error().what ==
          test.what);
}

TEST_CASE("exact addresses: a list is eth0's, an object is by interface") {
  struct Case {
    std::string name;
    std::string text;
    std::string interface;
    std::string ips;  // or the error behind the annotation's name
  };
  auto test = GENERATE(values<Case>({
      {"both families", R"(["10.1.2.3", "fd00::3"])", "eth0", "10.1.2.3 fd00::3"},
      {"another interface", R"(["10.1.2.3"])", "net1", ""},
      {"by interface", R"({"net1": ["10.1.2.3"]})", "net1", "10.1.2.3"},
      {"not this one", R"({"net1": ["10.1.2.3"]})", "eth0", ""},
      {"two of a family", R"(["10.1.2.3", "10.1.2.4"])", "eth0", "[1]: is the second IPv4 address"},
      {"no address", R"(["10.1.2"])", "eth0", "[0]: '10.1.2' is not an IPv4 or IPv6 address"},
      {"no JSON", "10.1.2.3", "eth0", "!"},
  }));
  CAPTURE(test.name);
  auto ips = asked_addresses(info("", {{"ipam.tombolo.io/ip", test.text}}), "web", test.interface);
  if (!ips) {
    std::string begin = "annotation ipam.tombolo.io/ip of pod shop/web: ";
    REQUIRE(ips.error().what.starts_with(begin));
    if (test.ips != "!") REQUIRE(ips.error().what == begin + test.ips);
    return;
  }
  std::string text;
  for (const Ip& ip : *ips) text += (text.empty() ? "" : " ") + ip.str();
  REQUIRE(text == test.ips);
}

}  // namespace
TEST_CASE("a workload is named as the identities of its addresses are") {
  PodInfo info;
  info.name_space = "shop";
  info.kind = "Pod";
  info.name = "db-0";
  REQUIRE(workload_of(info) == "Pod/shop/db-0");
  info.owner = "StatefulSet/db";
  REQUIRE(workload_of(info) == "StatefulSet/shop/db");
  info.owner = "VirtualMachineInstance/vm1";
  REQUIRE(workload_of(info) == "VirtualMachine/shop/vm1");
  info.labels["vm.kubevirt.io/name"] = "vm2";
  REQUIRE(workload_of(info) == "VirtualMachine/shop/vm2");
  PodInfo controller;
  controller.kind = "StatefulSet";
  REQUIRE(workload_of(controller).empty());
  for (auto [identity, workload] :
       {std::pair{"StatefulSet/shop/db/0/eth0", "StatefulSet/shop/db"},
        std::pair{"Deployment/shop/web/net1", "Deployment/shop/web"},
        std::pair{"Pod/shop/one", "Pod/shop/one"}, std::pair{"odd", "odd"}, std::pair{"", ""}})
    REQUIRE(workload_of(std::string_view(identity)) == workload);
}

TEST_CASE("a controller may make pods of the names that its kind gives") {
  struct Row {
    const char* kind;
    const char* pod;
    bool may;
  };
  for (const Row& row : {Row{"StatefulSet", "db-0", true}, Row{"StatefulSet", "db-12", true},
                         Row{"StatefulSet", "db-01", false}, Row{"StatefulSet", "db-x", false},
                         Row{"StatefulSet", "db-", false}, Row{"ReplicaSet", "db-x7kq2", true},
                         Row{"Pod", "db-0", false}}) {
    PodInfo controller;
    controller.kind = row.kind;
    controller.name = "db";
    INFO(row.kind << " " << row.pod);
    REQUIRE(may_make(controller, row.pod) == row.may);
  }
}

}  // namespace tombolo
