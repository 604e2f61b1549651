// The guard at real interfaces, by tcx and by clsact: a pod behind a veth, a stranger on the other
// side of the node, and the node itself, with real sockets between their network namespaces.
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstdio>
#include <functional>

#include "bpf/internal.h"
#include "bpf/policy/test_rig.h"

namespace tombolo::bpf {
namespace {

using Catch::Generators::from_range;

constexpr int kPatienceMs = 5'000;
constexpr int kMomentMs = 200;  // how long nothing has to come of what is refused
constexpr auto kPodIp = "10.0.0.2";
constexpr auto kOutsideIp = "10.0.9.1";
constexpr auto kNodeIp = "192.0.2.1";
constexpr auto kNodeMac = "02:00:00:00:00:01";
constexpr auto kOtherMac = "02:00:00:00:00:02";

Descriptor this_netns() {
  Descriptor fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  ENSURE(static_cast<bool>(fd));
  return fd;
}

void ip(const std::string& lines) {
  FILE* pipe = popen("ip -batch - >/dev/null", "we");
  ENSURE(pipe != nullptr);
  ENSURE(std::fwrite(lines.data(), 1, lines.size(), pipe) == lines.size());
  ENSURE(pclose(pipe) == 0, "ip -batch:\n{}", lines);
}

// Peer 1 is the stranger, who may use TCP 80 to 89 and UDP 53.
// A veth that has just come up loses what it is given until the kernel's worker has seen the
// carrier.
void wait_until_running(const std::string& name) {
  Descriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  for (int waited_ms = 0; waited_ms < kPatienceMs; ++waited_ms) {
    ENSURE(ioctl(fd.get(), SIOCGIFFLAGS, &request) == 0, "{}", std::strerror(errno));
    bool running = (request.ifr_flags & IFF_RUNNING) != 0;
    poll(nullptr, 0, 1);
    if (running) return;
  }
  ENSURE(false, "{} does not come up", name);
}

struct Fabric {
  TestWorld world;
  std::unique_ptr<Clock> clock = make_system_clock();
  Hook hook;
  Descriptor node = this_netns();
  Descriptor pod;
  Descriptor outside;
  std::unique_ptr<Guard> guard;

  explicit Fabric(Hook how) : hook(how) {
    Descriptor forward(open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC));
    ENSURE(forward && write(forward.get(), "1", 1) == 1);
    ip(fmt::format("address add {}/32 dev lo\n", kNodeIp));
    pod = connect_to("pod0", kPodIp, [this] {
      open_guard();
      Rig::must(run_now(guard->attach("pod0", ips())));
    });
    outside = connect_to("out0", kOutsideIp, [] {});
  }
  ~Fabric() { enter(node); }
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;

