// Addresses out of pools, from the ADD to the kernel and back: who gets which, what the interface
// has, what is left after DEL, failures and kills.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/cni/test_pools.h"

namespace tombolo {
namespace {

using Claimed = std::set<std::string>;

const std::string kRacks = R"({"ipv4": ["racks"]})";

asio::awaitable<void> delete_one(CniService& service, cni::Call call, int& done) {
  auto answer = co_await service.handle(std::move(call));
  REQUIRE(answer);
  ++done;
}

TEST_CASE("the pool that an ADD draws from") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  cluster.tell("shop", "by-pod", {{"ipam.tombolo.io/ippool", kRacks}});
  cluster.tell("shop", "both",
               {{"ipam.tombolo.io/ippool", R"({"ipv4": ["racks"], "ipv6": ["racks-6"]})"}});
  cluster.tell("team", "by-namespace", {},
               {{"ipam.spidernet.io/default-ipv4-ippool", R"(["storage"])"}});
  cluster.tell("open", "by-default", {});
  cluster.tell("shop", "plain", {});
  cluster.tell("shop", "wrong", {{"ipam.tombolo.io/ippool", R"({"ipv4": ["x"]})"}});
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kRacks}}, {}, "Deployment", 2);
  cluster.tell("shop", "two", {{"ipam.tombolo.io/ippool", R"({"ipv4": ["storage"]})"}}, {},
               "Deployment", 1);
  cluster.tell("shop", "two",
               {{"ipam.tombolo.io/ippool", kRacks}, {"ipam.tombolo.io/fixed", "false"}}, {},
               "StatefulSet", 1);
  struct Case {
    std::string name;
    std::string pod;
    std::string answer;  // how it begins
  };
  auto test = GENERATE(values<Case>({
      {"pod's annotation", "shop/by-pod", "172.18.41.4"},
      {"both families", "shop/both", "172.18.41.4"},
      {"namespace", "team/by-namespace", "172.18.42.1"},
      {"default pool", "open/by-default", "172.18.43."},
      {"nobody's pool", "shop/plain", "10.7.1.1/32"},
      {"a StatefulSet's pod, beside a Deployment of its name", "shop/two-0", "172.18.41.4"},
      {"a Deployment's pod, beside a StatefulSet of its name", "shop/two-7d9f-x2x", "172.18.42.1"},
      {"a Deployment's pod", "shop/web-7d9f-x2x", "172.18.41.4"},
      {"no name at all", "", "10.7.1.1/32"},
      {"a pool that is not there", "shop/wrong",
       "105 not found: annotation ipam.tombolo.io/ippool of pod shop/wrong: there is no pool 'x'"},
      {"a pod that nobody knows", "shop/new",
       "11 nothing is known of the pod shop/new yet, and so not its address pool"},
  }));
  CAPTURE(test.name);
  std::string answer = node.add("a", test.pod);
  CAPTURE(answer);
  REQUIRE(answer.starts_with(test.answer));
  if (test.name == "both families") REQUIRE(answer.find("fd00:41::") != std::string::npos);
  bool pooled = answer.starts_with("172.");
  REQUIRE(cluster.claims().empty() == !pooled);
  REQUIRE(node.tables().routed.rows().empty() == !pooled);
  REQUIRE(node.del("a").empty());
  REQUIRE(cluster.claims_become({}));
  REQUIRE(node.tables().routed.rows().empty());
  REQUIRE(cluster.loop.reaches([&] { return node.service().book().leases().empty(); }));
}

TEST_CASE("without its store an ADD that needs a pool says so, and no other pool steps in") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kRacks}});
  REQUIRE(node.add("a", "shop/web").starts_with("172.18.41."));
  node.kv().set_connected(false);
  std::string answer = node.add("b", "shop/web");
  REQUIRE(answer.starts_with("11 the address pool of the pod shop/web is not known: "));
  // DEL does not wait for it; the claim goes when the store is back.
  REQUIRE(node.del("a").empty());
  REQUIRE(cluster.loop.reaches([&] { return node.service().book().leases().empty(); }));
  REQUIRE(cluster.claims().size() == 1);
  node.kv().set_connected(true);
  REQUIRE(node.add_soon("c", "shop/web").starts_with("172."));
}

