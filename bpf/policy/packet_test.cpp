// Packets through the real programs by BPF_PROG_TEST_RUN, with the maps of a Guard: what is
// allowed, what is not, and for which reason.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "bpf/guard.h"
#include "bpf/libbpf_api.h"
#include "bpf/policy/packets.h"
#include "bpf/test_peers.h"
#include "bpf/test_world.h"

namespace tombolo::bpf {
namespace {

using Catch::Generators::values;

#define NEED_WORLD()                                                        \
  do {                                                                      \
    if (auto missing = TestWorld::missing()) SKIP("missing: " << *missing); \
  } while (false)

constexpr int kLoopback = 1;    // stands for the host's end of the pod's veth
constexpr int kElsewhere = 77;  // where a forwarded packet came in

PolicyPeer peer(std::string_view prefix, std::uint32_t number) {
  return {Prefix::parse(prefix).value(), number, 1000 + number};
}

// Peer 1 may use TCP 80 to 89 and UDP 53, peer 2 everything, the others nothing.
VerdictSet sample_set(PolicyDirection direction, const std::string& id) {
  VerdictSet set;
  set.id = id;
  set.direction = direction;
  set.peer_classes = {0, 1, 2};
  set.ports = {{0, 0, 65535, 0}, {6, 0, 79, 0},   {6, 80, 89, 1},     {6, 90, 65535, 0},
               {17, 0, 52, 0},   {17, 53, 53, 1}, {17, 54, 65535, 0}, {132, 0, 65535, 0}};
  set.port_class_count = 2;
  set.verdicts = {9, 9, 9, kVerdictAllow | 1, kVerdictAllow | 2, kVerdictAllow | 2};
  set.otherwise = 9;
  return set;
}
const std::string kIngress(32, '1');
const std::string kEgress(32, '2');

// One pod, 10.0.0.2 and fd00::2, behind lo.
struct Rig {
  TestWorld world;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Guard> guard;

