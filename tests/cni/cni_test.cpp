// The real plugin binary against an agent's CNI service on the real kernel, in network namespaces
// that the test makes: needs root, else SKIP.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <future>
#include <set>

#include "app/netlink/netlink.h"
#include "core/json.h"
#include "ipamd/cni/interface.h"
#include "tests/cni/node.h"

namespace tombolo::test {
namespace {

std::string config(const Agent& agent, const std::string& version = "1.1.0",
                   const std::string& more = "") {
  return fmt::format(R"({{"cniVersion":"{}","name":"pods","type":"tombolo-cni","socket":"{}"{}}})",
                     version, agent.socket(), more);
}

PluginCall call(const std::string& command, const std::string& container, const std::string& netns,
                const std::string& input) {
  return {command,
          container,
          netns,
          "eth0",
          "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + container,
          input};
}

json::value parsed(const PluginRun& run) {
  INFO(run.output);
  return parse_json(run.output).value();
}

int code_of(const PluginRun& run) {
  if (run.exit_status == 0) return 0;
  return std::stoi(member(run, "code"));
}

std::vector<Ip> ips_of(const PluginRun& run) {
  std::vector<Ip> ips;
  json::value result = parsed(run);
  for (const auto& entry : result.at("ips").as_array())
    ips.push_back(InterfaceAddress::parse(entry.at("address").as_string()).value().ip);
  return ips;
}

sockaddr_storage socket_address(Ip ip, std::uint16_t port) {
  sockaddr_storage address{};
  std::string bytes = ip.bytes_be();
  if (ip.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    bytes.copy(reinterpret_cast<char*>(&v4->sin_addr), 4);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    bytes.copy(reinterpret_cast<char*>(&v6->sin6_addr), 16);
  }
  return address;
}

// A TCP connection from one namespace to an address in another; its first answer within 2 s. Also
// tells with which source address it arrived.
std::string connect_between(const Netns& from, const Netns& to, Ip ip) {
  int listener = -1;
  to.run([&] {
    listener = ::socket(ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto address = socket_address(ip, 7007);
    int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(listener, 4) == 0);
  });
  int client = -1;
  from.run([&] {
    client =
        ::socket(ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    auto address = socket_address(ip, 7007);
    ::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  });
  pollfd wait{listener, POLLIN, 0};
  std::string peer = "nobody came";
  if (::poll(&wait, 1, 2000) == 1) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    int accepted = ::accept4(listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC);
    std::array<char, 64> text{};
    const void* bytes =
        ip.is_v4() ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(&address)->sin_addr)
                   : &reinterpret_cast<sockaddr_in6*>(&address)->sin6_addr;
    peer = ::inet_ntop(ip.is_v4() ? AF_INET : AF_INET6, bytes, text.data(), text.size());
    ::close(accepted);
  }
  ::close(client);
  ::close(listener);
  return peer;
}

void remove_address(const Netns& pod, const std::string& address) {
  // No library of the project removes addresses from pods: the test does what a user would.
  pod.run([&] {
    auto net = make_netlink_net();
    std::string command =
        fmt::format("nsenter --net=/proc/{}/task/{}/ns/net ip address del {} dev eth0", ::getpid(),
                    ::gettid(), address);
    REQUIRE(std::system(command.c_str()) == 0);
  });
}

#define NEEDS_ROOT(...)                                                     \
  for (const Netns* one : std::initializer_list<const Netns*>{__VA_ARGS__}) \
    if (!one->made()) SKIP("needs the right to make network namespaces (root)")

// DEL is answered while the erasure is on its way to the disk.
bool frees_all(Agent& agent) {
  for (int i = 0; i < 5000 && agent.leases() > 0; ++i) ::poll(nullptr, 0, 1);
  return agent.leases() == 0;
}

TEST_CASE("two pods are attached, reach each other, are checked and removed") {
  Netns node;
  Netns pod_a;
  Netns pod_b;
  NEEDS_ROOT(&node, &pod_a, &pod_b);
  TemporaryFolder folder;
  Agent agent(node, folder);
  REQUIRE(agent.started());
  auto status = run_plugin(plugin_path(), call("STATUS", "", "", config(agent)));
  REQUIRE(status.output.empty());
  REQUIRE(status.exit_status == 0);

  auto a = run_plugin(plugin_path(), call("ADD", "a", pod_a.path(), config(agent)));
  INFO(a.output);
  REQUIRE(a.exit_status == 0);
  REQUIRE(member(a, "cniVersion") == "1.1.0");
  REQUIRE(member(a, "interfaces") ==
          fmt::format(R"([{{"name":"{}","mac":"{}","mtu":1450}},)"
                      R"({{"name":"eth0","mac":"{}","sandbox":"{}","mtu":1450}}])",
                      cni::host_interface_name("tbo", "a/eth0"), cni::host_mac("a/eth0"),
                      cni::pod_mac("a/eth0"), pod_a.path()));
  REQUIRE(member(a, "ips") == R"([{"interface":1,"address":"10.7.0.1/32","gateway":"169.254.1.1"},)"
                              R"({"interface":1,"address":"fd07::1/128","gateway":"fe80::1"}])");
  REQUIRE(member(a, "routes") ==
          R"([{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fe80::1"}])");
  REQUIRE(member(a, "dns") ==
          R"({"nameservers":["169.254.20.10"],"search":["shop.svc.cluster.local",)"
          R"("svc.cluster.local","cluster.local","shop.svc.clusterset.local",)"
          R"("svc.clusterset.local"],"options":["ndots:5"]})");

  auto b = run_plugin(plugin_path(), call("ADD", "b", pod_b.path(), config(agent, "0.4.0")));
  REQUIRE(b.exit_status == 0);
  REQUIRE(parsed(b).at("ips").at(0).at("version") == "4");
  auto ips_a = ips_of(a);
  auto ips_b = ips_of(b);
  for (std::size_t i : {0U, 1U}) {
    REQUIRE(connect_between(pod_a, pod_b, ips_b.at(i)) == ips_a.at(i).str());
    REQUIRE(connect_between(pod_b, pod_a, ips_a.at(i)) == ips_b.at(i).str());
  }
  REQUIRE(connect_between(node, pod_a, ips_a.at(1)) != "nobody came");

  auto rows = agent.attachments();
  REQUIRE(rows.size() == 2);
  REQUIRE(rows.at("a/eth0").pod_name == "a");
  REQUIRE(rows.at("a/eth0").name_space == "shop");
  REQUIRE(rows.at("a/eth0").ips == ips_a);

  // The same ADD again: an error, and the pod keeps what it has.
  auto again = run_plugin(plugin_path(), call("ADD", "a", pod_a.path(), config(agent)));
  REQUIRE(code_of(again) == cni::kAlreadyAttached);
  // Another container asks for an interface name that is there.
  auto taken = run_plugin(plugin_path(), call("ADD", "x", pod_a.path(), config(agent)));
  REQUIRE(code_of(taken) == cni::kKernelRefused);
  REQUIRE(member(taken, "msg").find("eth0 exists already") != std::string::npos);
  REQUIRE(agent.leases() == 2);

  auto with_result = config(agent, "1.1.0", ",\"prevResult\":" + a.output);
  REQUIRE(run_plugin(plugin_path(), call("CHECK", "a", pod_a.path(), with_result)).output.empty());
  auto other = config(agent, "1.1.0", ",\"prevResult\":" + b.output);
  auto foreign = run_plugin(plugin_path(), call("CHECK", "a", pod_a.path(), other));
  REQUIRE(code_of(foreign) == cni::kCheckFailed);
  REQUIRE(member(foreign, "msg") == "10.7.0.2 of prevResult is not reserved for a/eth0");
  REQUIRE(code_of(run_plugin(plugin_path(), call("CHECK", "zz", pod_a.path(), with_result))) ==
          cni::kUnknownContainer);
  remove_address(pod_a, "fd07::1/128");
  auto checked = run_plugin(plugin_path(), call("CHECK", "a", pod_a.path(), with_result));
  REQUIRE(code_of(checked) == cni::kCheckFailed);
  REQUIRE(member(checked, "msg") == "the address fd07::1/128 is not on eth0");

  for (int i = 0; i < 3; ++i) {
    auto removed = run_plugin(plugin_path(), call("DEL", "a", pod_a.path(), with_result));
    INFO(removed.output);
    REQUIRE(removed.exit_status == 0);
    REQUIRE(removed.output.empty());
  }
  REQUIRE(run_plugin(plugin_path(), call("DEL", "b", "", config(agent))).exit_status == 0);
  REQUIRE(run_plugin(plugin_path(), call("DEL", "never", "/gone", config(agent))).exit_status == 0);
  REQUIRE(agent.attachments().empty());
  REQUIRE(frees_all(agent));
  pod_b.run([] { REQUIRE(!make_netlink_net()->read_interface("", "eth0")); });
}

