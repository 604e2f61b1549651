// What policies do while they change, with real sockets: an established connection ends when its
// rule goes and only then, and traffic that is allowed before and after a change, by whatever rule,
// is never dropped in between, nor anything else let through.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <thread>

#include "bpf/test_peers.h"
#include "tests/netpol/fabric.h"

namespace tombolo::netpol {
namespace {

constexpr Port kPort = 80;
enum Slot : std::size_t { kClient, kServer, kStranger };
constexpr int kPatienceMs = 5'000;

// Nobody reaches the server but by the rules in `from`; the client has version 1 or another.
Step step_of(const std::string& from, const std::string& version = "1") {
  Step step;
  step.name = from;
  step.namespaces = {{"shop", {{"kubernetes.io/metadata.name", "shop"}}, {}}};
  constexpr std::array names{"client", "server", "stranger"};
  for (std::size_t slot = 0; slot < names.size(); ++slot) {
    Workload pod;
    pod.name_space = "shop";
    pod.name = names[slot];
    pod.ips = {Ip::v4(0x0a000001U + static_cast<std::uint32_t>(slot))};
    pod.labels = {{"app", names[slot]}, {"version", slot == kClient ? version : "1"}};
    pod.ports = {{"web", Protocol::kTcp, kPort}, {"web", Protocol::kUdp, kPort}};
    step.pods.push_back(std::move(pod));
  }
  constexpr auto kPolicy = R"(---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {{namespace: shop, name: {}}}
spec: {}
)";
  std::string yaml = fmt::format(kPolicy, "isolation", "{podSelector: {}, policyTypes: [Ingress]}");
  yaml += fmt::format(kPolicy, "server",
                      "{podSelector: {matchLabels: {app: server}}, ingress: [" + from + "]}");
  step.policies = policies_of(yaml, "shop.yaml");
  return step;
}

// Every one lets the client in and the stranger not.
const std::array kVariants{
    step_of("{from: [{podSelector: {matchLabels: {app: client}}}]}"),
    step_of("{from: [{ipBlock: {cidr: 10.0.0.1/32}}], ports: [{port: 80, protocol: UDP}]}"),
    step_of("{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.3/32]}}]}", "2"),
    step_of("{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}],"
            " ports: [{port: web, protocol: UDP}]}",
            "3"),
    step_of("{from: [{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: "
            "[stranger]}]}}]}, {ports: [{port: 81}]}"),
};

std::set<Ip> addresses() {
  std::set<Ip> all;
  for (const Workload& pod : kVariants[0].pods) all.insert(pod.ips.begin(), pod.ips.end());
  return all;
}

Descriptor make_socket(int type) {
  Descriptor fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  ENSURE(static_cast<bool>(fd), "{}", std::strerror(errno));
  return fd;
}

Descriptor bound(int type) {
  Descriptor fd = make_socket(type);
  int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  auto any = bpf::to_sockaddr({Ip::v4(0), kPort}, AF_INET);
  ENSURE(bind(fd.get(), any.get(), any.length) == 0, "{}", std::strerror(errno));
  ENSURE(type != SOCK_STREAM || listen(fd.get(), 8) == 0);
  return fd;
}

void connect_to(const Descriptor& fd, const Ip& ip) {
  auto address = bpf::to_sockaddr({ip, kPort}, AF_INET);
  ENSURE(connect(fd.get(), address.get(), address.length) == 0, "{}", std::strerror(errno));
}

bool readable(const Descriptor& fd, int limit_ms) {
  pollfd one{fd.get(), POLLIN, 0};
  return poll(&one, 1, limit_ms) == 1;
}

void send_byte(const Descriptor& fd, char byte) {
  ENSURE(send(fd.get(), &byte, 1, MSG_NOSIGNAL) == 1, "{}", std::strerror(errno));
}

char read_byte(const Descriptor& fd) {
  char byte = 0;
  ENSURE(recv(fd.get(), &byte, 1, 0) == 1, "{}", std::strerror(errno));
  return byte;
}

TEST_CASE("an established connection ends when its rule goes, and only then") {
  if (auto missing = Fabric::missing()) SKIP("missing: " << *missing);
  Fabric fabric(GENERATE(bpf::Hook::kAuto, bpf::Hook::kClsact), addresses());
  Step allowed = step_of("{from: [{podSelector: {matchLabels: {app: client}}}]}");
  REQUIRE(fabric.enter(allowed));
  Descriptor listener;
  Descriptor client;
  fabric.inside(kServer, [&] { listener = bound(SOCK_STREAM); });
  fabric.inside(kClient, [&] {
    client = make_socket(SOCK_STREAM);
    connect_to(client, fabric.address(kServer, Family::kV4));
  });
  REQUIRE(readable(listener, kPatienceMs));
  Descriptor server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  send_byte(client, 'a');
  REQUIRE(readable(server, kPatienceMs));
  REQUIRE(read_byte(server) == 'a');

  // Another rule for the same: nothing is sent twice.
  REQUIRE(fabric.enter(kVariants[4]));
  send_byte(client, 'b');
  REQUIRE(readable(server, kPatienceMs));
  REQUIRE(read_byte(server) == 'b');
  send_byte(server, 'B');
  REQUIRE(readable(client, kPatienceMs));
  REQUIRE(read_byte(client) == 'B');

  // No rule: neither way.
  REQUIRE(fabric.enter(step_of("{from: [{podSelector: {matchLabels: {app: stranger}}}]}")));
  send_byte(client, 'c');
  send_byte(server, 'C');
  REQUIRE(!readable(server, 300));
  REQUIRE(!readable(client, 0));

  // And back: what TCP sends again arrives.
  REQUIRE(fabric.enter(allowed));
  REQUIRE(readable(server, kPatienceMs));
  REQUIRE(read_byte(server) == 'c');
  REQUIRE(readable(client, kPatienceMs));
  REQUIRE(read_byte(client) == 'C');
}

// Asks the server over and over, by one old flow and always a new one; and the stranger too.
class Traffic {
 public:
  explicit Traffic(const Fabric& fabric) : fabric_(fabric) {
    fabric.inside(kServer, [&] { server_ = bound(SOCK_DGRAM); });
    fabric.inside(kClient, [&] {
      old_ = make_socket(SOCK_DGRAM);
      connect_to(old_, fabric.address(kServer, Family::kV4));
    });
    thread_ = std::thread([this] { run(); });
  }
  ~Traffic() { end(); }
  void end() {
    ending_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::atomic<int> rounds = 0;
  std::atomic<int> lost = 0;
  std::atomic<int> strangers = 0;

 private:
  void run() {
    while (!ending_) {
      ask(old_);
      Descriptor fresh;
      fabric_.inside(kClient, [&] {
        fresh = make_socket(SOCK_DGRAM);
        connect_to(fresh, fabric_.address(kServer, Family::kV4));
      });
      ask(fresh);
      fabric_.inside(kStranger, [&] {
        fresh = make_socket(SOCK_DGRAM);
        connect_to(fresh, fabric_.address(kServer, Family::kV4));
      });
      send_byte(fresh, 's');
      ++rounds;
    }
  }
  void ask(const Descriptor& fd) {
    send_byte(fd, 'c');
    while (readable(server_, 1'000)) {
      char byte = 0;
      bpf::SocketAddress from;
      ENSURE(recvfrom(server_.get(), &byte, 1, 0, from.get(), &from.length) == 1);
      if (byte == 's') {
        ++strangers;
        continue;
      }
      ENSURE(sendto(server_.get(), "C", 1, 0, from.get(), from.length) == 1);
      if (!readable(fd, 1'000)) break;
      read_byte(fd);
      return;
    }
    ++lost;
  }

  const Fabric& fabric_;
  Descriptor server_;
  Descriptor old_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

TEST_CASE("no gap and no leak while policies, labels and blocks change") {
  if (auto missing = Fabric::missing()) SKIP("missing: " << *missing);
  Fabric fabric(GENERATE(bpf::Hook::kAuto, bpf::Hook::kClsact), addresses());
  REQUIRE(fabric.enter(kVariants[0]));
  Traffic traffic(fabric);
  constexpr int kChanges = 100;
  for (int i = 1; i <= kChanges; ++i) {
    // From each variant to each other one.
    auto index = static_cast<std::size_t>(i * (1 + i / 5 % 4)) % kVariants.size();
    auto entered = fabric.enter(kVariants[index]);
    INFO((entered ? "" : entered.error().text()));
    REQUIRE(entered);
    int before = traffic.rounds;
    for (int waited = 0; traffic.rounds < before + 2 && waited < kPatienceMs; ++waited)
      poll(nullptr, 0, 1);
  }
  traffic.end();
  REQUIRE(traffic.rounds >= 2 * kChanges);
  REQUIRE(traffic.lost == 0);
  REQUIRE(traffic.strangers == 0);
}

}  // namespace
}  // namespace tombolo::netpol