  Rig() {
    open();
    must(run_now(guard->attach("lo", ips())));
  }
  static std::vector<Ip> ips() {
    return {Ip::parse("10.0.0.2").value(), Ip::parse("fd00::2").value()};
  }
  static void must(const Result<void>& done) {
    INFO((done ? "" : done.error().text()));
    REQUIRE(done.has_value());
  }
  void open() {
    GuardSettings settings;
    settings.bpffs_root = world.settings().bpffs_root;
    auto opened = Guard::open(settings, *clock, Logger());
    INFO((opened ? "" : opened.error().text()));
    REQUIRE(opened.has_value());
    guard = std::move(*opened);
  }
  PolicyMaps& maps() { return guard->maps(); }
  void fill() {
    for (RuleNumber number : {1U, 2U, 9U}) must(maps().put_rule(number, 100 + number));
    must(maps().put_set(sample_set(PolicyDirection::kIngress, kIngress)));
    must(maps().put_set(sample_set(PolicyDirection::kEgress, kEgress)));
    for (const PolicyPeer& row :
         {peer("10.0.0.1/32", 1), peer("10.0.0.3/32", 2), peer("192.168.0.0/16", 2),
          peer("192.168.7.0/24", 0), peer("fd00::1/128", 1), peer("fd00:1::/32", 2)})
      must(maps().put_peer(row));
    must(maps().bump_generation());
  }
  void put_pod(const std::string& ingress, const std::string& egress) {
    GuardedPod pod{"c/eth0", "lo", "shop/web", ips(), 555, ingress, egress};
    must(maps().put_pod(pod));
  }
  // True: it may pass.
  bool run(const std::string& bytes, bool from_pod, int came_in = kElsewhere) {
    __sk_buff context{};
    context.ifindex = kLoopback;
    context.ingress_ifindex = static_cast<__u32>(came_in);
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bytes.data(),
                .data_size_in = static_cast<__u32>(bytes.size()), .ctx_in = &context,
                .ctx_size_in = sizeof(context), .repeat = 1);
    int error =
        bpf_prog_test_run_opts(guard->program_fd(from_pod ? "from_pod" : "to_pod"), &options);
    INFO("BPF_PROG_TEST_RUN: " << error);
    REQUIRE(error == 0);
    auto verdict = static_cast<int>(options.retval);
    REQUIRE((verdict == -1 || verdict == 2));
    return verdict == -1;
  }
  bool to_pod(const Frame& frame) { return run(bytes_of(frame), false); }
  bool from_pod(const Frame& frame) { return run(bytes_of(frame), true); }
  FlowEvent last_event() {
    static constexpr auto kLimit = std::chrono::seconds(5);
    std::uint64_t after = 0;
    FlowEvent event;
    while (guard->wait_flows(after, after == 0 ? kLimit : Duration{})) {
      FlowPage page = guard->flows(after, 1000);
      event = page.events.back();
      after = page.last;
    }
    return event;
  }
};

Frame answer(const Frame& frame) {
  Frame back = frame;
  std::swap(back.source, back.destination);
  std::swap(back.source_port, back.destination_port);
  back.tcp_flags = 18;
  back.icmp_type = frame.protocol == 58 ? 129 : 0;
  return back;
}

TEST_CASE("who may begin a flow with an isolated pod") {
  NEED_WORLD();
  struct Case {
    std::string name;
    Frame frame;
    bool allowed;
  };
  auto c = GENERATE(values<Case>({
      {"the first port of a range", {.source = "10.0.0.1", .destination_port = 80}, true},
      {"the last", {.source = "10.0.0.1", .destination_port = 89}, true},
      {"one after", {.source = "10.0.0.1", .destination_port = 90}, false},
      {"UDP is not TCP", {.source = "10.0.0.1", .protocol = 17}, false},
      {"its UDP port", {.source = "10.0.0.1", .protocol = 17, .destination_port = 53}, true},
      {"SCTP is not TCP", {.source = "10.0.0.1", .protocol = 132}, false},
      {"ICMP has no port", {.source = "10.0.0.1", .protocol = 1}, false},
      {"everything: ICMP", {.source = "10.0.0.3", .protocol = 1}, true},
      {"everything: GRE", {.source = "10.0.0.3", .protocol = 47, .payload = "12345678"}, true},
      {"nobody", {.source = "10.0.0.4"}, false},
      {"a range", {.source = "192.168.1.1", .destination_port = 7}, true},
      {"the longer range wins", {.source = "192.168.7.1", .destination_port = 7}, false},
      {"IPv6", {.source = "fd00::1", .destination = "fd00::2"}, true},
      {"IPv6, another port",
       {.source = "fd00::1", .destination = "fd00::2", .destination_port = 8},
       false},
      {"IPv6, a range",
       {.source = "fd00:1::9", .destination = "fd00::2", .protocol = 58, .icmp_type = 128},
       true},
      {"a header that ends early", {.source = "10.0.0.3", .cut = 10}, false},
  }));
  INFO(c.name);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  REQUIRE(rig.to_pod(c.frame) == c.allowed);
  // The same by the pod's egress rules.
  Frame out = c.frame;
  std::swap(out.source, out.destination);
  rig.put_pod("", kEgress);
  out.source_port = 41000;
  REQUIRE(rig.from_pod(out) == c.allowed);
}

TEST_CASE("answers pass, whatever the rules of the other direction say") {
  NEED_WORLD();
  auto frame = GENERATE(values<Frame>({
      {.source = "10.0.0.1"},
      {.source = "10.0.0.1", .protocol = 17, .destination_port = 53},
      {.source = "10.0.0.3", .protocol = 1, .source_port = 7, .destination_port = 7},
      {.source = "fd00::1", .destination = "fd00::2"},
  }));
  Rig rig;
  rig.fill();
  VerdictSet nothing = sample_set(PolicyDirection::kEgress, std::string(32, '3'));
  nothing.peer_classes = {0, 0, 0};
  Rig::must(rig.maps().put_set(nothing));
  rig.put_pod(kIngress, nothing.id);
  REQUIRE(rig.to_pod(frame));
  REQUIRE(rig.from_pod(answer(frame)));
  Frame own = answer(frame);
  own.tcp_flags = 2;
  own.source_port = 5000;
  own.icmp_type = 8;
  REQUIRE(!rig.from_pod(own));
}

TEST_CASE("an allowed flow ends when its rule does") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  Frame frame{.source = "10.0.0.1"};
  REQUIRE(rig.to_pod(frame));
  Frame middle = frame;
  middle.tcp_flags = 16;
  REQUIRE(rig.to_pod(middle));