TEST_CASE("a pool for services is none of the pods' business") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world,
                "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {name: edge}\n"
                "spec: {subnet: 203.0.113.0/24, allowedUses: [LoadBalancer]}\n");
  REQUIRE(node.add("a", "shop/nobody-knows-it") == "10.7.1.1/32");
  node.kv().set_connected(false);
  REQUIRE(node.add("b", "shop/nobody-knows-it").starts_with("10.7.1."));
}

TEST_CASE("two DELs of one container do not wait for each other") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippools", R"([{"ipv4": ["racks"]},
                 {"interface": "net1", "ipv4": ["racks"]},
                 {"interface": "net2", "ipv4": ["racks"]}])"}});
  REQUIRE(node.add("a", "shop/web").starts_with("172.18.41.4"));
  REQUIRE(node.service().book().leases().size() == 3);
  int done = 0;
  for (const char* interface : {"net1", "net2"})
    cluster.loop.tasks().spawn(
        interface,
        delete_one(node.service(), node.call_of(Command::kDel, "a", "", interface), done));
  REQUIRE(cluster.loop.reaches([&] { return done == 2; }));
  REQUIRE(node.del("a").empty());
  REQUIRE(cluster.loop.reaches([&] { return node.service().book().leases().empty(); }));
}

TEST_CASE("two nodes never give out one address, and a pool that is empty says so") {
  PoolCluster cluster;
  NodeWorld world1("n1");
  NodeWorld world2("n2");
  NodeLife one(cluster, world1);
  NodeLife two(cluster, world2);
  std::set<std::string> given;
  for (int i = 0; i < 4; ++i) {
    std::string pod = fmt::format("web-{}", i);
    cluster.tell("shop", pod, {{"ipam.tombolo.io/ippool", kRacks}});
    NodeLife& node = i % 2 == 0 ? one : two;
    std::string answer = node.add(fmt::format("{}{}", "ab"[i % 2], i), "shop/" + pod);
    REQUIRE(answer.starts_with("172.18.41.4"));
    REQUIRE(given.insert(answer).second);
  }
  cluster.tell("shop", "more", {{"ipam.tombolo.io/ippool", kRacks}});
  REQUIRE(two.add("c", "shop/more").starts_with("11 "));
  REQUIRE(one.del("a0").empty());
  REQUIRE(two.add_soon("c", "shop/more").starts_with("172."));
}

TEST_CASE("what an interface that is made here has") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  auto [clean, wanted] = GENERATE(table<bool, std::vector<std::string>>(
      {{false, {"0.0.0.0/0", "10.0.0.0/8"}}, {true, {"10.0.0.0/8"}}}));
  cluster.tell("shop", "web",
               {{"ipam.tombolo.io/ippools",
                 fmt::format(R"([{{"ipv4": ["racks"], "cleangateway": {}}}])", clean)}});
  auto answer = node.handle(node.call_of(Command::kAdd, "a", "shop/web"));
  REQUIRE(answer);
  REQUIRE(NodeLife::text_of(answer).ends_with("/32"));
  std::vector<std::string> routes;
  for (const auto& route : answer->at("routes").as_array()) {
    routes.emplace_back(route.at("dst").as_string());
    REQUIRE(route.at("gw").as_string() == "169.254.1.1");
  }
  REQUIRE(routes == wanted);
  auto state = world.net.read_interface("/run/netns/a", "eth0");
  REQUIRE(state);
  routes.clear();
  for (const Route& route : state->routes) routes.push_back(route.destination.str());
  REQUIRE(routes == wanted);
  Call check = node.call_of(Command::kCheck, "a", "shop/web");
  for (const std::string& route : wanted)
    check.previous->routes.push_back(Prefix::parse(route).value());
  REQUIRE(node.handle(check));
  check.previous->routes.push_back(Prefix::parse("10.99.0.0/16").value());
  REQUIRE(node.handle(check).error().code == cni::kCheckFailed);
}