  static std::vector<Ip> ips() { return {Ip::parse(kPodIp).value()}; }
  static void enter(const Descriptor& netns) {
    ENSURE(setns(netns.get(), CLONE_NEWNET) == 0, "{}", std::strerror(errno));
  }
  // `body` in that network namespace, on this thread.
  template <class Body>
  auto in(const Descriptor& netns, Body body) const {
    enter(netns);
    auto result = body();
    enter(node);
    return result;
  }
  // A network namespace behind a veth whose other end is `name`; `guarded` runs before it is up.
  Descriptor connect_to(const std::string& name, const std::string& address,
                        const std::function<void()>& guarded) const {
    ENSURE(unshare(CLONE_NEWNET) == 0, "{}", std::strerror(errno));
    Descriptor other = this_netns();
    enter(node);
    ip(fmt::format(
        "link add {} address {} type veth peer name eth0 address {} netns /proc/{}/fd/{}\n", name,
        kNodeMac, kOtherMac, getpid(), other.get()));
    guarded();
    // Neighbours are known: a datagram goes now or never.
    ip(
        fmt::format("link set {0} up\naddress add 169.254.1.1/32 dev {0}\nroute add {1} dev {0}\n"
                    "neighbour add {1} lladdr {2} dev {0} nud permanent\n",
                    name, address, kOtherMac));
    enter(other);
    ip(
        fmt::format("link set lo up\nlink set eth0 up\naddress add {} dev eth0\n"
                    "neighbour add 169.254.1.1 lladdr {} dev eth0 nud permanent\n"
                    "route add default via 169.254.1.1 dev eth0 onlink\n",
                    address, kNodeMac));
    wait_until_running("eth0");
    enter(node);
    wait_until_running(name);
    return other;
  }
  void open_guard() {
    guard.reset();
    GuardSettings settings;
    settings.bpffs_root = world.settings().bpffs_root;
    settings.hook = hook;
    settings.sizes = small_sizes();
    auto opened = Guard::open(settings, *clock, Logger());
    INFO((opened ? "" : opened.error().text()));
    REQUIRE(opened.has_value());
    guard = std::move(*opened);
    REQUIRE(guard->uses_tcx() == (hook == Hook::kTcx));
  }
  void fill(const std::string& ingress, const std::string& egress,
            const std::string& name = "pod0") {
    PolicyMaps& maps = guard->maps();
    Rig::must(maps.put_set(sample_set(PolicyDirection::kIngress, kIngress)));
    Rig::must(maps.put_set(sample_set(PolicyDirection::kEgress, kEgress)));
    GuardedPod row{"c/eth0", name, "shop/web", ips(), 555, ingress, egress};
    Rig::must(maps.put_pod(row));
    let_outside_be(1);
  }
  void let_outside_be(std::uint32_t number) {
    Rig::must(guard->maps().put_peer(peer(fmt::format("{}/32", kOutsideIp), number)));
    Rig::must(guard->maps().bump_generation());
  }
};

struct Address {
  sockaddr_in value{};
  Address(const std::string& ip, Port port) {
    value.sin_family = AF_INET;
    value.sin_port = htons(port);
    value.sin_addr.s_addr = htonl(static_cast<std::uint32_t>(Ip::parse(ip).value().value()));
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&value); }
};

