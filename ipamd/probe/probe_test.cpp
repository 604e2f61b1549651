// Probes against the real kernel: a node and a neighbour that has addresses, each a network
// namespace that the test makes, joined by a veth pair or by a bridge. Needs root and iproute2.
#include "ipamd/probe/probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdlib>
#include <exception>
#include <optional>
#include <thread>

#include "core/clock.h"
#include "core/task_group.h"
#include "ipamd/neighbor/neighbor.h"

namespace tombolo {
namespace {

// A network namespace, kept by a descriptor of this process; gone with it.
class Netns {
 public:
  Netns() {
    std::thread maker([this] {
      if (::unshare(CLONE_NEWNET) == 0)
        fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    });
    maker.join();
  }
  ~Netns() {
    if (fd_ >= 0) ::close(fd_);
  }
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;
  bool made() const { return fd_ >= 0; }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_); }
  // On a thread inside of it. What `body` throws is thrown again here.
  template <class Body>
  void run(Body body) const {
    std::exception_ptr thrown;
    std::thread inside([&] {
      try {
        REQUIRE(::setns(fd_, CLONE_NEWNET) == 0);
        body();
      } catch (...) {
        thrown = std::current_exception();
      }
    });
    inside.join();
    if (thrown) std::rethrow_exception(thrown);
  }
  void ip(const std::string& arguments) const {
    run([&] { REQUIRE(std::system(("ip " + arguments).c_str()) == 0); });
  }

 private:
  int fd_ = -1;
};

bool can_run(const Netns& one, const Netns& other) {
  return one.made() && other.made() && std::system("ip -V >/dev/null 2>&1") == 0;
}

// The neighbour has 10.99.0.5 and fd99::5 at 02:00:00:00:99:05. With a bridge the node's device is
// the bridge, else its end of the pair.
void join(const Netns& node, const Netns& neighbour, bool bridge) {
  node.ip("link add up0 type veth peer name eth0 address 02:00:00:00:99:05 netns " +
          neighbour.path());
  node.ip("link set up0 up");
  if (bridge) {
    node.ip("link add br0 type bridge");
    node.ip("link set up0 master br0");
    node.ip("link set br0 up");
  }
  neighbour.ip("link set eth0 up");
  neighbour.ip("addr add 10.99.0.5/24 dev eth0");
  neighbour.ip("-6 addr add fd99::5/64 dev eth0 nodad");
}

std::vector<Ip> ips(const std::vector<std::string>& texts) {
  std::vector<Ip> result;
  for (const std::string& text : texts) result.push_back(Ip::parse(text).value());
  return result;
}

constexpr std::chrono::milliseconds kWindow{100};

Result<ProbeAnswer> ask(const Netns& node, const ProbeQuestion& question, int rounds = 3) {
  std::optional<Result<ProbeAnswer>> answer;
  node.run([&] {
    asio::io_context context;
    auto prober = make_packet_prober(context.get_executor(), {kWindow, rounds});
    auto body = [](AddressProber& with, ProbeQuestion what,
                   std::optional<Result<ProbeAnswer>>& out) -> asio::awaitable<void> {
      out.emplace(co_await with.probe(std::move(what)));
    };
    asio::co_spawn(context, body(*prober, question, answer), asio::detached);
    context.run();
  });
  return std::move(*answer);
}

TEST_CASE(
    "an address that a neighbour has is a conflict, with its MAC address; a free one is not") {
  bool bridge = GENERATE(false, true);
  INFO("bridge: " << bridge);
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, bridge);
  std::string device = bridge ? "br0" : "up0";
  for (const char* taken : {"10.99.0.5", "fd99::5"}) {
    INFO(taken);
    auto answer = ask(node, {device, ips({taken, "10.99.0.6", "fd99::6"}), {}}, 50);
    REQUIRE(answer);
    REQUIRE(answer->conflicts ==
            std::map<Ip, std::string>{{Ip::parse(taken).value(), "02:00:00:00:99:05"}});
  }
  auto free = ask(node, {device, ips({"10.99.0.6", "10.99.0.7", "fd99::6"}), {}});
  REQUIRE(free);
  REQUIRE(free->conflicts.empty());
}

TEST_CASE("a gateway answers, or is silent") {
  bool bridge = GENERATE(false, true);
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, bridge);
  std::string device = bridge ? "br0" : "up0";
  auto there = ask(node, {device, {}, ips({"10.99.0.5", "fd99::5"})}, 50);
  REQUIRE(there);
  REQUIRE(there->gateways.size() == 2);
  REQUIRE(there->gateways.begin()->second == "02:00:00:00:99:05");
  auto both = ask(node, {device, ips({"10.99.0.9"}), ips({"10.99.0.1", "fd99::5", "fd99::1"})});
  REQUIRE(both);
  REQUIRE(both->conflicts.empty());
  REQUIRE(both->gateways.size() == 1);
  REQUIRE(both->gateways.begin()->first.str() == "fd99::5");
}

TEST_CASE("somebody who probes for the same address is a conflict") {
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, false);
  std::optional<Result<ProbeAnswer>> other;
  std::thread rival(
      [&] { other.emplace(ask(neighbour, {"eth0", ips({"10.99.0.8", "fd99::8"}), {}}, 50)); });
  auto answer = ask(node, {"up0", ips({"10.99.0.8", "fd99::8"}), {}}, 50);
  rival.join();
  REQUIRE(answer);
  REQUIRE(!answer->conflicts.empty());
  REQUIRE(answer->conflicts.begin()->second == "02:00:00:00:99:05");
}

