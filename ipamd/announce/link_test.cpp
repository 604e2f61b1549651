// The real link against the real kernel: a router's namespace with a bridge, and two nodes on it.
// Needs root and iproute2, else SKIP.
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <optional>
#include <thread>

#include "ipamd/announce/announce.h"

namespace tombolo::announce {
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
  int fd() const { return fd_; }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_); }
  // The output of a command inside; nothing when it fails.
  std::optional<std::string> says(const std::string& command) const {
    std::string line = fmt::format("nsenter --net={} {} 2>/dev/null", path(), command);
    std::FILE* pipe = ::popen(line.c_str(), "re");
    if (pipe == nullptr) return std::nullopt;
    std::string text;
    std::array<char, 512> room;
    while (std::fgets(room.data(), room.size(), pipe) != nullptr) text += room.data();
    if (::pclose(pipe) != 0) return std::nullopt;
    return text;
  }
  bool runs(const std::string& command) const { return says(command).has_value(); }

 private:
  int fd_ = -1;
};

LinkSettings quick() {
  LinkSettings settings;
  settings.interfaces = {"eth*"};
  settings.rescan = 50ms;
  settings.pause = 100ms;
  settings.announcements = 15;  // over the second in which Linux keeps an entry as it is
  return settings;
}

// A link of a node on a thread inside the node's namespace.
class NodeLink {
 public:
  explicit NodeLink(const OwnNetns& netns, LinkSettings settings = quick())
      : link_(make_link(std::move(settings), tasks_, *clock_, Logger())) {
    link_->on_other(
        [this](const Ip& ip, const std::string&) { (ip.is_v4() ? heard_v4_ : heard_v6_) = true; });
    thread_ = std::thread([this, fd = netns.fd()] {
      if (::setns(fd, CLONE_NEWNET) != 0) return;
      entered_ = true;
      tasks_.spawn("link", link_->run());
      while (!ended_ || tasks_.size() > 0) context_.run_one_for(20ms);
    });
  }
  ~NodeLink() {
    asio::post(context_, [this] {
      tasks_.cancel();
      ended_ = true;
    });
    thread_.join();
  }
  void answer_for(std::map<Ip, bool> addresses, MonotonicTime until = MonotonicTime::max()) {
    asio::post(context_, [this, addresses = std::move(addresses), until] {
      link_->answer_for(addresses, until);
    });
  }
  bool entered() const { return entered_; }
  bool heard_v4() const { return heard_v4_; }
  bool heard_v6() const { return heard_v6_; }
  MonotonicTime now() const { return clock_->now(); }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_{context_.get_executor()};
  TaskGroup tasks_{context_.get_executor()};
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Link> link_;
  bool ended_ = false;  // of the thread
  std::atomic<bool> entered_ = false;
  std::atomic<bool> heard_v4_ = false;
  std::atomic<bool> heard_v6_ = false;
  std::thread thread_;
};

const std::string kMacOfA = "02:00:00:00:00:0a";
const std::string kMacOfB = "02:00:00:00:00:0b";
const Ip kV4 = *Ip::parse("192.0.2.7");
const Ip kV6 = *Ip::parse("2001:db8::7");

// A router with a bridge; nodes are plugged in when a test says so.
struct Segment {
  OwnNetns router;
  OwnNetns a;
  OwnNetns b;

  bool made() {
    return router.made() && a.made() && b.made() && router.runs("ip link add br0 type bridge") &&
           router.runs("ip link set br0 type bridge forward_delay 0 mcast_snooping 0") &&
           router.runs("ip address add 192.0.2.1/24 dev br0") &&
           router.runs("ip address add 2001:db8::1/64 dev br0 nodad") &&
           router.runs("ip link set br0 up");
  }
  bool plug(const OwnNetns& node, const std::string& port, const std::string& mac) const {
    return router.runs(fmt::format("ip link add {} type veth peer name eth0 address {} netns {}",
                                   port, mac, node.path())) &&
           router.runs(fmt::format("ip link set {} master br0 up", port)) &&
           node.runs("ip link set eth0 up");
  }
  // What the router believes: "MAC STATE", empty when nothing.
  std::string neighbour(const Ip& ip) const {
    auto text = router.says(fmt::format("ip neigh show {} dev br0", ip.str()));
    if (!text) return "";
    std::size_t at = text->find("lladdr ");
    if (at == std::string::npos) return "";
    std::string rest = text->substr(at + 7);
    while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\n')) rest.pop_back();
    return rest;
  }
  void speak_to(const Ip& ip) const {
    // Refused or not: the router has to find the address first.
    router.runs(fmt::format("bash -c \"echo >/dev/udp/{}/9\"", ip.str()));
  }
  template <class Holds>
  static bool soon(Holds holds, std::chrono::milliseconds limit = 10s) {
    auto end = std::chrono::steady_clock::now() + limit;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(20ms);
    }
    return true;
  }
  bool finds(const Ip& ip, const std::string& mac, const std::string& state = "") const {
    return soon([&] {
      speak_to(ip);
      std::string now = neighbour(ip);
      return now.starts_with(mac) && now.ends_with(state);
    });
  }
};