Descriptor make_socket(int type) {
  Descriptor fd(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ENSURE(static_cast<bool>(fd), "{}", std::strerror(errno));
  return fd;
}

Descriptor bound(int type, const std::string& ip, Port port) {
  Descriptor fd = make_socket(type);
  Address address(ip, port);
  ENSURE(bind(fd.get(), address.get(), sizeof(address.value)) == 0, "{}", std::strerror(errno));
  if (type == SOCK_STREAM) ENSURE(listen(fd.get(), 16) == 0);
  return fd;
}

Descriptor begin(int type, const std::string& ip, Port port) {
  Descriptor fd = make_socket(type);
  Address address(ip, port);
  int done = connect(fd.get(), address.get(), sizeof(address.value));
  ENSURE(done == 0 || errno == EINPROGRESS, "{}", std::strerror(errno));
  return fd;
}

bool ready(const Descriptor& fd, short what, int limit_ms) {
  pollfd one{fd.get(), what, 0};
  return poll(&one, 1, limit_ms) == 1;
}

// An accepted connection, when one comes.
Descriptor next_of(const Descriptor& listener, int limit_ms = kPatienceMs) {
  if (!ready(listener, POLLIN, limit_ms)) return {};
  return Descriptor(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

void say(const Descriptor& fd, const std::string& text) {
  REQUIRE(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

// What comes within the time, "" for nothing.
std::string hear(const Descriptor& fd, int limit_ms = kPatienceMs) {
  std::string text(16384, '\0');
  if (!ready(fd, POLLIN, limit_ms)) return "";
  ssize_t got = recv(fd.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

std::vector<Hook> hooks() {
  if (kernel_has_tcx()) return {Hook::kTcx, Hook::kClsact};
  return {Hook::kClsact};
}

#define NEED_FABRIC()                                                                   \
  NEED_WORLD();                                                                         \
  if (std::system("ip -Version >/dev/null 2>&1") != 0) SKIP("missing: the command ip"); \
  Fabric fabric(GENERATE(from_range(hooks())))

TEST_CASE("a new interface is closed before its pod's first packet") {
  NEED_FABRIC();
  Descriptor in_pod = fabric.in(fabric.pod, [] { return bound(SOCK_DGRAM, kPodIp, 53); });
  Descriptor listener = fabric.in(fabric.outside, [] { return bound(SOCK_DGRAM, kOutsideIp, 53); });
  Descriptor from_pod = fabric.in(fabric.pod, [] { return begin(SOCK_DGRAM, kOutsideIp, 53); });
  Descriptor from_outside = fabric.in(fabric.outside, [] { return begin(SOCK_DGRAM, kPodIp, 53); });
  Descriptor from_node = begin(SOCK_DGRAM, kPodIp, 53);
  say(from_pod, "early");
  say(from_outside, "early");
  say(from_node, "early");
  REQUIRE(hear(listener, kMomentMs).empty());
  REQUIRE(hear(in_pod, 0).empty());
  fabric.fill("", "");
  say(from_pod, "late");
  REQUIRE(hear(listener) == "late");
  say(from_outside, "late");
  REQUIRE(hear(in_pod) == "late");
  Rig::must(run_now(fabric.guard->detach("pod0")));
  say(from_outside, "free");
  REQUIRE(hear(in_pod) == "free");
}

TEST_CASE("rules decide who connects; what was allowed ends with its rule and comes back with it") {
  NEED_FABRIC();
  fabric.fill(kIngress, "");
  Descriptor web = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 80); });
  Descriptor other = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 90); });
  Descriptor refused = fabric.in(fabric.outside, [] { return begin(SOCK_STREAM, kPodIp, 90); });
  Descriptor client = fabric.in(fabric.outside, [] { return begin(SOCK_STREAM, kPodIp, 80); });
  Descriptor server = next_of(web);
  REQUIRE(static_cast<bool>(server));
  say(client, "one");
  REQUIRE(hear(server) == "one");
  REQUIRE(!next_of(other, kMomentMs));
  fabric.let_outside_be(0);
  say(client, "two");
  say(server, "three");
  REQUIRE(hear(server, kMomentMs).empty());
  REQUIRE(hear(client, kMomentMs).empty());
  fabric.let_outside_be(1);
  // TCP says it again.
  REQUIRE(hear(server) == "two");
  REQUIRE(hear(client) == "three");
}

TEST_CASE("a guard that starts again breaks no connection and opens none") {
  NEED_FABRIC();
  fabric.fill(kIngress, "");
  Descriptor web = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 80); });
  Descriptor other = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 90); });
  Descriptor client = fabric.in(fabric.outside, [] { return begin(SOCK_STREAM, kPodIp, 80); });
  Descriptor server = next_of(web);
  REQUIRE(static_cast<bool>(server));
  fabric.guard.reset();
  say(client, "nobody is there");
  REQUIRE(hear(server) == "nobody is there");
  Descriptor refused = fabric.in(fabric.outside, [] { return begin(SOCK_STREAM, kPodIp, 90); });
  REQUIRE(!next_of(other, kMomentMs));
  if (kernel_has_tcx() && GENERATE(false, true))
    fabric.hook = fabric.hook == Hook::kTcx ? Hook::kClsact : Hook::kTcx;
  fabric.open_guard();
  say(client, "again");
  REQUIRE(hear(server) == "again");
  REQUIRE(!next_of(other, kMomentMs));
  fabric.let_outside_be(0);
  say(client, "no more");
  REQUIRE(hear(server, kMomentMs).empty());
}

TEST_CASE("the node reaches its pods and is answered; the pod does not reach the node so") {
  NEED_FABRIC();
  fabric.fill(kIngress, kEgress);
  Descriptor health = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 9999); });
  Descriptor probe = begin(SOCK_STREAM, kPodIp, 9999);
  Descriptor server = next_of(health);
  REQUIRE(static_cast<bool>(server));
  say(probe, "well?");
  REQUIRE(hear(server) == "well?");
  say(server, "well.");
  REQUIRE(hear(probe) == "well.");
  Descriptor on_node = bound(SOCK_STREAM, kNodeIp, 80);
  Descriptor refused = fabric.in(fabric.pod, [] { return begin(SOCK_STREAM, kNodeIp, 80); });
  REQUIRE(!next_of(on_node, kMomentMs));
}

