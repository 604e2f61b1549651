// Load balancing by the real kernel: real sockets in a cgroup and a network namespace of their own,
// where service addresses have no route, so that only a translated call can work.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "bpf/libbpf_api.h"
#include "bpf/test_peers.h"
#include "bpf/test_world.h"

namespace tombolo::bpf {
namespace {

namespace fs = std::filesystem;
using Catch::Generators::values;

#define NEED_WORLD()                                                        \
  do {                                                                      \
    if (auto missing = TestWorld::missing()) SKIP("missing: " << *missing); \
  } while (false)

const std::vector<std::string> kBackends{"127.0.0.2:8080", "127.0.0.3:8080", "[::1]:8081",
                                         "[::1]:8082"};

Endpoint at(const std::string& text) {
  return Endpoint::parse(text).value();
}

Frontend service(Protocol protocol, const std::vector<std::string>& backends = kBackends) {
  Frontend row;
  row.name_space = "default";
  row.name = protocol == Protocol::kTcp ? "web" : "dns";
  row.cluster_ips = {Ip::parse("10.96.0.1").value(), Ip::parse("fd96::1").value()};
  row.clusterset_ips = {Ip::parse("10.200.0.1").value()};
  row.ports = {{"p", protocol, 80}};
  for (const std::string& text : backends) {
    Backend backend;
    backend.ip = at(text).ip;
    backend.port = at(text).port;
    backend.protocol = protocol;
    backend.port_name = "p";
    row.backends.push_back(backend);
  }
  return row;
}

// A daemon's load balancer in a world of its own.
struct Rig {
  TestWorld world;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<LoadBalancer> balancer;

