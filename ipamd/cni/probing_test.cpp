// What the network says before addresses of another plugin's interface are answered.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/cni/test_life.h"
#include "ipamd/cni/test_pools.h"

namespace tombolo {
namespace {

using cni::Mode;

constexpr const char* kNetns = "/run/netns/a";

// A network where some addresses are somebody's and some gateways are there.
class FakeProber final : public AddressProber {
 public:
  std::map<Ip, std::string> owners;
  bool everything_is_taken = false;
  std::set<Ip> gateways;
  std::optional<Error> error;
  std::vector<ProbeQuestion> asked;
  asio::awaitable<Result<ProbeAnswer>> probe(ProbeQuestion question) override {
    asked.push_back(question);
    if (error) co_return std::unexpected(*error);
    ProbeAnswer answer;
    for (const Ip& ip : question.unused) {
      if (everything_is_taken) answer.conflicts[ip] = "02:00:00:00:00:99";
      if (auto at = owners.find(ip); at != owners.end()) answer.conflicts.insert(*at);
    }
    for (const Ip& ip : question.gateways)
      if (gateways.contains(ip)) answer.gateways[ip] = "02:00:00:00:00:01";
    co_return answer;
  }
};

struct World {
  World() { net.namespaces = {kNetns}; }
  Folder folder;
  FakeNet net;
  RecordingHooks hooks;
  Store store{folder.file("leases.db")};
  FakeProber prober;
};

Call add_call(const std::string& container) {
  Call call;
  call.command = Command::kAdd;
  call.mode = Mode::kAddresses;
  call.cni_version = "1.1.0";
  call.network = "pods";
  call.container_id = container;
  call.interface_name = "eth0";
  call.netns_path = kNetns;
  call.device = "eth1";
  call.conflict_probe = true;
  return call;
}

std::string address_of(const Answer<json::object>& answer) {
  REQUIRE(answer);
  return std::string(answer->at("ips").at(0).at("address").as_string());
}

TEST_CASE("an address that somebody has is set aside, over a restart, and another one is given") {
  World world;
  world.prober.owners = {{Ip::parse("10.7.0.2").value(), "02:00:00:00:00:99"},
                         {Ip::parse("10.7.0.3").value(), "02:00:00:00:00:98"}};
  std::vector<std::string> blocks{"10.7.0.0/29"};
  {
    Life life(world.folder, world.net, world.hooks, world.store, blocks, true, nullptr,
              &world.prober);
    // The first address is the block's gateway.
    REQUIRE(address_of(life.call(add_call("a"))) == "10.7.0.4/29");
    REQUIRE(world.prober.asked.size() == 3);
    REQUIRE(world.prober.asked.back().device == "eth1");
    REQUIRE(life.in_use() == 4);
    REQUIRE(life.service().book().find("conflict-n1/10.7.0.2")->attachment.mac ==
            "02:00:00:00:00:99");
    REQUIRE(life.attachments().rows().size() == 1);
    // On the disk before the next life.
    REQUIRE(address_of(life.call(add_call("b"))) == "10.7.0.5/29");
  }
  Life life(world.folder, world.net, world.hooks, world.store, blocks, true, nullptr,
            &world.prober);
  REQUIRE(life.in_use() == 5);
  REQUIRE(life.attachments().rows().size() == 2);
  REQUIRE(address_of(life.call(add_call("c"))) == "10.7.0.6/29");
  REQUIRE(world.prober.asked.size() == 5);
  // Recovery is not for them, though they have no namespace.
  world.net.remove_namespace(kNetns);
  REQUIRE(life.reaches([&] { return life.in_use() == 3; }));
  REQUIRE(life.service().book().find("conflict-n1/10.7.0.3"));
}

TEST_CASE("a network where everything answers: the ADD fails, and the pool is not used up") {
  World world;
  world.prober.everything_is_taken = true;
  Life life(world.folder, world.net, world.hooks, world.store, {"10.7.0.0/22"}, true, nullptr,
            &world.prober);
  auto answer = life.call(add_call("a"));
  REQUIRE(answer.error().code == cni::kTryLater);
  REQUIRE(answer.error().message ==
          "4 times somebody else on eth1 had the address, last 10.7.0.5 (02:00:00:00:00:99)");
  for (int i = 0; i < 100; ++i) REQUIRE(!life.call(add_call(std::to_string(i))));
  REQUIRE(life.in_use() == 1 + 256);
}

struct ProbedNode {
  PoolCluster cluster;
  NodeWorld world{"n1"};
  FakeProber prober;  // outlives the node
  NodeLife node{cluster, world};