TEST_CASE("what another plugin is told: the subnet, its gateway, its routes") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  bool clean = GENERATE(false, true);
  cluster.tell("shop", "web",
               {{"ipam.tombolo.io/ippools",
                 fmt::format(R"([{{"ipv4": ["racks"], "ipv6": ["racks-6"], "cleangateway": {}}}])",
                             clean)}});
  Call call = node.call_of(Command::kAdd, "a", "shop/web");
  call.mode = cni::Mode::kAddresses;
  auto answer = node.handle(call);
  REQUIRE(answer);
  const auto& ips = answer->at("ips").as_array();
  REQUIRE(std::string(ips.at(0).at("address").as_string()).ends_with("/24"));
  REQUIRE(std::string(ips.at(1).at("address").as_string()).ends_with("/64"));
  REQUIRE(ips.at(0).as_object().contains("gateway") == !clean);
  std::string routes = to_json(answer->at("routes"));
  REQUIRE(routes == (clean ? R"([{"dst":"10.0.0.0/8","gw":"172.18.41.2"}])"
                           : R"([{"dst":"0.0.0.0/0","gw":"172.18.41.1"},)"
                             R"({"dst":"10.0.0.0/8","gw":"172.18.41.2"},)"
                             R"({"dst":"::/0","gw":"fd00:41::1"}])"));
  // The other plugin's interface is on the network itself: nobody reaches it by this node.
  REQUIRE(node.tables().routed.rows().empty());
  call.command = Command::kDel;
  REQUIRE(node.handle(call));
  REQUIRE(cluster.claims_become({}));
}

const std::string kTwo = R"([{"ipv4": ["racks"]}, {"interface": "net1", "ipv4": ["storage"]}])";

TEST_CASE("all interfaces of a pod are one transaction") {
  PoolCluster cluster;
  NodeWorld world("n1");
  std::optional<NodeLife> node(std::in_place, cluster, world);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippools", kTwo}});
  std::string eth0 = node->add("a", "shop/web");
  REQUIRE(eth0.starts_with("172.18.41.4"));
  Claimed both = cluster.claims();
  REQUIRE(both.size() == 2);
  std::string waiting = *std::ranges::find_if(
      both, [](const std::string& claim) { return claim.starts_with("storage/"); });
  // Nobody has that interface yet.
  REQUIRE(node->tables().attachments.size() == 1);

  SECTION("the next ADD takes what waits") {
    REQUIRE("storage/" + node->add("a", "shop/web", "net1") == waiting + "/32");
    REQUIRE(cluster.claims() == both);
    REQUIRE(node->tables().attachments.size() == 2);
    REQUIRE(node->del("a", "net1").empty());
    REQUIRE(node->del("a").empty());
    REQUIRE(cluster.claims_become({}));
  }
  SECTION("also in another life") {
    node.reset();
    node.emplace(cluster, world);
    REQUIRE(node->tables().attachments.size() == 1);
    REQUIRE("storage/" + node->add("a", "shop/web", "net1") == waiting + "/32");
    REQUIRE(cluster.claims() == both);
  }
  SECTION("DEL frees it though its ADD never came") {
    REQUIRE(node->del("a").empty());
    REQUIRE(cluster.loop.reaches([&] { return node->service().book().leases().empty(); }));
    REQUIRE(cluster.claims_become({}));
  }
  SECTION("a network namespace that goes frees it, too") {
    world.net.namespaces.erase("/run/netns/a");
    REQUIRE(world.net.delete_link(
        node->tables().attachments.rows().begin()->second.row.host_interface));
    node->service().links_changed();
    REQUIRE(cluster.claims_become({}));
  }
}

TEST_CASE("all or none: when one interface's pool is empty the others get nothing") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  for (const char* pod : {"one", "two"}) {
    cluster.tell("shop", pod, {{"ipam.tombolo.io/ippool", R"({"ipv4": ["storage"]})"}});
    REQUIRE(node.add(pod[0] == 'o' ? "a1" : "a2", fmt::format("shop/{}", pod)).starts_with("172."));
  }
  Claimed before = cluster.claims();
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippools", kTwo}});
  REQUIRE(node.add("b", "shop/web").starts_with("11 "));
  REQUIRE(cluster.claims() == before);
  REQUIRE(node.service().book().leases().size() == 2);
}

TEST_CASE("an ADD that fails gives back what it took, of all interfaces") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippools", kTwo}});
  SECTION("the kernel refuses") {
    world.net.before = [](const std::string& what) -> Result<void> {
      if (what.starts_with("create_veth")) return fail(Code::kInternal, "no memory");
      return {};
    };
  }
  SECTION("the disk refuses") {
    world.store.refuse = true;
  }
  REQUIRE_FALSE(node.add("a", "shop/web").starts_with("172."));
  world.store.refuse = false;
  REQUIRE(cluster.claims_become({}));
  REQUIRE(node.service().book().leases().empty());
}

