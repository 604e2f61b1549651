// What policy costs a packet: BPF_PROG_TEST_RUN of the real program with the real tables, less an
// empty program in the same rounds. New flows (each run another source port, so that each makes an
// entry) and established ones (1,024 in turn), IPv4 and IPv6, with 10 to 10,000 rules and 4,096
// addresses. Beside it, for IPv4, a list of as many rules that is read from its beginning (without
// any memory of flows); the packet's is the last. Best and median of the rounds, which are
// interleaved; the goals are for the best, the one that the rest of the machine disturbed least.
// Output: lines "goal: NAME = VALUE UNIT (bound …) ok".
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bpf/guard.h"
#include "bpf/libbpf_api.h"
#include "bpf/policy/packets.h"
#include "bpf/test_peers.h"
#include "bpf/test_world.h"
#include "tests/bench/datapath/driver.skel.h"

namespace tombolo::bpf {
namespace {

constexpr int kRounds = 31;
constexpr __u32 kNewFlows = 20000;
constexpr __u32 kEstablished = 1024;
constexpr int kEstablishedRuns = 100000;
constexpr int kLinearRounds = 5;
constexpr int kLinearRuns = 5000;
constexpr std::uint32_t kPeers = 4096;
constexpr std::uint32_t kFirstPort = 1000;

void must(const Result<void>& done) {
  if (done) return;
  fmt::print(stderr, "bench_datapath: {}\n", done.error().text());
  std::exit(1);
}

void goal(const std::string& name, double value, const char* unit, double bound) {
  fmt::print("goal: {} = {:.1f} {} (bound <= {:g}) {}\n", name, value, unit, bound,
             value <= bound ? "ok" : "short");
}

// `rules` different rules: as many peer classes times as many ports.
VerdictSet set_of(std::uint32_t rules) {
  auto peers = static_cast<std::uint32_t>(std::ceil(std::sqrt(rules)));
  std::uint32_t ports = (rules + peers - 1) / peers;
  VerdictSet set;
  set.id = fmt::format("{:032x}", rules);
  set.direction = PolicyDirection::kEgress;
  set.peer_classes.push_back(0);
  for (std::uint32_t i = 1; i <= kPeers; ++i)
    set.peer_classes.push_back(static_cast<std::uint16_t>(1 + i % peers));
  set.port_class_count = static_cast<std::uint16_t>(ports + 1);
  set.ports = {{0, 0, 65535, 0}, {6, 0, kFirstPort - 1, 0}};
  for (std::uint32_t i = 0; i < ports; ++i) {
    auto port = static_cast<Port>(kFirstPort + i);
    set.ports.push_back({6, port, port, static_cast<std::uint16_t>(1 + i)});
  }
  set.ports.push_back({6, static_cast<Port>(kFirstPort + ports), 65535, 0});
  set.ports.push_back({17, 0, 65535, 0});
  set.ports.push_back({132, 0, 65535, 0});
  RuleNumber rule = 1;
  set.verdicts.assign(std::size_t{peers + 1} * set.port_class_count, 0);
  for (std::uint32_t peer = 1; peer <= peers; ++peer)
    for (std::uint32_t port = 1; port <= ports; ++port)
      set.verdicts[peer * set.port_class_count + port] = kVerdictAllow | rule++;
  return set;
}

Ip peer_ip(bool v6, std::uint32_t number) {
  return v6 ? Ip::v6((uint128{0xfd000000} << 96) | number) : Ip::v4(0x0a010000U + number);
}

class Bench {
 public:
  Bench() {
    GuardSettings settings;
    settings.bpffs_root = world_.settings().bpffs_root;
    auto opened = Guard::open(settings, *clock_, Logger());
    if (!opened) must(std::unexpected(opened.error()));
    guard_ = std::move(*opened);
    driver_ = driver_bpf__open_and_load();
    ENSURE(driver_ != nullptr);
    must(run_now(guard_->attach("lo", ips())));
    for (std::uint32_t i = 1; i <= kPeers; ++i)
      for (bool v6 : {false, true})
        must(guard_->maps().put_peer({Prefix::host(peer_ip(v6, i)), i, i}));
    must(guard_->maps().bump_generation());
  }
  ~Bench() { driver_bpf__destroy(driver_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  void use_rules(std::uint32_t rules) {
    VerdictSet set = set_of(rules);
    must(guard_->maps().put_set(set));
    GuardedPod pod{"bench/eth0", "lo", "bench/pod", ips(), 7, "", set.id};
    must(guard_->maps().put_pod(pod));
    // None fits but the last, which allows what is sent to peer 1.
    driver_->bss->rule_count = rules;
    for (std::uint32_t i = 0; i < rules; ++i) {
      bool last = i + 1 == rules;
      std::uint64_t address = last ? 0x0a010001U : 0x0b000000U + i;
      driver_->bss->rules[i] = address << 32 | std::uint64_t{kFirstPort} << 16 | 1;
    }
  }

  struct Costs {
    std::vector<double> floor, fresh, established, linear;
  };
  Costs measure(bool v6) {
    Costs costs;
    // Once, so that the flows are there.
    std::string open_frame = frame(v6, 1, 2);
    std::string middle_frame = frame(v6, 1, 16);
    drive(open_frame, v6, kEstablished - 1, kEstablished, policy());
    for (int round = 0; round < kRounds; ++round) {
      auto peer = static_cast<std::uint32_t>(2 + next_peer_++ % (kPeers - 1));
      costs.floor.push_back(drive(middle_frame, v6, kEstablished - 1, kEstablishedRuns, 0));
      costs.fresh.push_back(drive(frame(v6, peer, 2), v6, 0xffff, kNewFlows, policy()));
      costs.established.push_back(
          drive(middle_frame, v6, kEstablished - 1, kEstablishedRuns, policy()));
      if (!v6 && round < kLinearRounds)
        costs.linear.push_back(drive(middle_frame, v6, kEstablished - 1, kLinearRuns,
                                     bpf_program__fd(driver_->progs.linear)));
    }
    return costs;
  }
  std::uint64_t counter(std::string_view name) {
    auto stats = run_now(guard_->stats());
    ENSURE(stats.has_value());
    auto found = std::ranges::find(*stats, name, &GuardCounter::name);
    return found == stats->end() ? 0 : found->value;
  }

 private:
  static std::vector<Ip> ips() {
    return {Ip::parse("10.0.0.2").value(), Ip::parse("fd00::aaaa").value()};
  }
  static std::string frame(bool v6, std::uint32_t peer, std::uint8_t flags) {
    return bytes_of({.source = v6 ? "fd00::aaaa" : "10.0.0.2",
                     .destination = peer_ip(v6, peer).str(),
                     .destination_port = kFirstPort,
                     .tcp_flags = flags});
  }
  int policy() const { return guard_->program_fd("from_pod"); }
  // ns per run; without a program (0) the floor.
  double drive(const std::string& bytes, bool v6, __u32 mask, int runs, int program) {
    __u32 zero = 0;
    int map = bpf_map__fd(driver_->maps.measured);
    bpf_map_delete_elem(map, &zero);
    if (program != 0) ENSURE(bpf_map_update_elem(map, &zero, &program, BPF_ANY) == 0);
    driver_->bss->run = 0;
    driver_->bss->port_mask = mask;
    driver_->bss->port_offset = v6 ? 54 : 34;
    __sk_buff context{};
    context.ifindex = 1;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bytes.data(),
                .data_size_in = static_cast<__u32>(bytes.size()), .ctx_in = &context,
                .ctx_size_in = sizeof(context), .repeat = runs);
    ENSURE(bpf_prog_test_run_opts(bpf_program__fd(driver_->progs.drive), &options) == 0);
    int verdict = static_cast<int>(options.retval);
    ENSURE(verdict == (program != 0 ? -1 : 0), "verdict {}", verdict);
    return options.duration;
  }

  TestWorld world_;
  std::unique_ptr<Clock> clock_ = make_system_clock();
  std::unique_ptr<Guard> guard_;
  driver_bpf* driver_ = nullptr;
  std::uint32_t next_peer_ = 0;
};

double best(std::vector<double> values) {
  return std::ranges::min(values);
}
double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int run() {
  if (auto missing = TestWorld::missing()) {
    fmt::print(stderr, "bench_datapath: missing: {}\n", *missing);
    return 1;
  }
  Bench bench;
  double worst_new = 0, worst_old = 0, new_growth = 0, old_growth = 0;
  for (bool v6 : {false, true}) {
    std::vector<double> news, olds;
    for (std::uint32_t rules : {10U, 100U, 1000U, 10000U}) {
      bench.use_rules(rules);
      Bench::Costs costs = bench.measure(v6);
      double fresh = best(costs.fresh) - best(costs.floor);
      double established = best(costs.established) - best(costs.floor);
      fmt::print(
          "{} {:>6} rules: new {:6.1f} ns (median {:6.1f}), established {:6.1f} ns (median "
          "{:6.1f}), floor {:.1f} ns\n",
          v6 ? "IPv6" : "IPv4", rules, fresh, median(costs.fresh) - median(costs.floor),
          established, median(costs.established) - median(costs.floor), best(costs.floor));
      if (!v6)
        fmt::print("     {:>6} rules in a list: {:.1f} ns a packet\n", rules,
                   best(costs.linear) - best(costs.floor));
      news.push_back(fresh);
      olds.push_back(established);
    }
    worst_new = std::max(worst_new, std::ranges::max(news));
    worst_old = std::max(worst_old, std::ranges::max(olds));
    new_growth = std::max(new_growth, std::ranges::max(news) / news.front());
    old_growth = std::max(old_growth, std::ranges::max(olds) / olds.front());
  }
  fmt::print("flows made: {}, of which gave way: {}\n", bench.counter("new_flows"),
             bench.counter("flows_evicted"));
  goal("policy_new_flow", worst_new, "ns over the empty program", 250);
  goal("policy_established", worst_old, "ns over the empty program", 150);
  goal("policy_new_flow_growth", new_growth, "times from 10 rules to the worst", 1.5);
  goal("policy_established_growth", old_growth, "times from 10 rules to the worst", 1.5);
  return 0;
}

}  // namespace
}  // namespace tombolo::bpf

int main() {
  return tombolo::bpf::run();
}