// Answers ARP for one address in one VLAN, as long as it lives.
class InVlan {
 public:
  InVlan(const Netns& netns, std::uint16_t vlan, Ip ip)
      : thread_([this, &netns, vlan, ip] { netns.run([&] { answer(vlan, ip); }); }) {
    while (!ready_) std::this_thread::yield();
  }
  ~InVlan() {
    over_ = true;
    thread_.join();
  }
  InVlan(const InVlan&) = delete;
  InVlan& operator=(const InVlan&) = delete;

 private:
  void answer(std::uint16_t vlan, Ip ip) {
    auto device = neighbor::find_device("eth0");
    REQUIRE(device);
    auto socket = neighbor::PacketSocket::open(*device, Family::kV4, vlan);
    ready_ = true;
    REQUIRE(socket);
    while (!over_) {
      pollfd one{socket->fd(), POLLIN, 0};
      ::poll(&one, 1, 20);
      std::array<std::uint8_t, 1500> room;
      auto received = socket->receive(room);
      REQUIRE(received);
      auto arp = neighbor::parse_arp(neighbor::Bytes(room).first(received->size));
      if (!arp || arp->target_ip != ip) continue;
      neighbor::Arp reply{true, device->mac, ip, arp->sender_mac, arp->sender_ip};
      REQUIRE(socket->send(neighbor::encode(reply), arp->sender_mac));
    }
  }

  std::atomic<bool> ready_ = false;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

TEST_CASE("an address in a VLAN is asked for there") {
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, false);
  Ip taken = Ip::parse("10.99.0.77").value();
  InVlan other(neighbour, 41, taken);
  auto conflict = ask(node, {"up0", {taken}, {}, 41}, 50);
  REQUIRE(conflict);
  REQUIRE(conflict->conflicts == std::map<Ip, std::string>{{taken, "02:00:00:00:99:05"}});
  auto gateway = ask(node, {"up0", {}, {taken}, 41}, 50);
  REQUIRE(gateway);
  REQUIRE(gateway->gateways.size() == 1);
  for (std::uint16_t elsewhere : std::initializer_list<std::uint16_t>{0, 42}) {
    INFO(elsewhere);
    auto free = ask(node, {"up0", {taken}, {}, elsewhere});
    REQUIRE(free);
    REQUIRE(free->conflicts.empty());
  }
  // Without a tag it is asked for as well.
  auto untagged = ask(node, {"up0", ips({"10.99.0.5", "fd99::5"}), {}, 42}, 50);
  REQUIRE(untagged);
  REQUIRE(!untagged->conflicts.empty());
}

TEST_CASE("without a device the one that is on the addresses' network is asked") {
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, false);
  node.ip("addr add 10.99.0.1/24 dev up0");
  node.ip("link add wide0 type veth peer name wide1");
  node.ip("link set wide0 up");
  node.ip("addr add 10.0.0.1/8 dev wide0");
  auto answer = ask(node, {"", ips({"10.99.0.5"}), {}}, 50);
  REQUIRE(answer);
  REQUIRE(answer->conflicts.size() == 1);
  auto none = ask(node, {"", ips({"10.99.0.6", "fd99::6"}), {}});
  REQUIRE(!none);
  REQUIRE(none.error().code == Code::kNotFound);
}

TEST_CASE("what cannot be asked is an error") {
  struct Case {
    const char* name;
    const char* device;
    Code code;
  };
  auto test = GENERATE(values<Case>({
      {"absent", "nothing0", Code::kNotFound},
      {"too long", "a-name-of-more-bytes", Code::kNotFound},
      {"none", "", Code::kNotFound},
      {"down", "lo", Code::kFailedPrecondition},
      {"no Ethernet", "lo", Code::kFailedPrecondition},
  }));
  INFO(test.name);
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  if (std::string(test.name) == "no Ethernet") node.ip("link set lo up");
  auto answer = ask(node, {test.device, ips({"10.99.0.6"}), {}});
  REQUIRE(!answer);
  REQUIRE(answer.error().code == test.code);
}

TEST_CASE("too many addresses are refused; no question is answered at once") {
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, false);
  ProbeQuestion question{"up0", {}, {}};
  REQUIRE(ask(node, question));
  for (unsigned i = 0; i <= kMostProbed; ++i) question.unused.push_back(Ip::v4(0x0a63'0100U + i));
  REQUIRE(ask(node, question).error().code == Code::kInvalidArgument);
}

TEST_CASE("a probe that is cancelled ends at once") {
  Netns node;
  Netns neighbour;
  if (!can_run(node, neighbour)) SKIP("needs root and iproute2");
  join(node, neighbour, false);
  node.run([&] {
    asio::io_context context;
    TaskGroup tasks(context.get_executor());
    auto prober = make_packet_prober(context.get_executor(), {std::chrono::minutes(5), 1});
    std::optional<Result<ProbeAnswer>> answer;
    auto body = [](AddressProber& with,
                   std::optional<Result<ProbeAnswer>>& out) -> asio::awaitable<void> {
      ProbeQuestion question{"up0", {Ip::v4(0x0a63'0006U)}, {}};
      out.emplace(co_await with.probe(std::move(question)));
    };
    tasks.spawn("probe", body(*prober, answer));
    while (context.poll_one() > 0) {
    }
    tasks.cancel();
    while (tasks.size() > 0) context.run_one();
    REQUIRE(answer.has_value());
    REQUIRE(answer->error().code == Code::kCancelled);
  });
}

}  // namespace
}  // namespace tombolo