TEST_CASE("a StatefulSet's pod keeps its address on another node") {
  PoolCluster cluster;
  NodeWorld world1("n1");
  NodeWorld world2("n2");
  NodeLife one(cluster, world1);
  NodeLife two(cluster, world2);
  cluster.tell("shop", "db", {{"ipam.tombolo.io/ippool", kRacks}}, {}, "StatefulSet", 2);
  std::string address = one.add("a", "shop/db-0");
  REQUIRE(address.starts_with("172.18.41.4"));
  // While it is still held where it was, nobody takes it over.
  REQUIRE(two.add("b", "shop/db-0").starts_with("11 "));
  REQUIRE(one.del("a").empty());
  std::string kept = "racks/" + address.substr(0, address.find('/')) + " kept";
  REQUIRE(cluster.claims_become({kept}));
  REQUIRE(two.add("c", "shop/db-1") != address);
  REQUIRE(two.add_soon("b", "shop/db-0") == address);
}

TEST_CASE("a fixed address stays its workload's over a restart and a store that forgot it") {
  PoolCluster cluster;
  NodeWorld world("n1");
  cluster.tell("shop", "db", {{"ipam.tombolo.io/ippool", kRacks}}, {}, "StatefulSet", 2);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippools", kTwo}}, {}, "StatefulSet", 2);
  MemoryStore::Backup backup = cluster.store.backup();
  auto node = std::make_unique<NodeLife>(cluster, world);
  REQUIRE(node->add("a", "shop/db-0").starts_with("172.18.41."));
  REQUIRE(node->add("b", "shop/web-1").starts_with("172.18.41."));
  REQUIRE(node->add("b", "shop/web-1", "net1").starts_with("172.18.42."));
  Claimed before = cluster.claims();
  REQUIRE(before.size() == 3);
  node.reset();
  cluster.store.restore(backup, 2);
  node = std::make_unique<NodeLife>(cluster, world);
  REQUIRE(cluster.claims_become(before));
  for (const char* container : {"a", "b"}) REQUIRE(node->del(container).empty());
  REQUIRE(node->del("b", "net1").empty());
  Claimed kept;
  for (const std::string& claim : before) kept.insert(claim + " kept");
  REQUIRE(cluster.claims_become(kept));
  REQUIRE(kept.contains("racks/" + node->add_soon("c", "shop/db-0").substr(0, 12) + " kept"));
}

TEST_CASE("a kept address that a pod took after the backup is the pod's again") {
  PoolCluster cluster;
  NodeWorld world1("n1");
  NodeWorld world2("n2");
  cluster.tell("shop", "web",
               {{"ipam.tombolo.io/ippool", kRacks}, {"ipam.tombolo.io/ip-number", "+1"}}, {},
               "Deployment", 1);
  auto one = std::make_unique<NodeLife>(cluster, world1);
  REQUIRE(one->add("a", "shop/web-7d9f-x2x").starts_with("172.18.41."));
  REQUIRE(one->del("a").empty());
  REQUIRE(cluster.loop.reaches([&] { return cluster.claims().begin()->ends_with(" kept"); }));
  MemoryStore::Backup backup = cluster.store.backup();
  std::string address = one->add_soon("b", "shop/web-7d9f-b2b");
  one.reset();
  cluster.store.restore(backup, 2);
  one = std::make_unique<NodeLife>(cluster, world1);
  REQUIRE(cluster.claims_become({"racks/" + address.substr(0, address.find('/'))}));
  NodeLife two(cluster, world2);
  std::string other = two.add_soon("c", "shop/web-7d9f-c2c");
  REQUIRE(other.starts_with("172.18.41."));
  REQUIRE(other != address);
}

TEST_CASE("a claim without a lease is freed by the node that made it") {
  PoolCluster cluster;
  NodeWorld world("n1");
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kRacks}});
  {
    NodeLife node(cluster, world);
    REQUIRE(node.add("a", "shop/web").starts_with("172."));
    // Killed between the claim and the lease: the disk never saw the second one.
    AddressClaim orphan;
    orphan.pool = "racks";
    orphan.ip = Ip::parse("172.18.41.43").value();
    orphan.holder = "lost/eth0";
    orphan.node = "n1";
    Put put{records::claim_key(orphan), records::encode(orphan), 0};
    REQUIRE(cluster.loop.run(cluster.kv.put(std::move(put))).has_value());
    REQUIRE(cluster.claims().size() == 2);
  }
  NodeLife node(cluster, world);
  REQUIRE(cluster.loop.reaches([&] { return cluster.claims().size() == 1; }));
  REQUIRE_FALSE(cluster.claims().contains("racks/172.18.41.43"));
  REQUIRE(node.del("a").empty());
  REQUIRE(cluster.claims_become({}));
}

