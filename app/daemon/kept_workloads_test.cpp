// Which workloads keep their addresses for ever, as the store remembers it when they are gone.
#include "app/daemon/kept_workloads.h"

#include <catch2/catch_test_macros.hpp>

#include "core/store/drive.h"
#include "core/store/memory_kv.h"

namespace tombolo {
namespace {

PodInfo workload(const std::string& kind, const std::string& name, const std::string& keep) {
  PodInfo info;
  info.kind = kind;
  info.name_space = "shop";
  info.name = name;
  if (kind != "Pod") info.owner = kind + "/" + name;
  if (!keep.empty()) info.annotations["ipam.tombolo.io/keep"] = keep;
  return info;
}

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
};

TEST_CASE("a workload that said always is remembered as long as it has an address") {
  World world;
  std::set<std::string> claimed{"StatefulSet/shop/db/0/eth0", "StatefulSet/shop/web/0/eth0"};
  {
    KeptWorkloads kept(world.kv);
    REQUIRE_FALSE(kept.keeps("StatefulSet/shop/db/0/eth0"));
    std::vector<PodInfo> infos{workload("StatefulSet", "db", "always"),
                               workload("StatefulSet", "web", "scale")};
    REQUIRE(world.drive.run(kept.follow(infos, claimed)));
    REQUIRE(kept.keeps("StatefulSet/shop/db/0/eth0"));
    REQUIRE(kept.keeps("StatefulSet/shop/db/7/net1"));
    REQUIRE_FALSE(kept.keeps("StatefulSet/shop/web/0/eth0"));
  }
  // Another life, in which both are gone.
  KeptWorkloads kept(world.kv);
  REQUIRE(world.drive.run(kept.follow({}, claimed)));
  REQUIRE(kept.keeps("StatefulSet/shop/db/0/eth0"));
  REQUIRE_FALSE(kept.keeps("StatefulSet/shop/web/0/eth0"));
  REQUIRE(world.drive.run(kept.follow({}, std::nullopt)));
  REQUIRE(kept.keeps("StatefulSet/shop/db/0/eth0"));
  REQUIRE(world.drive.run(kept.follow({}, std::set<std::string>())));
  REQUIRE_FALSE(kept.keeps("StatefulSet/shop/db/0/eth0"));
}

TEST_CASE("a workload that says something else now is kept no longer than others") {
  World world;
  KeptWorkloads kept(world.kv);
  std::set<std::string> claimed{"Pod/shop/web/eth0", "VirtualMachine/shop/vm/eth0"};
  PodInfo machine = workload("Pod", "virt-launcher-vm-x", "always");
  machine.labels["vm.kubevirt.io/name"] = "vm";
  REQUIRE(world.drive.run(kept.follow({workload("Pod", "web", "always"), machine}, claimed)));
  REQUIRE(kept.keeps("Pod/shop/web/eth0"));
  REQUIRE(kept.keeps("VirtualMachine/shop/vm/eth0"));
  REQUIRE(world.drive.run(kept.follow({workload("Pod", "web", "")}, claimed)));
  REQUIRE_FALSE(kept.keeps("Pod/shop/web/eth0"));
  REQUIRE(kept.keeps("VirtualMachine/shop/vm/eth0"));
}

}  // namespace
}  // namespace tombolo
