// The real prober between two network namespaces that the test makes itself, joined by a veth pair:
// needs root, else SKIP.
#include "app/probe/probe.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdlib>
#include <exception>
#include <thread>

#include "core/store/drive.h"
#include "core/task_group.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// Gone with its descriptor.
class OwnNetns {
 public:
  OwnNetns() {
    std::thread maker([this] {
      if (::unshare(CLONE_NEWNET) == 0)
        fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    });
    maker.join();
  }
  ~OwnNetns() {
    if (fd_ >= 0) ::close(fd_);
  }
  OwnNetns(const OwnNetns&) = delete;
  OwnNetns& operator=(const OwnNetns&) = delete;
  bool made() const { return fd_ >= 0; }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_); }
  // Runs `body` on a thread inside; what it throws is thrown again here.
  template <class Body>
  void inside(Body body) const {
    std::exception_ptr thrown;
    std::thread thread([&] {
      try {
        REQUIRE(::setns(fd_, CLONE_NEWNET) == 0);
        body();
      } catch (...) {
        thrown = std::current_exception();
      }
    });
    thread.join();
    if (thrown) std::rethrow_exception(thrown);
  }
  bool runs(const std::string& command) const {
    int status = std::system(
        fmt::format("nsenter --net={} sh -c '{}' >/dev/null 2>&1", path(), command).c_str());
    return status == 0;
  }

 private:
  int fd_ = -1;
};

struct Link {
  OwnNetns here;
  OwnNetns there;
  bool made() {
    if (!here.made() || !there.made()) return false;
    REQUIRE(here.runs(
        fmt::format("ip link add tboprobe0 type veth peer name tboprobe1 netns {}", there.path())));
    for (auto [netns, name, last] : {std::tuple{&here, "tboprobe0", 1}, {&there, "tboprobe1", 2}}) {
      REQUIRE(netns->runs("ip link set lo up"));
      REQUIRE(netns->runs(fmt::format("ip address add 10.77.0.{}/24 dev {}", last, name)));
      REQUIRE(netns->runs(fmt::format("ip address add fd77::{}/64 dev {} nodad", last, name)));
      REQUIRE(netns->runs(fmt::format("ip link set {} up", name)));
    }
    return true;
  }
  // As a node's daemon asks, from inside.
  Result<bool> ask(const std::string& address, Duration limit = 3s) {
    Result<bool> answer = false;
    here.inside([&] {
      Drive drive;
      auto rng = make_seeded_rng(7);
      ProberOptions options;
      options.tcp_after = 100ms;
      auto prober = make_prober(drive.executor(), *rng, options);
      auto task = prober->answers(*Ip::parse(address), limit);
      answer = drive.run(std::move(task));
      drive.settle();
    });
    return answer;
  }
};

struct Case {
  std::string name;
  std::string there;  // what is done in the other namespace first
  bool ping_sockets;
  std::string address;
  bool answers;
};

TEST_CASE("a machine answers by echo or by TCP, and is silent otherwise") {
  auto c = GENERATE(values<Case>({
      {"echo, raw socket", "true", false, "10.77.0.2", true},
      {"echo, ping socket", "true", true, "10.77.0.2", true},
      {"echo, raw socket, IPv6", "true", false, "fd77::2", true},
      {"echo, ping socket, IPv6", "true", true, "fd77::2", true},
      {"no echo: TCP is refused", "sysctl -w net.ipv4.icmp_echo_ignore_all=1", false, "10.77.0.2",
       true},
      {"no echo: TCP is refused, IPv6", "sysctl -w net.ipv6.icmp.echo_ignore_all=1", false,
       "fd77::2", true},
      {"no such machine", "true", false, "10.77.0.3", false},
      {"no way there", "true", false, "10.99.0.1", false},
      {"its link is down", "ip link set tboprobe1 down", false, "10.77.0.2", false},
      {"everything is dropped on its way back",
       "sysctl -w net.ipv4.icmp_echo_ignore_all=1; ip route add blackhole 10.77.0.1/32", false,
       "10.77.0.2", false},
  }));
  INFO(c.name);
  Link link;
  if (!link.made()) SKIP("needs the right to make network namespaces (root)");
  std::string range = c.ping_sockets ? "0 2147483647" : "1 0";
  REQUIRE(link.here.runs(fmt::format("sysctl -w net.ipv4.ping_group_range=\"{}\"", range)));
  REQUIRE(link.there.runs(c.there));
  auto answer = link.ask(c.address);
  REQUIRE(answer);
  REQUIRE(*answer == c.answers);
}

TEST_CASE("an answer that comes late counts, until the limit") {
  Link link;
  if (!link.made()) SKIP("needs the right to make network namespaces (root)");
  if (!link.there.runs("tc qdisc add dev tboprobe1 root netem delay 300ms"))
    SKIP("needs tc with netem");
  REQUIRE(link.ask("10.77.0.2", 5s).value());
  REQUIRE_FALSE(link.ask("10.77.0.2", 150ms).value());
}

TEST_CASE("a cancelled question is over at once") {
  Link link;
  if (!link.made()) SKIP("needs the right to make network namespaces (root)");
  link.here.inside([&] {
    Drive drive;
    auto rng = make_seeded_rng(7);
    auto prober = make_prober(drive.executor(), *rng);
    TaskGroup tasks(drive.executor());
    std::optional<Result<bool>> answer;
    auto ask = [](Prober& by, std::optional<Result<bool>>& to) -> asio::awaitable<void> {
      to = co_await by.answers(*Ip::parse("10.77.0.3"), 60s);
    };
    tasks.spawn("ask", ask(*prober, answer));
    drive.settle();
    tasks.cancel();
    REQUIRE(drive.until([&] { return tasks.size() == 0; }, 5s));
    REQUIRE(answer.has_value());
    REQUIRE(answer->error().code == Code::kCancelled);
  });
}

}  // namespace
}  // namespace tombolo