  SECTION("the pod gets another set") {
    VerdictSet set = sample_set(PolicyDirection::kIngress, std::string(32, '4'));
    set.peer_classes = {0, 0, 2};
    Rig::must(rig.maps().put_set(set));
    rig.put_pod(set.id, "");
  }
  SECTION("the other end becomes another peer") {
    Rig::must(rig.maps().put_peer(peer("10.0.0.1/32", 0)));
    Rig::must(rig.maps().bump_generation());
  }
  REQUIRE(!rig.to_pod(middle));
  FlowEvent event = rig.last_event();
  REQUIRE(event.reason == FlowReason::kRevoked);
  REQUIRE(event.rule == 9);
  REQUIRE(event.source == Endpoint::parse("10.0.0.1:40000").value());
  // Answers, too: both directions are one flow.
  REQUIRE(!rig.from_pod(answer(frame)));
}

TEST_CASE("closed until the pod is known; ARP and neighbours pass") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  Frame frame{.source = "10.0.0.3"};
  REQUIRE(!rig.to_pod(frame));
  REQUIRE(rig.last_event().reason == FlowReason::kClosed);
  REQUIRE(!rig.from_pod(answer(frame)));
  REQUIRE(rig.run(other_frame(0x0806, std::string(28, '\0')), true));
  REQUIRE(rig.run(other_frame(0x0806, std::string(28, '\0')), false));
  Frame solicitation{
      .source = "fe80::2", .destination = "ff02::1:ff00:1", .protocol = 58, .icmp_type = 135};
  REQUIRE(rig.from_pod(solicitation));
  solicitation.source = "fd00::9";
  REQUIRE(!rig.from_pod(solicitation));
  REQUIRE(!rig.run(other_frame(0x88cc, std::string(40, 'x')), true));
  rig.put_pod("", "");
  REQUIRE(rig.to_pod(frame));
  REQUIRE(rig.run(other_frame(0x88cc, std::string(40, 'x')), true));
}

TEST_CASE("a pod uses its own addresses only") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod("", "");
  REQUIRE(rig.from_pod({.source = "10.0.0.2", .destination = "10.0.0.9"}));
  REQUIRE(rig.from_pod({.source = "fd00::2", .destination = "fd00::9"}));
  REQUIRE(!rig.from_pod({.source = "10.0.0.7", .destination = "10.0.0.9"}));
  REQUIRE(!rig.from_pod({.source = "fd00::7", .destination = "fd00::9"}));
  REQUIRE(rig.last_event().reason == FlowReason::kSourceRefused);
}

TEST_CASE("the pod's own node always reaches it, and is answered") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame probe{.source = "10.0.0.254", .destination_port = 9999};
  REQUIRE(!rig.run(bytes_of(probe), false, kElsewhere));
  REQUIRE(rig.run(bytes_of(probe), false, 0));
  REQUIRE(rig.from_pod(answer(probe)));
  Rig::must(rig.maps().bump_generation());
  REQUIRE(rig.from_pod(answer(probe)));
}

TEST_CASE("fragments follow their first") {
  NEED_WORLD();
  auto v6 = GENERATE(false, true);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  Frame first{.source = v6 ? "fd00::1" : "10.0.0.1",
              .destination = v6 ? "fd00::2" : "10.0.0.2",
              .protocol = 17,
              .destination_port = 53,
              .payload = std::string(64, 'x'),
              .fragment_id = 7,
              .more_fragments = true};
  Frame later = first;
  later.fragment_offset = 9;
  later.more_fragments = false;
  REQUIRE(!rig.to_pod(later));
  REQUIRE(rig.last_event().reason == FlowReason::kFragment);
  REQUIRE(rig.to_pod(first));
  REQUIRE(rig.to_pod(later));
  later.fragment_id = 8;
  REQUIRE(!rig.to_pod(later));
  first.destination_port = 54;
  first.fragment_id = 9;
  later.fragment_id = 9;
  REQUIRE(!rig.to_pod(first));
  REQUIRE(!rig.to_pod(later));
}