  Rig() { open(); }
  ~Rig() { balancer.reset(); }
  void open() {
    auto opened = LoadBalancer::open(world.settings(), *clock, Logger());
    INFO((opened ? "" : opened.error().text()));
    REQUIRE(opened.has_value());
    balancer = std::move(*opened);
  }
  void apply(const Frontend& row) {
    auto done = run_now(balancer->operations().update(row));
    INFO((done ? "" : done.error().text()));
    REQUIRE(done.has_value());
  }
  SocketStats stats() { return run_now(balancer->stats()).value(); }
};

TEST_CASE("every kind of socket reaches a backend and sees the service") {
  struct Case {
    std::string name;
    Call call;
    int family;
    std::string service;
  };
  NEED_WORLD();
  Rig rig;
  Backends tcp(kBackends, Protocol::kTcp);
  Backends udp(kBackends, Protocol::kUdp);
  rig.apply(service(Protocol::kTcp));
  rig.apply(service(Protocol::kUdp));
  for (const Case& c : std::vector<Case>{
           {"TCP", Call::kTcp, AF_INET, "10.96.0.1:80"},
           {"TCP, clusterset address", Call::kTcp, AF_INET, "10.200.0.1:80"},
           {"TCP over IPv6", Call::kTcp, AF_INET6, "[fd96::1]:80"},
           {"TCP to an IPv4-mapped address", Call::kTcp, AF_INET6, "10.96.0.1:80"},
           {"connected UDP", Call::kUdpConnected, AF_INET, "10.96.0.1:80"},
           {"connected UDP over IPv6", Call::kUdpConnected, AF_INET6, "[fd96::1]:80"},
           {"connected UDP, mapped", Call::kUdpConnected, AF_INET6, "10.96.0.1:80"},
           {"UDP", Call::kUdpUnconnected, AF_INET, "10.96.0.1:80"},
           {"UDP over IPv6", Call::kUdpUnconnected, AF_INET6, "[fd96::1]:80"},
           {"UDP, mapped", Call::kUdpUnconnected, AF_INET6, "10.96.0.1:80"},
       }) {
    INFO(c.name);
    auto answer = ask(c.call, c.family, at(c.service));
    INFO((answer ? "" : answer.error().text()));
    REQUIRE(answer.has_value());
    REQUIRE(answer->from.str() == c.service);
    REQUIRE(at(answer->bytes).ip.is_v4() == at(c.service).ip.is_v4());
    if (c.call == Call::kUdpUnconnected) continue;
    auto client = Client::open(c.call, c.family).value();
    REQUIRE(client.connect(at(c.service)).has_value());
    REQUIRE(client.peer_name()->str() == c.service);
  }
  REQUIRE(rig.stats().stale == 0);
  REQUIRE(rig.stats().peer_not_stored == 0);
}

TEST_CASE("what is no service is left alone") {
  NEED_WORLD();
  Rig rig;
  Backends tcp({"127.0.0.2:8080"}, Protocol::kTcp);
  rig.apply(service(Protocol::kTcp));
  REQUIRE(ask(Call::kTcp, AF_INET, at("127.0.0.2:8080"))->from.str() == "127.0.0.2:8080");
  for (const char* other : {"10.96.0.1:81", "10.96.0.2:80"})
    REQUIRE(ask(Call::kTcp, AF_INET, at(other)).error().sys_errno == ENETUNREACH);
  REQUIRE(ask(Call::kUdpConnected, AF_INET, at("10.96.0.1:80")).error().sys_errno == ENETUNREACH);
  REQUIRE(rig.stats().translated == 0);
  REQUIRE(rig.stats().miss >= 4);
}

TEST_CASE("shares follow the weights") {
  struct Case {
    std::string name;
    Selection selection;
    Call call;
    std::vector<std::uint16_t> weights;
    double first;  // expected share of the first backend
  };
  NEED_WORLD();
  Rig rig;
  const std::vector<std::string> two{"127.0.0.2:8080", "127.0.0.3:8080"};
  Backends tcp(two, Protocol::kTcp);
  Backends udp(two, Protocol::kUdp);
  for (const Case& c : std::vector<Case>{
           {"equal", Selection::kRandom, Call::kTcp, {100, 100}, 0.5},
           {"three to one", Selection::kRandom, Call::kTcp, {75, 25}, 0.75},
           {"a quarantined backend gets nothing", Selection::kRandom, Call::kTcp, {0, 1}, 0},
           {"maglev, equal", Selection::kMaglev, Call::kTcp, {100, 100}, 0.5},
           {"maglev, one to three", Selection::kMaglev, Call::kTcp, {50, 150}, 0.25},
           {"datagrams", Selection::kRandom, Call::kUdpUnconnected, {100, 300}, 0.25},
       }) {
    INFO(c.name);
    auto row = service(c.call == Call::kTcp ? Protocol::kTcp : Protocol::kUdp, two);
    row.selection = c.selection;
    for (std::size_t i = 0; i < 2; ++i) row.backends[i].weight = c.weights[i];
    rig.apply(row);
    constexpr int kCalls = 1000;
    int first = 0;
    for (int i = 0; i < kCalls; ++i)
      first += ask(c.call, AF_INET, at("10.96.0.1:80")).value().bytes == two[0] ? 1 : 0;
    INFO(first << " of " << kCalls);
    // Five standard deviations of 1000 draws.
    REQUIRE(std::abs(first - c.first * kCalls) <= 80);
  }
}

TEST_CASE("one unconnected socket stays with its backend, and may use several services") {
  NEED_WORLD();
  Rig rig;
  std::vector<std::string> servers = kBackends;
  for (int i = 4; i < 14; ++i) servers.push_back(fmt::format("127.0.0.{}:8080", i));
  Backends udp(servers, Protocol::kUdp);
  rig.apply(service(Protocol::kUdp));
  for (int i = 2; i < 14; ++i) {
    auto row = service(Protocol::kUdp, {fmt::format("127.0.0.{}:8080", i)});
    row.name = fmt::format("dns{}", i);
    row.cluster_ips = {Ip::v4(0x0a600000U + static_cast<std::uint32_t>(i))};
    row.clusterset_ips.clear();
    rig.apply(row);
  }
  auto client = Client::open(Call::kUdpUnconnected, AF_INET).value();
  std::set<std::string> answered;
  for (int i = 0; i < 20; ++i) {
    REQUIRE(client.send_to(at("10.96.0.1:80"), "?").has_value());
    answered.insert(client.receive().value().bytes);
  }
  REQUIRE(answered.size() == 1);
  // As a resolver with two name servers does: both questions first, then both answers.
  auto resolver = Client::open(Call::kUdpUnconnected, AF_INET).value();
  REQUIRE(resolver.send_to(at("10.96.0.2:80"), "?").has_value());
  REQUIRE(resolver.send_to(at("10.96.0.3:80"), "?").has_value());
  std::set<std::string> sources{resolver.receive().value().from.str(),
                                resolver.receive().value().from.str()};
  REQUIRE(sources == std::set<std::string>{"10.96.0.2:80", "10.96.0.3:80"});
  REQUIRE(rig.stats().peer_forgotten == 0);
  // More than it can remember: the oldest are forgotten and counted, the rest stays right.
  for (int i = 2; i < 14; ++i)
    REQUIRE(resolver.send_to(at(fmt::format("10.96.0.{}:80", i)), "?").has_value());
  std::set<std::string> right;
  for (int i = 2; i < 14; ++i) right.insert(resolver.receive().value().from.str());
  REQUIRE(rig.stats().peer_forgotten == 12 - int{abi::kPeersPerSocket});
  for (int i = 14 - int{abi::kPeersPerSocket}; i < 14; ++i)
    REQUIRE(right.contains(fmt::format("10.96.0.{}:80", i)));
}

TEST_CASE("a socket that goes on without the service sees the backend itself") {
  NEED_WORLD();
  Rig rig;
  Backends udp({"127.0.0.2:8080"}, Protocol::kUdp);
  rig.apply(service(Protocol::kUdp, {"127.0.0.2:8080"}));
  auto client = Client::open(Call::kUdpConnected, AF_INET).value();
  REQUIRE(client.connect(at("10.96.0.1:80")).has_value());
  REQUIRE(client.peer_name()->str() == "10.96.0.1:80");
  REQUIRE(client.connect(at("127.0.0.2:8080")).has_value());
  REQUIRE(client.peer_name()->str() == "127.0.0.2:8080");
}

TEST_CASE("a service without backends refuses at once") {
  NEED_WORLD();
  Rig rig;
  rig.apply(service(Protocol::kTcp, {}));
  rig.apply(service(Protocol::kUdp, {}));
  for (Call call : {Call::kTcp, Call::kUdpConnected, Call::kUdpUnconnected}) {
    REQUIRE(ask(call, AF_INET, at("10.96.0.1:80")).error().sys_errno == ECONNREFUSED);
    REQUIRE(ask(call, AF_INET6, at("[fd96::1]:80")).error().sys_errno == ECONNREFUSED);
  }
  REQUIRE(rig.stats().no_backend == 6);
}

// Asks again and again, on a thread of its own, until told to stop.
class Load {
 public:
  Load(Call call, Endpoint to) {
    thread_ = std::thread([this, call, to] {
      while (!stop_) {
        auto answer = ask(call, AF_INET, to);
        ++asked_;
        if (answer && answer->from == to) continue;
        ++failed_;
        first_error_ = answer ? "answered from " + answer->from.str() : answer.error().text();
      }
    });
  }
  ~Load() { stop(); }
  int asked() const { return asked_; }
  void wait_for(int more) const {
    for (int target = asked_ + more, i = 0; asked_ < target && i < 10'000; ++i) usleep(1000);
  }
  std::string stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return failed_ == 0 ? "" : fmt::format("{} of {}: {}", int{failed_}, int{asked_}, first_error_);
  }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int> asked_ = 0;
  std::atomic<int> failed_ = 0;
  std::string first_error_;
  std::thread thread_;
};

TEST_CASE("scaling backends to nothing and back, elsewhere, fails no request") {
  auto call = GENERATE(Call::kTcp, Call::kUdpConnected, Call::kUdpUnconnected);
  NEED_WORLD();
  Rig rig;
  Protocol protocol = call == Call::kTcp ? Protocol::kTcp : Protocol::kUdp;
  Backends servers(kBackends, protocol);
  auto both = service(protocol);
  auto one = service(protocol, {"127.0.0.3:8080", "[::1]:8082"});
  auto other = service(protocol, {"127.0.0.2:8080", "[::1]:8081"});
  both.selection = Selection::kMaglev;
  rig.apply(both);
  Load load(call, at("10.96.0.1:80"));
  for (int i = 0; i < 150; ++i) {
    rig.apply(one);
    rig.apply(both);
    rig.apply(other);
    if (i % 30 == 0) load.wait_for(5);
  }
  REQUIRE(load.stop() == "");
  REQUIRE(load.asked() > 20);
  REQUIRE(rig.stats().stale == 0);
  REQUIRE(rig.stats().no_backend == 0);
}

TEST_CASE("a restart is not seen: connections live on, new ones work with and without the daemon") {
  NEED_WORLD();
  Rig rig;
  Backends servers(kBackends, Protocol::kTcp);
  auto row = service(Protocol::kTcp);
  rig.apply(row);
  auto client = Client::open(Call::kTcp, AF_INET).value();
  REQUIRE(client.connect(at("10.96.0.1:80")).has_value());
  std::string backend = client.receive().value().bytes;
  Load load(Call::kTcp, at("10.96.0.1:80"));
  for (int i = 0; i < 3; ++i) {
    rig.balancer.reset();
    load.wait_for(20);
    rig.open();
    load.wait_for(5);
    auto entries = run_now(rig.balancer->entries()).value();
    REQUIRE(entries.size() == 3);
    REQUIRE(entries[0].backends.size() == 2);
    REQUIRE(entries[0].service.empty());
    rig.apply(row);
    REQUIRE(run_now(rig.balancer->operations().prune({row})).has_value());
    REQUIRE(run_now(rig.balancer->entries()).value()[0].service == "default/web");
    REQUIRE(client.send("still there?").has_value());
    REQUIRE(client.receive().value().bytes == "still there?");
    REQUIRE(client.peer_name()->str() == "10.96.0.1:80");
  }
  // The backend leaves: the connection stays.
  rig.apply(service(Protocol::kTcp, {backend == kBackends[0] ? kBackends[1] : kBackends[0]}));
  REQUIRE(client.send("and now?").has_value());
  REQUIRE(client.receive().value().bytes == "and now?");
  REQUIRE(load.stop() == "");
}

TEST_CASE("a process outside the cgroup is untouched") {
  NEED_WORLD();
  Rig rig;
  Backends servers(kBackends, Protocol::kTcp);
  rig.apply(service(Protocol::kTcp));
  SocketAddress to = to_sockaddr(at("10.96.0.1:80"), AF_INET);
  std::string outside = rig.world.parent_cgroup() + "/cgroup.procs";
  auto before = rig.stats();
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // only system calls from here
    int procs = open(outside.c_str(), O_WRONLY);
    if (procs < 0 || write(procs, "0", 1) != 1) _exit(1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, to.get(), to.length) == 0) _exit(2);
    _exit(errno == ENETUNREACH ? 0 : 3);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  auto after = rig.stats();
  REQUIRE(after.miss == before.miss);
  REQUIRE(after.translated == before.translated);
}

TEST_CASE("pins of another layout are refused by name, another version's are left until synced") {
  NEED_WORLD();
  Rig rig;
  rig.balancer.reset();
  std::string pins = rig.world.settings().bpffs_root + "/tombolo/";
  std::string slots = fmt::format("{}v{}/maps/slots", pins, int{abi::kAbiVersion});
  Descriptor other(bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, 16, 7, nullptr));
  REQUIRE(other);
  fs::create_directories(pins + "v999/maps");
  REQUIRE(bpf_obj_pin(other.get(), (pins + "v999/maps/slots").c_str()) == 0);
  rig.open();
  REQUIRE(fs::exists(pins + "v999/maps/slots"));
  REQUIRE(run_now(rig.balancer->operations().prune({})).has_value());
  REQUIRE_FALSE(fs::exists(pins + "v999"));
  rig.balancer.reset();

