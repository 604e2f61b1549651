// What load balancing at the socket costs a connect(), and how long a changed service takes to
// reach the kernel. Three kinds of calls, interleaved, on loopback in a network namespace of their
// own: by sockets outside of the cgroup (no program runs), inside to an address that is no service
// (miss), inside to a service (hit; one of 1,000). Medians over rounds. Output: lines "goal: NAME =
// VALUE UNIT (bound …) ok".
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "bpf/test_peers.h"
#include "bpf/test_world.h"

namespace tombolo::bpf {
namespace {

constexpr int kServices = 1000;
constexpr int kRounds = 201;
constexpr int kUdpCalls = 1000;
constexpr int kTcpCalls = 100;
constexpr int kUpdates = 400;
constexpr int kBackendsPerService = 100;

using Nanoseconds = std::chrono::duration<double, std::nano>;

double since(std::chrono::steady_clock::time_point begin) {
  return Nanoseconds(std::chrono::steady_clock::now() - begin).count();
}

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void goal(const char* name, double value, const char* unit, double bound) {
  fmt::print("goal: {} = {:.1f} {} (bound <= {:g}) {}\n", name, value, unit, bound,
             value <= bound ? "ok" : "short");
}

Frontend service(int number, Protocol protocol, int backends) {
  Frontend row;
  row.name_space = "bench";
  row.name = fmt::format("{}-{}", to_string(protocol), number);
  row.cluster_ips = {Ip::v4(0x0a600000U + static_cast<std::uint32_t>(number))};
  row.ports = {{"p", protocol, 80}};
  for (int i = 0; i < backends; ++i) {
    Backend backend;
    backend.ip = Ip::v4(0x7f000002U + static_cast<std::uint32_t>(i));
    backend.port = 8080;
    backend.protocol = protocol;
    backend.port_name = "p";
    row.backends.push_back(backend);
  }
  return row;
}

// A socket that belongs to `cgroup`: the kernel decides that when the socket is made.
std::vector<Descriptor> sockets_in(const std::string& cgroup, int type, int count) {
  enter_cgroup(cgroup);
  std::vector<Descriptor> sockets;
  for (int i = 0; i < count; ++i) {
    sockets.emplace_back(socket(AF_INET, type | SOCK_CLOEXEC, 0));
    linger hard{.l_onoff = 1, .l_linger = 0};
    if (type == SOCK_STREAM)
      setsockopt(sockets.back().get(), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  }
  return sockets;
}

void connect_or_die(int fd, SocketAddress& to) {
  if (connect(fd, to.get(), to.length) == 0) return;
  fmt::print(stderr, "connect: {}\n", std::strerror(errno));
  std::exit(1);
}

struct Kind {
  const char* name;
  std::string cgroup;
  SocketAddress to;
  std::vector<double> rounds{};  // ns per call
};

// The median over rounds of what a kind took more than the first kind in the same round: what else
// the machine does changes from round to round.
double added(const std::vector<Kind>& kinds, std::size_t which) {
  std::vector<double> more;
  for (std::size_t i = 0; i < kinds[which].rounds.size(); ++i)
    more.push_back(kinds[which].rounds[i] - kinds[0].rounds[i]);
  return quantile(more, 0.5);
}

void report(const char* what, const std::vector<Kind>& kinds) {
  for (std::size_t i = 0; i < kinds.size(); ++i)
    fmt::print("{} {:<5} median {:8.1f} ns, best {:8.1f} ns, {:+7.1f} ns\n", what, kinds[i].name,
               quantile(kinds[i].rounds, 0.5), quantile(kinds[i].rounds, 0), added(kinds, i));
}

void measure_udp(std::vector<Kind> kinds) {
  std::vector<std::vector<Descriptor>> sockets;
  for (const Kind& kind : kinds) sockets.push_back(sockets_in(kind.cgroup, SOCK_DGRAM, 1));
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      auto begin = std::chrono::steady_clock::now();
      for (int call = 0; call < kUdpCalls; ++call) connect_or_die(sockets[i][0].get(), kinds[i].to);
      kinds[i].rounds.push_back(since(begin) / kUdpCalls);
    }
  }
  report("udp connect", kinds);
  goal("connect_udp_miss_added", added(kinds, 1), "ns", 150);
  goal("connect_udp_hit_added", added(kinds, 2), "ns", 600);
}

void measure_tcp(std::vector<Kind> kinds, int listener) {
  for (int round = 0; round < kRounds; ++round) {
    for (Kind& kind : kinds) {
      auto sockets = sockets_in(kind.cgroup, SOCK_STREAM, kTcpCalls);
      auto begin = std::chrono::steady_clock::now();
      for (const Descriptor& fd : sockets) connect_or_die(fd.get(), kind.to);
      kind.rounds.push_back(since(begin) / kTcpCalls);
      for (int i = 0; i < kTcpCalls; ++i) Descriptor(accept(listener, nullptr, nullptr));
    }
  }
  report("tcp connect", kinds);
  goal("connect_tcp_hit_added", added(kinds, 2), "ns", 1500);
}

void measure_updates(LoadBalancer& balancer) {
  asio::io_context context;
  std::vector<double> took;
  auto task = [&](Selection selection) -> asio::awaitable<void> {
    for (int i = 0; i < kUpdates; ++i) {
      Frontend row = service(7, Protocol::kUdp, kBackendsPerService - i % 2);
      row.selection = selection;
      auto begin = std::chrono::steady_clock::now();
      auto done = co_await balancer.operations().update(std::move(row));
      took.push_back(since(begin) / 1000);
      ENSURE(done.has_value());
    }
  };
  for (Selection selection : {Selection::kRandom, Selection::kMaglev}) {
    took.clear();
    context.restart();
    asio::co_spawn(context, task(selection),
                   [](std::exception_ptr error) { ENSURE(error == nullptr); });
    context.run();
    bool random = selection == Selection::kRandom;
    fmt::print("row to map, {} of {} backends: median {:.1f} us, p99 {:.1f} us\n",
               random ? "random" : "maglev", kBackendsPerService, quantile(took, 0.5),
               quantile(took, 0.99));
    goal(random ? "row_to_map_random_p50" : "row_to_map_maglev_p50", quantile(took, 0.5), "us",
         random ? 200 : 2000);
  }
}

int run() {
  if (auto missing = TestWorld::missing()) {
    fmt::print(stderr, "bench_connect: missing: {}\n", *missing);
    return 1;
  }
  TestWorld world;
  auto clock = make_system_clock();
  auto opened = LoadBalancer::open(world.settings(), *clock, Logger());
  if (!opened) {
    fmt::print(stderr, "bench_connect: {}\n", opened.error().text());
    return 1;
  }
  LoadBalancer& balancer = **opened;
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kServices; ++i)
    for (Protocol protocol : {Protocol::kUdp, Protocol::kTcp})
      ENSURE(run_now(balancer.operations().update(service(i, protocol, 3))).has_value());
  fmt::print("{} services written in {:.1f} ms\n", 2 * kServices, since(begin) / 1e6);

  Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress any = to_sockaddr({Ip::v4(0), 8080}, AF_INET);
  ENSURE(bind(listener.get(), any.get(), any.length) == 0);
  ENSURE(listen(listener.get(), 4096) == 0);
  SocketAddress backend = to_sockaddr({Ip::v4(0x7f000002U), 8080}, AF_INET);
  SocketAddress address = to_sockaddr({Ip::v4(0x0a600000U + kServices / 2), 80}, AF_INET);
  const std::string& inside = world.settings().cgroup_root;
  std::vector<Kind> kinds{{"none", world.parent_cgroup(), backend},
                          {"miss", inside, backend},
                          {"hit", inside, address}};
  measure_udp(kinds);
  measure_tcp(kinds, listener.get());
  measure_updates(balancer);
  enter_cgroup(inside);  // where the world expects this process
  SocketStats stats = run_now(balancer.stats()).value();
  fmt::print("translated {}, miss {}, stale {}\n", stats.translated, stats.miss, stats.stale);
  return 0;
}

}  // namespace
}  // namespace tombolo::bpf

int main() {
  return tombolo::bpf::run();
}