TEST_CASE("ICMP errors pass when they are about a known flow") {
  NEED_WORLD();
  auto v6 = GENERATE(false, true);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame out{.source = v6 ? "fd00::2" : "10.0.0.2", .destination = v6 ? "fd00::1" : "10.0.0.1"};
  auto error = [&](const Frame& about) {
    return Frame{.source = v6 ? "fd00::99" : "10.0.0.99",
                 .destination = about.source,
                 .protocol = static_cast<std::uint8_t>(v6 ? 58 : 1),
                 .icmp_type = static_cast<std::uint8_t>(v6 ? 1 : 3),
                 .payload = packet_of(about)};
  };
  REQUIRE(!rig.to_pod(error(out)));
  REQUIRE(rig.last_event().reason == FlowReason::kIcmpError);
  REQUIRE(rig.from_pod(out));
  REQUIRE(rig.to_pod(error(out)));
  Frame other = out;
  other.destination_port = 81;
  REQUIRE(!rig.to_pod(error(other)));
}

TEST_CASE("a connection that was there before is judged by its rules from the middle") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  VerdictSet nothing = sample_set(PolicyDirection::kEgress, std::string(32, '3'));
  nothing.peer_classes = {0, 0, 0};
  Rig::must(rig.maps().put_set(nothing));
  rig.put_pod(kIngress, nothing.id);
  // The pod's answer comes first: its question would be allowed.
  Frame answer_first{.source = "10.0.0.2",
                     .destination = "10.0.0.1",
                     .source_port = 80,
                     .destination_port = 40000,
                     .tcp_flags = 16};
  REQUIRE(rig.from_pod(answer_first));
  answer_first.source_port = 99;
  REQUIRE(!rig.from_pod(answer_first));
}

TEST_CASE("what one end never let in does not stop it from asking") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  Frame in{.source = "10.0.0.1", .protocol = 17, .source_port = 53, .destination_port = 7};
  REQUIRE(!rig.to_pod(in));
  REQUIRE(rig.from_pod(answer(in)));
  REQUIRE(rig.to_pod(in));
}

TEST_CASE("counters per rule are exact, and all of it outlives the daemon") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  for (Port port = 1; port <= 5; ++port) {
    REQUIRE(rig.to_pod({.source = "10.0.0.1", .source_port = port}));
    REQUIRE(rig.to_pod({.source = "10.0.0.1", .source_port = port, .tcp_flags = 16}));
    REQUIRE(!rig.to_pod({.source = "10.0.0.4", .source_port = port}));
  }
  auto check = [&rig] {
    auto counters = run_now(rig.guard->rule_counters());
    REQUIRE(counters);
    REQUIRE(counters->size() == 2);
    REQUIRE((counters->at(0).rule == 1 && counters->at(0).flows == 5));
    REQUIRE((counters->at(0).packets == 10 && counters->at(0).bytes == 10 * 54));
    REQUIRE((counters->at(1).rule == 9 && counters->at(1).packets == 5));
  };
  check();
  auto before = rig.maps().in_force().value();
  rig.guard.reset();
  rig.open();
  auto after = rig.maps().in_force().value();
  REQUIRE(after.pods == before.pods);
  REQUIRE(after.pods.at(0).open);
  // A set that no pod had is not kept.
  REQUIRE(after.sets == std::vector<std::string>{kIngress});
  REQUIRE(after.peers == before.peers);
  REQUIRE(rig.guard->rules() == before.rules);
  check();
  REQUIRE(rig.to_pod({.source = "10.0.0.1", .source_port = 1, .tcp_flags = 16}));
  REQUIRE(!rig.to_pod({.source = "10.0.0.4", .source_port = 1}));
}

}  // namespace
}  // namespace tombolo::bpf