TEST_CASE("datagrams in pieces arrive whole where they may, and not at all where they may not") {
  NEED_FABRIC();
  fabric.fill(kIngress, "");
  Descriptor dns = fabric.in(fabric.pod, [] { return bound(SOCK_DGRAM, kPodIp, 53); });
  Descriptor other = fabric.in(fabric.pod, [] { return bound(SOCK_DGRAM, kPodIp, 54); });
  std::string large(8000, 'x');
  Descriptor allowed = fabric.in(fabric.outside, [] { return begin(SOCK_DGRAM, kPodIp, 53); });
  Descriptor refused = fabric.in(fabric.outside, [] { return begin(SOCK_DGRAM, kPodIp, 54); });
  say(refused, large);
  say(allowed, large);
  REQUIRE(hear(dns) == large);
  REQUIRE(hear(other, kMomentMs).empty());
}

TEST_CASE("an ICMP error about the pod's own datagram reaches the pod") {
  NEED_FABRIC();
  fabric.fill(kIngress, kEgress);
  // Nobody listens there: the answer is "port unreachable" (RFC 792).
  Descriptor asker = fabric.in(fabric.pod, [] { return begin(SOCK_DGRAM, kOutsideIp, 53); });
  say(asker, "anybody?");
  REQUIRE(ready(asker, POLLIN, kPatienceMs));
  char byte = 0;
  REQUIRE(recv(asker.get(), &byte, 1, 0) == -1);
  REQUIRE(errno == ECONNREFUSED);
}

TEST_CASE("a device is guarded inside its pod, and while the guard starts again") {
  NEED_FABRIC();
  Rig::must(run_now(fabric.guard->detach("pod0")));
  InterfaceInPod inside{fmt::format("/proc/{}/fd/{}", getpid(), fabric.pod.get()),
                        fabric.in(fabric.pod, [] { return if_nametoindex("eth0"); })};
  auto attach = [&] {
    Rig::must(run_now(fabric.guard->attach_inside("device", inside, Fabric::ips())));
  };
  attach();
  Descriptor in_pod = fabric.in(fabric.pod, [] { return bound(SOCK_DGRAM, kPodIp, 53); });
  Descriptor listener = fabric.in(fabric.outside, [] { return bound(SOCK_DGRAM, kOutsideIp, 53); });
  Descriptor from_pod = fabric.in(fabric.pod, [] { return begin(SOCK_DGRAM, kOutsideIp, 53); });
  Descriptor from_outside = fabric.in(fabric.outside, [] { return begin(SOCK_DGRAM, kPodIp, 53); });
  say(from_pod, "early");
  say(from_outside, "early");
  REQUIRE(hear(listener, kMomentMs).empty());
  REQUIRE(hear(in_pod, 0).empty());
  fabric.fill(kIngress, "", "device");
  say(from_pod, "late");
  REQUIRE(hear(listener) == "late");
  Descriptor web = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 80); });
  Descriptor other = fabric.in(fabric.pod, [] { return bound(SOCK_STREAM, kPodIp, 90); });
  Descriptor client = fabric.in(fabric.outside, [] { return begin(SOCK_STREAM, kPodIp, 80); });
  Descriptor server = next_of(web);
  REQUIRE(static_cast<bool>(server));
  fabric.guard.reset();
  Descriptor refused = fabric.in(fabric.outside, [] { return begin(SOCK_STREAM, kPodIp, 90); });
  say(client, "nobody is there");
  REQUIRE(hear(server) == "nobody is there");
  REQUIRE(!next_of(other, kMomentMs));
  fabric.open_guard();
  if (fabric.hook == Hook::kClsact) {
    // Where the programs are is not known before somebody says so: closed until then.
    say(client, "again");
    REQUIRE(hear(server, kMomentMs).empty());
    attach();
    fabric.fill(kIngress, "", "device");
  } else {
    say(client, "again");
  }
  REQUIRE(hear(server) == "again");
  REQUIRE(!next_of(other, kMomentMs));
  fabric.let_outside_be(0);
  say(client, "no more");
  REQUIRE(hear(server, kMomentMs).empty());
}

}  // namespace
}  // namespace tombolo::bpf