  explicit ProbedNode(const StringMap& annotations) {
    node.service().probe_with(prober);
    for (const char* pod : {"a", "b"}) cluster.tell("shop", pod, annotations);
  }
  std::string add(const std::string& pod) { return NodeLife::text_of(handle(Command::kAdd, pod)); }
  Answer<json::object> handle(Command command, const std::string& pod) {
    Call call = node.call_of(command, pod, "shop/" + pod);
    call.mode = Mode::kAddresses;
    call.device = "eth1";
    return node.handle(std::move(call));
  }
};

TEST_CASE("an address of a pool that somebody has is set aside, and its claim is not the pod's") {
  StringMap annotations{{"ipam.tombolo.io/ippool", R"({"ipv4": ["storage"]})"}};
  ProbedNode probed(annotations);
  std::string first = probed.add("a");
  REQUIRE(first.starts_with("172.18.42.1"));
  Ip other = Ip::parse(first == "172.18.42.10/24" ? "172.18.42.11" : "172.18.42.10").value();
  REQUIRE(probed.prober.asked.size() == 1);
  REQUIRE(probed.handle(Command::kDel, "a"));
  REQUIRE(probed.cluster.claims_become({}));
  probed.prober.owners = {{other, "02:00:00:00:00:99"}};
  // Whichever comes first: the pod has the one that nobody else has.
  REQUIRE(probed.add("a") == first);
  // The pool has two: the other one rests.
  std::string second = probed.add("b");
  REQUIRE(second.starts_with("11 "));
  REQUIRE_FALSE(probed.cluster.claims().contains("storage/" + other.str() + " kept"));
}

TEST_CASE("a fixed address that somebody else has is nobody's for now") {
  ProbedNode probed(
      {{"ipam.tombolo.io/ippool", R"({"ipv4": ["storage"]})"}, {"ipam.tombolo.io/fixed", "true"}});
  probed.prober.everything_is_taken = true;
  std::string answer = probed.add("a");
  REQUIRE(answer.starts_with("11 somebody else on eth1 has the address of the pool: 172.18.42."));
  REQUIRE(probed.prober.asked.size() == 1);
  probed.prober.everything_is_taken = false;
  REQUIRE(probed.node.add_soon("a", "shop/a").starts_with("172.18.42."));
}

TEST_CASE("where the addresses of pools are asked for") {
  struct Case {
    const char* name;
    Mode mode;
    const char* device;
    bool bridge;
    std::vector<std::string> asked;  // DEVICE, VLAN, addresses and gateways in numbers
  };
  auto test = GENERATE(values<Case>({
      {"another plugin's device", Mode::kAddresses, "eth1", false, {"eth1 0 1+1", "eth1 41 1+1"}},
      {"another plugin's bridge", Mode::kAddresses, "br0", true, {"br0 0 1+1"}},
      {"another plugin's secret", Mode::kAddresses, "", false, {}},
      {"our own interface", Mode::kInterface, "", false, {" 0 2+0"}},
  }));
  INFO(test.name);
  StringMap annotations{{"ipam.tombolo.io/ippool", R"({"ipv4": ["racks"], "ipv6": ["racks-6"]})"}};
  ProbedNode probed(annotations);
  probed.prober.gateways = {Ip::parse("172.18.41.1").value(), Ip::parse("fd00:41::1").value()};
  Call call = probed.node.call_of(Command::kAdd, "a", "shop/a");
  call.mode = test.mode;
  call.device = test.device;
  call.device_is_bridge = test.bridge;
  auto answer = probed.node.handle(std::move(call));
  REQUIRE(answer);
  std::vector<std::string> asked;
  for (const ProbeQuestion& one : probed.prober.asked)
    asked.push_back(
        fmt::format("{} {} {}+{}", one.device, one.vlan, one.unused.size(), one.gateways.size()));
  REQUIRE(asked == test.asked);
}

TEST_CASE("what is asked, and what the answer means") {
  struct Case {
    const char* name;
    std::function<void(Call&, FakeProber&)> set_up;
    std::size_t asked;
    std::string refused;  // empty: given
  };
  Ip there = Ip::parse("10.1.0.1").value();
  Ip silent = Ip::parse("10.1.0.9").value();
  Prefix all = Prefix::parse("0.0.0.0/0").value();
  auto test = GENERATE_REF(values<Case>({
      {"fine", [](Call&, FakeProber&) {}, 1, ""},
      {"not asked for", [](Call& call, FakeProber&) { call.conflict_probe = false; }, 0, ""},
      {"no device", [](Call& call, FakeProber&) { call.device = ""; }, 0, ""},
      {"gateway there",
       [=](Call& call, FakeProber& prober) {
         call.routes = {{all, there}};
         call.gateway_probe = true;
         prober.gateways = {there};
       },
       1, ""},
      {"gateway silent",
       [=](Call& call, FakeProber& prober) {
         call.routes = {{all, there}, {all, silent}};
         call.gateway_probe = true;
         prober.gateways = {there};
       },
       1, "the gateway 10.1.0.9 does not answer on eth1"},
      {"gateway silent, not asked for",
       [=](Call& call, FakeProber&) { call.routes = {{all, silent}}; }, 1, ""},
      {"cannot be asked",
       [](Call&, FakeProber& prober) {
         prober.error = Error{Code::kNotFound, "there is no interface eth1"};
       },
       1, ""},
  }));
  INFO(test.name);
  World world;
  Life life(world.folder, world.net, world.hooks, world.store, {"10.7.0.0/29"}, true, nullptr,
            &world.prober);
  Call call = add_call("a");
  test.set_up(call, world.prober);
  auto answer = life.call(std::move(call));
  REQUIRE(world.prober.asked.size() == test.asked);
  REQUIRE(answer.has_value() == test.refused.empty());
  if (answer) return;
  REQUIRE(answer.error().code == cni::kTryLater);
  REQUIRE(answer.error().message == test.refused);
  REQUIRE(life.in_use() == 1);  // the gateway of the block
}

TEST_CASE("the configuration says what is asked, and the plugin's own where") {
  struct Case {
    const char* name;
    const char* config;
    const char* device;
    bool conflicts;
    bool gateways;
  };
  auto test = GENERATE(values<Case>({
      {"nothing",
       R"({"cniVersion":"1.1.0","name":"n","type":"macvlan","master":"eth1",)"
       R"("ipam":{"type":"tombolo-cni"}})",
       "eth1", false, false},
      {"macvlan",
       R"({"cniVersion":"1.1.0","name":"n","type":"macvlan","master":"eth1",)"
       R"("ipam":{"type":"tombolo-cni","conflictProbe":true,"gatewayProbe":true}})",
       "eth1", true, true},
      {"bridge",
       R"({"cniVersion":"1.1.0","name":"n","type":"bridge","bridge":"br7",)"
       R"("ipam":{"type":"tombolo-cni","conflictProbe":true}})",
       "br7", true, false},
  }));
  INFO(test.name);
  auto call = cni::decode_call({"ADD", "c1", kNetns, "eth0", ""}, test.config);
  REQUIRE(call);
  REQUIRE(call->device == test.device);
  REQUIRE(call->conflict_probe == test.conflicts);
  REQUIRE(call->gateway_probe == test.gateways);
  auto refused = cni::decode_call({"ADD", "c1", kNetns, "eth0", ""},
                                  R"({"cniVersion":"1.1.0","name":"n","type":"macvlan",)"
                                  R"("ipam":{"type":"tombolo-cni","conflictProbe":"yes"}})");
  REQUIRE(refused.error().code == cni::kInvalidConfig);
}

}  // namespace
}  // namespace tombolo