TEST_CASE("DEL after the namespace is gone frees the addresses") {
  Netns node;
  NEEDS_ROOT(&node);
  TemporaryFolder folder;
  Agent agent(node, folder);
  REQUIRE(agent.started());
  std::string path;
  {
    Netns pod;
    path = pod.path();
    REQUIRE(run_plugin(plugin_path(), call("ADD", "a", path, config(agent))).exit_status == 0);
  }
  REQUIRE(run_plugin(plugin_path(), call("DEL", "a", path, config(agent))).exit_status == 0);
  REQUIRE(frees_all(agent));
  auto lost = run_plugin(plugin_path(), call("ADD", "a", path, config(agent)));
  REQUIRE(code_of(lost) == cni::kInvalidNetns);
  REQUIRE(agent.leases() == 0);
}

TEST_CASE("64 ADDs at once: no address twice; a restart keeps all; GC removes exactly the rest") {
  Netns node;
  NEEDS_ROOT(&node);
  TemporaryFolder folder;
  std::vector<std::unique_ptr<Netns>> pods;
  for (int i = 0; i < 64; ++i) pods.push_back(std::make_unique<Netns>());
  std::map<std::string, Attachment> before;
  {
    Agent agent(node, folder);
    REQUIRE(agent.started());
    std::vector<std::future<PluginRun>> runs;
    for (std::size_t i = 0; i < pods.size(); ++i)
      runs.push_back(std::async(std::launch::async, [&, i] {
        return run_plugin(plugin_path(),
                          call("ADD", fmt::format("c{}", i), pods[i]->path(), config(agent)));
      }));
    std::set<Ip> seen;
    for (auto& run : runs) {
      PluginRun done = run.get();
      INFO(done.output);
      REQUIRE(done.exit_status == 0);
      for (Ip ip : ips_of(done)) REQUIRE(seen.insert(ip).second);
    }
    REQUIRE(seen.size() == 128);
    before = agent.attachments();
    REQUIRE(before.size() == 64);
  }
  // The next agent knows the blocks from its own file: the cluster's store is away.
  Agent agent(node, folder, {.blocks = {"10.7.0.0/24", "fd07::/64"}});
  REQUIRE(agent.started());
  REQUIRE(agent.attachments() == before);
  Netns late;
  auto one_more = run_plugin(plugin_path(), call("ADD", "late", late.path(), config(agent)));
  REQUIRE(one_more.exit_status == 0);
  for (Ip ip : ips_of(one_more))
    for (const auto& [key, row] : before) REQUIRE(std::ranges::find(row.ips, ip) == row.ips.end());

  std::string keep =
      R"(,"cni.dev/valid-attachments":[{"containerID":"c5","ifname":"eth0"},)"
      R"({"containerID":"late","ifname":"eth0"},{"containerID":"c6","ifname":"eth1"}])";
  auto other_network = config(agent, "1.1.0", keep);
  other_network.replace(other_network.find("\"pods\""), 6, "\"other\"");
  REQUIRE(run_plugin(plugin_path(), call("GC", "", "", other_network)).exit_status == 0);
  REQUIRE(agent.leases() == 65);
  auto collected = run_plugin(plugin_path(), call("GC", "", "", config(agent, "1.1.0", keep)));
  REQUIRE(collected.output.empty());
  REQUIRE(collected.exit_status == 0);
  auto left = agent.attachments();
  REQUIRE(left.size() == 2);
  REQUIRE(left.contains("c5/eth0"));
  REQUIRE(left.contains("late/eth0"));
  node.run([] { REQUIRE(make_netlink_net()->list_links("tbo")->size() == 2); });
}