  REQUIRE(unlink(slots.c_str()) == 0);
  REQUIRE(bpf_obj_pin(other.get(), slots.c_str()) == 0);
  auto refused = LoadBalancer::open(rig.world.settings(), *rig.clock, Logger());
  REQUIRE_FALSE(refused);
  REQUIRE(refused.error().code == Code::kFailedPrecondition);
  INFO(refused.error().text());
  REQUIRE(refused.error().what.starts_with(
      slots + " is a array with keys of 4 bytes, values of 16, 7 entries"));
}

TEST_CASE("one daemon at a time") {
  NEED_WORLD();
  Rig rig;
  auto second = LoadBalancer::open(rig.world.settings(), *rig.clock, Logger());
  REQUIRE_FALSE(second);
  REQUIRE(second.error().code == Code::kAlreadyExists);
  REQUIRE(detach(rig.world.settings()).error().code == Code::kAlreadyExists);
}

TEST_CASE("another cgroup_root moves the programs there") {
  NEED_WORLD();
  Rig rig;
  Backends servers(kBackends, Protocol::kTcp);
  rig.apply(service(Protocol::kTcp));
  rig.balancer.reset();
  Settings narrowed = rig.world.settings();
  narrowed.cgroup_root += "/pods";
  REQUIRE(mkdir(narrowed.cgroup_root.c_str(), 0755) == 0);
  {
    auto moved = LoadBalancer::open(narrowed, *rig.clock, Logger());
    REQUIRE(moved.has_value());
  }
  bool translated = true;  // a link that nobody holds ends a moment later
  for (int i = 0; translated && i < 500; ++i) {
    translated = ask(Call::kTcp, AF_INET, at("10.96.0.1:80")).has_value();
    if (translated) usleep(10'000);
  }
  REQUIRE_FALSE(translated);
  REQUIRE(rmdir(narrowed.cgroup_root.c_str()) == 0);
  rig.open();  // the pinned links' cgroup is gone
  REQUIRE(ask(Call::kTcp, AF_INET, at("10.96.0.1:80")).has_value());
}

TEST_CASE("detach leaves nothing") {
  NEED_WORLD();
  Rig rig;
  Backends servers(kBackends, Protocol::kTcp);
  rig.apply(service(Protocol::kTcp));
  REQUIRE(ask(Call::kTcp, AF_INET, at("10.96.0.1:80")).has_value());
  rig.balancer.reset();
  REQUIRE(detach(rig.world.settings()).has_value());
  REQUIRE(fs::is_empty(rig.world.settings().bpffs_root));  // and no bpffs is mounted there
  std::ifstream mounts("/proc/self/mountinfo");
  std::string text((std::istreambuf_iterator<char>(mounts)), {});
  REQUIRE(text.find(rig.world.settings().bpffs_root) == std::string::npos);
  int refused = 0;
  for (int i = 0; refused == 0 && i < 500; ++i) {
    auto answer = ask(Call::kTcp, AF_INET, at("10.96.0.1:80"));
    refused = answer ? 0 : answer.error().sys_errno;
    if (refused == 0) usleep(10'000);
  }
  REQUIRE(refused == ENETUNREACH);
  REQUIRE(detach(rig.world.settings()).has_value());
}

TEST_CASE("connected UDP sockets of a backend that is gone are closed, others are not") {
  auto family = GENERATE(AF_INET, AF_INET6);
  NEED_WORLD();
  Rig rig;
  Backends servers(kBackends, Protocol::kUdp);
  Endpoint to = at(family == AF_INET ? "10.96.0.1:80" : "[fd96::1]:80");
  Endpoint direct_to = at(family == AF_INET ? "127.0.0.2:8080" : "[::1]:8081");
  auto able = rig.balancer->close_stuck_udp_in(
      [&] { return std::vector<std::string>{rig.world.netns_path(), "/proc/0/ns/net"}; });
  if (!able) SKIP("missing: " << able.error().what);
  rig.apply(service(Protocol::kUdp, {direct_to.str()}));
  auto stuck = Client::open(Call::kUdpConnected, family).value();
  REQUIRE(stuck.connect(to).has_value());
  auto direct = Client::open(Call::kUdpConnected, family).value();
  REQUIRE(direct.connect(direct_to).has_value());
  rig.apply(service(Protocol::kUdp, {"127.0.0.3:8080", "[::1]:8082"}));
  REQUIRE(stuck.receive().error().sys_errno == ECONNABORTED);
  REQUIRE(direct.send("?").has_value());
  REQUIRE(direct.receive().value().bytes == direct_to.str());
  auto fresh = Client::open(Call::kUdpConnected, family).value();
  REQUIRE(fresh.connect(to).has_value());
  REQUIRE(fresh.send("?").has_value());
  REQUIRE(fresh.receive().has_value());
}

TEST_CASE("from the table to the kernel, with what does not fit in the status") {
  NEED_WORLD();
  Rig rig;
  Backends servers(kBackends, Protocol::kTcp);
  asio::io_context context;
  RevisionCounter revisions;
  Table<Frontend> frontends("frontends", revisions);
  Table<ReconcileStatus> status("status", revisions);
  auto writer = frontends.take_writer("test");
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(context.get_executor());
  Reconciler<Frontend> reconciler({.name = "lb"}, frontends, rig.balancer->operations(),
                                  status.take_writer("reconcilers"), tasks, *rig.clock, *rng,
                                  Logger());
  auto row = service(Protocol::kTcp);
  auto crowd = row;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    crowd.backends.push_back(row.backends[0]);
    crowd.backends.back().ip = Ip::v4(0x0a000000U + i);
  }
  writer.upsert(crowd);
  writer.mark_synced();
  tasks.spawn("lb", reconciler.run());
  while (status.find("lb|default/web") == nullptr) context.run_one();
  REQUIRE(status.find("lb|default/web")->error ==
          "resource exhausted: 906 backends are left out: a port takes 4096 per address family");
  writer.upsert(row);
  while (status.find("lb|") == nullptr || status.find("lb|")->state != ReconcileState::kDone)
    context.run_one();
  REQUIRE(status.size() == 1);
  REQUIRE(ask(Call::kTcp, AF_INET, at("10.96.0.1:80")).has_value());
  tasks.cancel();
  context.restart();
  context.run();
}

TEST_CASE("the verifier walks at most a tenth more than recorded") {
  NEED_WORLD();
  Rig rig;
  std::map<std::string, double> recorded;
  std::ifstream file(TOMBOLO_TEST_DATA "/bpf/verified-instructions.txt");
  std::string name;
  for (double count; file >> name >> count;) recorded[name] = count;
  auto programs = rig.balancer->programs().value();
  REQUIRE(programs.size() == 8);
  for (const ProgramFacts& program : programs) {
    fmt::print("{}: processed {} insns, {} bytes of native code\n", program.name,
               program.verified_instructions, program.native_bytes);
    INFO(program.name << " is in tests/data/bpf/verified-instructions.txt");
    REQUIRE(recorded.contains(program.name));
    REQUIRE(program.verified_instructions > 0);
    REQUIRE(program.verified_instructions <= 1.1 * recorded.at(program.name));
  }
}

TEST_CASE("the tcx probe agrees with the kernel's version") {
  utsname system{};
  REQUIRE(uname(&system) == 0);
  int major = 0;
  int minor = 0;
  REQUIRE(std::sscanf(system.release, "%d.%d", &major, &minor) == 2);
  NEED_WORLD();
  REQUIRE(kernel_has_tcx() == (major > 6 || (major == 6 && minor >= 6)));
}

}  // namespace
}  // namespace tombolo::bpf