TEST_CASE("a router finds the node that answers, and follows a takeover by what it hears") {
  Segment segment;
  if (!segment.made()) SKIP("needs root and iproute2, for network namespaces with a bridge");
  NodeLink a(segment.a);
  NodeLink b(segment.b);
  REQUIRE(Segment::soon([&] { return a.entered() && b.entered(); }));
  a.answer_for({{kV4, true}, {kV6, true}});
  // The interfaces come after the addresses.
  REQUIRE(segment.plug(segment.a, "to-a", kMacOfA));
  REQUIRE(segment.plug(segment.b, "to-b", kMacOfB));
  for (const Ip& ip : {kV4, kV6}) {
    INFO(ip.str());
    REQUIRE(segment.finds(ip, kMacOfA));
  }
  REQUIRE_FALSE(a.heard_v4());
  // The router says nothing more; it learns of the new holder by the announcements alone.
  b.answer_for({{kV4, true}, {kV6, true}});
  auto begin = std::chrono::steady_clock::now();
  for (const Ip& ip : {kV4, kV6}) {
    INFO(ip.str());
    REQUIRE(Segment::soon([&] { return segment.neighbour(ip).starts_with(kMacOfB); }));
  }
  REQUIRE(std::chrono::steady_clock::now() - begin < 5s);
  // So does the old one, which is how it knows to yield.
  REQUIRE(Segment::soon([&] { return a.heard_v4() && a.heard_v6(); }));
  a.answer_for({});
  // A router that asks its known neighbour alone, without multicast, is answered too.
  for (const Ip& ip : {kV4, kV6}) {
    INFO(ip.str());
    REQUIRE(segment.router.runs(fmt::format("ip neigh change {} dev br0 nud probe", ip.str())));
    REQUIRE(segment.finds(ip, kMacOfB, "REACHABLE"));
  }
}

TEST_CASE("who does not know whether an address is still its own asks, and hears the holder") {
  Segment segment;
  if (!segment.made()) SKIP("needs root and iproute2, for network namespaces with a bridge");
  REQUIRE(segment.plug(segment.a, "to-a", kMacOfA));
  REQUIRE(segment.plug(segment.b, "to-b", kMacOfB));
  NodeLink b(segment.b);
  REQUIRE(Segment::soon([&] { return b.entered(); }));
  b.answer_for({{kV4, false}, {kV6, false}});
  REQUIRE(segment.finds(kV4, kMacOfB));
  REQUIRE(segment.finds(kV6, kMacOfB));
  REQUIRE_FALSE(b.heard_v4());
  REQUIRE_FALSE(b.heard_v6());
  LinkSettings silent = quick();
  silent.announcements = 0;
  NodeLink holder(segment.a, silent);
  holder.answer_for({{kV4, true}, {kV6, true}});
  REQUIRE(Segment::soon([&] { return b.heard_v4() && b.heard_v6(); }));
}

TEST_CASE("nobody answers after the time that was said, nor for other addresses") {
  Segment segment;
  if (!segment.made()) SKIP("needs root and iproute2, for network namespaces with a bridge");
  REQUIRE(segment.plug(segment.a, "to-a", kMacOfA));
  NodeLink a(segment.a);
  REQUIRE(Segment::soon([&] { return a.entered(); }));
  a.answer_for({{kV4, true}, {kV6, true}});
  REQUIRE(segment.finds(kV4, kMacOfA));
  REQUIRE(segment.finds(kV6, kMacOfA));
  a.answer_for({{kV4, true}, {kV6, true}}, a.now());
  REQUIRE(segment.router.runs("ip neigh flush dev br0"));
  const std::vector<Ip> all{kV4, kV6, *Ip::parse("192.0.2.8"), *Ip::parse("2001:db8::8")};
  for (const Ip& ip : all) segment.speak_to(ip);
  for (const Ip& ip : all) {
    INFO(ip.str());
    // Asked three times in three seconds, then given up.
    REQUIRE(Segment::soon([&] {
      auto text = segment.router.says(fmt::format("ip neigh show {} dev br0", ip.str()));
      return text && text->find("FAILED") != std::string::npos;
    }));
  }
}

TEST_CASE("who wants to take an address of IPv6 is told that it is taken") {
  Segment segment;
  if (!segment.made()) SKIP("needs root and iproute2, for network namespaces with a bridge");
  REQUIRE(segment.plug(segment.a, "to-a", kMacOfA));
  REQUIRE(segment.plug(segment.b, "to-b", kMacOfB));
  NodeLink a(segment.a);
  REQUIRE(Segment::soon([&] { return a.entered(); }));
  a.answer_for({{kV6, true}});
  REQUIRE(segment.finds(kV6, kMacOfA));
  REQUIRE(segment.b.runs(fmt::format("ip address add {}/64 dev eth0", kV6.str())));
  REQUIRE(Segment::soon([&] {
    auto text = segment.b.says("ip -6 address show dev eth0");
    return text && text->find("dadfailed") != std::string::npos;
  }));
}

TEST_CASE("answers are limited; what is too much is left") {
  Segment segment;
  if (!segment.made()) SKIP("needs root and iproute2, for network namespaces with a bridge");
  REQUIRE(segment.plug(segment.a, "to-a", kMacOfA));
  LinkSettings settings = quick();
  settings.announcements = 1;
  settings.answers_at_once = 2;
  settings.answers_per_s = 0;
  NodeLink a(segment.a, settings);
  REQUIRE(Segment::soon([&] { return a.entered(); }));
  a.answer_for({{kV4, true}});
  int answered = 0;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(segment.router.runs("ip neigh flush dev br0"));
    segment.speak_to(kV4);
    bool decided = Segment::soon([&] {
      auto text = segment.router.says(fmt::format("ip neigh show {} dev br0", kV4.str()));
      if (!text) return false;
      return text->find("FAILED") != std::string::npos ||
             text->find("REACHABLE") != std::string::npos;
    });
    REQUIRE(decided);
    answered += segment.neighbour(kV4).starts_with(kMacOfA) ? 1 : 0;
  }
  REQUIRE(answered == 2);
}

}  // namespace
}  // namespace tombolo::announce