TEST_CASE("a node whose addresses are used up says so") {
  Netns node;
  Netns first;
  Netns second;
  NEEDS_ROOT(&node, &first, &second);
  TemporaryFolder folder;
  Agent agent(node, folder, {.blocks = {"10.7.0.0/24", "fd07::8/128"}});
  REQUIRE(agent.started());
  REQUIRE(run_plugin(plugin_path(), call("ADD", "a", first.path(), config(agent))).exit_status ==
          0);
  auto full = run_plugin(plugin_path(), call("ADD", "b", second.path(), config(agent)));
  REQUIRE(code_of(full) == cni::kTryLater);
  REQUIRE(member(full, "msg") ==
          "resource exhausted: pool node: no free IPv6 address: 1 of 1 are in use");
  auto status = run_plugin(plugin_path(), call("STATUS", "", "", config(agent)));
  REQUIRE(code_of(status) == cni::kNotAvailable);
  REQUIRE(member(status, "msg") == "no free IPv6 address: 1 of 1 are in use");
  REQUIRE(run_plugin(plugin_path(), call("DEL", "a", "", config(agent))).exit_status == 0);
  REQUIRE(run_plugin(plugin_path(), call("ADD", "b", second.path(), config(agent))).exit_status ==
          0);
}

TEST_CASE("without an agent the plugin says so within a second") {
  TemporaryFolder folder;
  std::string input =
      fmt::format(R"({{"cniVersion":"1.1.0","name":"pods","type":"tombolo-cni","socket":"{}"}})",
                  folder.file("none.sock"));
  auto add = run_plugin(plugin_path(), call("ADD", "a", "/run/netns/x", input));
  REQUIRE(code_of(add) == cni::kTryLater);
  REQUIRE(add.milliseconds < 1000);
  auto status = run_plugin(plugin_path(), call("STATUS", "", "", input));
  REQUIRE(code_of(status) == cni::kNotAvailable);
  REQUIRE(member(status, "msg").starts_with("no agent answers at /tmp/"));
}

}  // namespace
}  // namespace tombolo::test