TEST_CASE("an overlay pool gives each node blocks of its own, one more when they are full") {
  PoolCluster cluster;
  NodeWorld world1("n1");
  NodeWorld world2("n2");
  NodeLife one(cluster, world1);
  NodeLife two(cluster, world2);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", R"({"ipv4": ["wide"]})"}});
  std::set<std::string> given;
  for (int i = 0; i < 12; ++i) {
    NodeLife& node = i % 2 == 0 ? one : two;
    std::string answer = node.add(fmt::format("{}{}", "ab"[i % 2], i), "shop/web");
    REQUIRE(answer.starts_with("172.19.0."));
    REQUIRE(answer != "172.19.0.6/32");
    REQUIRE(given.insert(answer).second);
    // The block is one that this node tells the others of.
    Ip ip = Ip::parse(answer.substr(0, answer.find('/'))).value();
    std::string name = i % 2 == 0 ? "n1" : "n2";
    REQUIRE(node.tables().routed.find(NodeBlock{name, Prefix(ip, 30)}.key()) != nullptr);
  }
  REQUIRE(one.tables().routed.size() >= 2);
  REQUIRE(cluster.claims().empty());
  REQUIRE(one.del("a0").empty());
}

TEST_CASE("an overlay pool grows for two interfaces when one address is left") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", R"({"ipv4": ["wide"]})"}});
  cluster.tell("shop", "two",
               {{"ipam.tombolo.io/ippools",
                 R"([{"ipv4": ["wide"]}, {"interface": "net1", "ipv4": ["wide"]}])"}});
  auto left = [&] {
    return node.service().book().allocator().pool("wide")->usage(Family::kV4).free();
  };
  for (int i = 0; i == 0 || left() != 1; ++i)
    REQUIRE(node.add(fmt::format("a{}", i), "shop/web").starts_with("172.19.0."));
  REQUIRE(node.add("b", "shop/two").starts_with("172.19.0."));
}

// One block, which the first that needs it has.
const char* const kOneBlock = R"(
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: wide}
spec: {kind: overlay, subnet: 172.19.0.0/29, blockLength: 29, rest: {wantedSeconds: 0}}
)";
const std::string kWide = R"({"ipv4": ["wide"]})";

TEST_CASE("a block whose release got no answer stays closed, whatever the store says") {
  PoolCluster cluster;
  NodeWorld world1("n1");
  NodeWorld world2("n2");
  NodeLife one(cluster, world1, kOneBlock);
  NodeLife two(cluster, world2, kOneBlock);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kWide}});
  REQUIRE(one.add("a", "shop/web").starts_with("172.19.0."));
  REQUIRE(one.del("a").empty());
  REQUIRE(cluster.loop.reaches([&] { return one.service().book().leases().empty(); }));
  REQUIRE(one.open("wide") == 6);
  // No answer, and nothing to be seen of it: it is still on its way.
  std::vector<TxnRequest> late;
  one.kv().loses = [&](TxnRequest& request) {
    if (request.compares.empty()) return false;  // a read
    late.push_back(request);
    request.compares[0].number = -1;
    return true;
  };
  for (std::size_t lost = 1; lost <= 2; ++lost) {
    for (int i = 0; late.size() < lost && i < 20; ++i) {
      cluster.clock.skip(std::chrono::minutes(1));
      cluster.loop.reaches([&] { return late.size() >= lost; }, std::chrono::milliseconds(200));
    }
    REQUIRE(late.size() == lost);
    REQUIRE(one.add("b", "shop/web").starts_with("11 "));
    REQUIRE(one.open("wide") == 0);
    REQUIRE(one.tables().routed.rows().empty());
  }
  REQUIRE(cluster.loop.run(cluster.kv.txn(late[0]))->succeeded);
  for (const char* pod : {"c", "d"})
    REQUIRE(two.add_soon(pod, "shop/web").starts_with("172.19.0."));
  REQUIRE(one.add("b", "shop/web").starts_with("11 "));
  // What is on its way for longer than it takes to have the block again comes too late.
  REQUIRE_FALSE(cluster.loop.run(cluster.kv.txn(late[1]))->succeeded);
}

