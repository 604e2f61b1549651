// Packets through the real programs by BPF_PROG_TEST_RUN, with the maps of a Guard: what is
// allowed, what is not, and for which reason.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "bpf/policy/test_rig.h"

namespace tombolo::bpf {
namespace {

using Catch::Generators::values;

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
  auto event = rig.told(FlowReason::kRevoked);
  REQUIRE(event.has_value());
  REQUIRE(event->rule == 9);
  REQUIRE(event->source == Endpoint::parse("10.0.0.1:40000").value());
  // Answers, too: both directions are one flow.
  REQUIRE(!rig.from_pod(answer(frame)));
}

TEST_CASE("closed until the pod is known; ARP and neighbours pass") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  Frame frame{.source = "10.0.0.3"};
  REQUIRE(!rig.to_pod(frame));
  REQUIRE(rig.told(FlowReason::kClosed).has_value());
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
  REQUIRE(rig.told(FlowReason::kSourceRefused).has_value());
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
  REQUIRE(rig.told(FlowReason::kFragment).has_value());
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
  REQUIRE(rig.told(FlowReason::kIcmpError).has_value());
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
  Rig rig(GENERATE(values({Hook::kAuto, Hook::kClsact})));
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

// The kernel has 256 ports in an entry; where a span begins or ends inside, a page.
TEST_CASE("spans of ports begin and end anywhere") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  VerdictSet set = sample_set(PolicyDirection::kIngress, std::string(32, '3'));
  set.ports = {{0, 0, 65535, 0},   {6, 0, 249, 0},      {6, 250, 1030, 1},
               {6, 1031, 1031, 0}, {6, 1032, 1279, 1},  {6, 1280, 1535, 0},
               {6, 1536, 2047, 1}, {6, 2048, 65279, 0}, {6, 65280, 65535, 1},
               {17, 0, 65535, 1},  {132, 0, 65534, 0},  {132, 65535, 65535, 1}};
  REQUIRE(rig.maps().put_set(set));
  rig.put_pod(set.id, "");
  auto allowed = [&](std::uint8_t protocol, std::uint32_t port) {
    return std::ranges::any_of(set.ports, [&](const PortSpan& span) {
      return span.protocol == protocol && span.first <= port && port <= span.last &&
             span.port_class == 1;
    });
  };
  for (std::uint8_t protocol : std::array<std::uint8_t, 3>{6, 17, 132})
    for (const PortSpan& span : set.ports)
      for (std::uint32_t port :
           {span.first - 1U, std::uint32_t{span.first}, std::uint32_t{span.last}, span.last + 1U}) {
        if (port > 65535) continue;
        Frame frame{.source = "10.0.0.1",
                    .protocol = protocol,
                    .destination_port = static_cast<Port>(port)};
        INFO(int{protocol} << " port " << port);
        REQUIRE(rig.to_pod(frame) == allowed(protocol, port));
      }
}

TEST_CASE("in a full table the flows that rest longest give way, and connections go on") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  constexpr Port kFirst = 40000;
  constexpr Port kFlows = 6000;
  REQUIRE(kFlows > small_sizes().flows);
  for (Port i = 0; i < kFlows; ++i)
    if (!rig.to_pod({.source = "10.0.0.1", .source_port = static_cast<Port>(kFirst + i)})) FAIL(i);
  std::uint64_t evicted = 0;
  auto stats = run_now(rig.guard->stats());
  REQUIRE(stats.has_value());
  for (const GuardCounter& counter : *stats)
    if (counter.name == "flows_evicted") evicted = counter.value;
  REQUIRE(evicted >= kFlows - small_sizes().flows);
  for (Port i = 0; i < kFlows; ++i) {
    Frame middle{
        .source = "10.0.0.1", .source_port = static_cast<Port>(kFirst + i), .tcp_flags = 16};
    if (!rig.to_pod(middle)) FAIL(i);
  }
}

// The limit is a million; older kernels walk more of the same program than newer ones.
TEST_CASE("the verifier's walk through the programs stays short") {
  NEED_WORLD();
  Rig rig;
  for (std::string_view name : {"from_pod", "to_pod"}) {
    bpf_prog_info info{};
    __u32 size = sizeof(info);
    REQUIRE(bpf_prog_get_info_by_fd(rig.guard->program_fd(name), &info, &size) == 0);
    INFO(name << ": " << info.verified_insns);
    REQUIRE(info.verified_insns < 50'000);
  }
}

}  // namespace
}  // namespace tombolo::bpf