TEST_CASE("a restored store gives a node a block back that is another's by now: it stays closed") {
  PoolCluster cluster;
  NodeWorld world1("n1");
  NodeWorld world2("n2");
  world1.memory.emplace();
  auto one = std::make_unique<NodeLife>(cluster, world1, kOneBlock);
  NodeLife two(cluster, world2, kOneBlock);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kWide}});
  REQUIRE(one->add("a", "shop/web").starts_with("172.19.0."));
  REQUIRE(one->del("a").empty());
  REQUIRE(cluster.loop.reaches([&] { return one->service().book().leases().empty(); }));
  MemoryStore::Backup backup = cluster.store.backup();
  for (int i = 0; one->open("wide") > 0 && i < 20; ++i) {
    cluster.clock.skip(std::chrono::minutes(1));
    cluster.loop.reaches([&] { return one->open("wide") == 0; }, std::chrono::milliseconds(200));
  }
  std::set<std::string> given;
  for (int i = 0; i < 3; ++i) given.insert(two.add_soon(fmt::format("b{}", i), "shop/web"));
  REQUIRE(given.size() == 3);
  bool restarts = GENERATE(false, true);
  CAPTURE(restarts);
  if (restarts) one.reset();
  cluster.store.restore(backup, 2);
  if (restarts) one = std::make_unique<NodeLife>(cluster, world1, kOneBlock);
  // By and by: the list, what the nodes say, the end of the wait.
  auto owner = [&] {
    auto found = cluster.loop.run(cluster.kv.get("tombolo/v1/poolblocks/wide/172.19.0.0/29"));
    return records::decode_pool_block(**found).value().node;
  };
  for (int i = 0; i < 8; ++i) {
    REQUIRE(one->add("c", "shop/web").starts_with("11 "));
    REQUIRE(one->open("wide") == 0);
    cluster.clock.skip(std::chrono::seconds(6));
    cluster.loop.reaches([] { return false; }, std::chrono::milliseconds(100));
  }
  REQUIRE(cluster.loop.reaches([&] { return owner() == "n2"; }));
  for (int i = 3; i < 6; ++i) given.insert(two.add_soon(fmt::format("b{}", i), "shop/web"));
  REQUIRE(given.size() == 6);
}

TEST_CASE("a block with a pod in it stays open while a restored store settles") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world, kOneBlock);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kWide}});
  MemoryStore::Backup before = cluster.store.backup();
  REQUIRE(node.add("a", "shop/web").starts_with("172.19.0."));
  bool known = GENERATE(true, false);
  CAPTURE(known);
  cluster.store.restore(known ? cluster.store.backup() : before, 2);
  cluster.loop.reaches([] { return false; }, std::chrono::milliseconds(200));
  // What the backup does not know is claimed again, and not with the next comparison only.
  REQUIRE(cluster.loop.reaches([&] {
    return cluster.loop.run(cluster.kv.get("tombolo/v1/poolblocks/wide/172.19.0.0/29"))
        ->has_value();
  }));
  REQUIRE(cluster.loop.reaches([&] { return node.open("wide") > 0; }));
  REQUIRE(node.add("b", "shop/web").starts_with("172.19.0."));
  REQUIRE(node.tables().routed.size() == 1);
}

TEST_CASE("a block that is another's by now is closed before the next ADD") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world, kOneBlock);
  cluster.tell("shop", "web", {{"ipam.tombolo.io/ippool", kWide}});
  REQUIRE(node.add("a", "shop/web").starts_with("172.19.0."));
  PoolBlock block{"wide", Prefix::parse("172.19.0.0/29").value(), "n2", 1, 0, 0};
  Put put{records::pool_block_key(block), records::encode(block), 0};
  REQUIRE(cluster.loop.run(cluster.kv.put(std::move(put))).has_value());
  REQUIRE(cluster.loop.reaches([&] { return node.open("wide") == 0; }, std::chrono::seconds(2)));
  REQUIRE(node.add("b", "shop/web").starts_with("11 "));
}

TEST_CASE("an exact address, asked for by the pod") {
  PoolCluster cluster;
  NodeWorld world("n1");
  NodeLife node(cluster, world);
  cluster.tell("shop", "web",
               {{"ipam.tombolo.io/ippool", kRacks}, {"ipam.tombolo.io/ip", R"(["172.18.41.42"])"}});
  REQUIRE(node.add("a", "shop/web") == "172.18.41.42/32");
  REQUIRE(node.add("b", "shop/web").starts_with("11 "));
  REQUIRE(node.del("a").empty());
  REQUIRE(node.add_soon("b", "shop/web") == "172.18.41.42/32");
}

}  // namespace
}  // namespace tombolo
