// What a pod or a peer might try to get past policy with packets that look like the middle, the
// answer or the debris of an allowed flow. Every case here must be refused.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "bpf/policy/test_rig.h"

namespace tombolo::bpf {
namespace {

using Catch::Generators::values;

constexpr std::uint8_t kSyn = 2;
constexpr std::uint8_t kAck = 16;

TEST_CASE("a stray ACK opens no way for a SYN") {
  NEED_WORLD();
  struct Case {
    std::string name;
    Port source_port;
    Port destination_port;
  };
  auto c = GENERATE(values<Case>({
      {"from a client's port to a service", 40000, 90},
      {"from a service's port to a client's", 80, 40000},
      {"both low", 1000, 90},
      {"both high", 40000, 50000},
  }));
  INFO(c.name);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");  // may begin whatever it likes
  Frame frame{.source = "10.0.0.4",
              .source_port = c.source_port,
              .destination_port = c.destination_port,
              .tcp_flags = kAck};
  rig.to_pod(frame);
  frame.tcp_flags = kSyn;
  REQUIRE(!rig.to_pod(frame));
}

TEST_CASE("a revoked connection is not begun again from its other end") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  Frame frame{.source = "10.0.0.1"};
  REQUIRE(rig.to_pod(frame));
  Rig::must(rig.maps().put_peer(peer("10.0.0.1/32", 0)));
  Rig::must(rig.maps().bump_generation());
  // The server goes on sending: it may begin flows, but this is not one of its own.
  Frame data = answer(frame);
  data.tcp_flags = kAck;
  REQUIRE(!rig.from_pod(data));
  frame.tcp_flags = kAck;
  REQUIRE(!rig.to_pod(frame));
  REQUIRE(!rig.from_pod(data));
}

TEST_CASE("the middle of a connection to a service is the service's to judge") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  // No entry: as after a revocation whose entry gave way to others.
  Frame data{.source = "10.0.0.2",
             .destination = "10.0.0.4",
             .source_port = 90,
             .destination_port = 40000,
             .tcp_flags = kAck};
  REQUIRE(!rig.from_pod(data));
}

TEST_CASE("an ICMP error about a revoked flow is refused") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame out{.source = "10.0.0.2", .destination = "10.0.0.1"};
  REQUIRE(rig.from_pod(out));
  Frame error{.source = "10.0.0.99",
              .destination = "10.0.0.2",
              .protocol = 1,
              .icmp_type = 3,
              .payload = packet_of(out)};
  REQUIRE(rig.to_pod(error));
  Rig::must(rig.maps().put_peer(peer("10.0.0.1/32", 0)));
  Rig::must(rig.maps().bump_generation());
  REQUIRE(!rig.to_pod(error));
}

TEST_CASE("a VLAN tag does not hide who sends") {
  NEED_WORLD();
  auto ethertype = GENERATE(std::uint16_t{0x8100}, std::uint16_t{0x88a8});
  Rig rig;
  rig.fill();
  rig.put_pod("", "");  // may talk to everybody, but only as itself
  std::string inner = bytes_of({.source = "10.0.0.77"}).substr(12);
  REQUIRE(!rig.run(other_frame(ethertype, std::string(2, '\0') + inner), true));
  REQUIRE(rig.told(FlowReason::kSourceRefused).has_value());
  rig.put_pod(kIngress, "");
  REQUIRE(!rig.run(other_frame(ethertype, std::string(2, '\0') + inner), false));
}

TEST_CASE("a refused first piece says nothing of those behind it") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod("", kEgress);
  Frame allowed{.source = "10.0.0.2",
                .destination = "10.0.0.1",
                .protocol = 17,
                .destination_port = 53,
                .payload = std::string(64, 'x'),
                .fragment_id = 7,
                .more_fragments = true};
  REQUIRE(rig.from_pod(allowed));
  // The same datagram, as a pod without the right to that port, or with another's address, tells
  // it.
  Frame denied = allowed;
  denied.destination_port = 54;
  REQUIRE(!rig.from_pod(denied));
  Frame later = allowed;
  later.fragment_offset = 9;
  later.more_fragments = false;
  REQUIRE(rig.from_pod(later));
  Frame forged = allowed;
  forged.source = "10.0.0.1";
  forged.destination = "10.0.0.2";
  REQUIRE(!rig.from_pod(forged));
  rig.put_pod(kIngress, "");
  later.source = forged.source;
  later.destination = forged.destination;
  REQUIRE(!rig.to_pod(later));
  REQUIRE(rig.told(FlowReason::kFragment).has_value());
}

TEST_CASE("a pod whose set is not there does not stay open") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod("", "");
  Frame frame{.source = "10.0.0.4", .destination_port = 90};
  REQUIRE(rig.to_pod(frame));
  const std::string missing(32, '9');
  GuardedPod pod{"c/eth0", "lo", "shop/web", Rig::ips(), 555, missing, ""};
  REQUIRE(rig.maps().put_pod(pod).error().code == Code::kFailedPrecondition);
  frame.source_port = 40001;
  REQUIRE(!rig.to_pod(frame));
  REQUIRE(rig.from_pod({.source = "10.0.0.2", .destination = "10.0.0.3"}));
  // With a set of before, that stays in force.
  rig.put_pod(kIngress, "");
  REQUIRE(rig.maps().put_pod(pod).error().code == Code::kFailedPrecondition);
  REQUIRE(rig.to_pod({.source = "10.0.0.1"}));
  REQUIRE(!rig.to_pod({.source = "10.0.0.4", .source_port = 40002}));
}

TEST_CASE("IPv6 ranges are not ranges of IPv4 addresses") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  Rig::must(rig.maps().put_peer(peer("::/0", 2)));
  rig.put_pod(kIngress, "");
  REQUIRE(rig.to_pod({.source = "2001:db8::1", .destination = "fd00::2"}));
  REQUIRE(!rig.to_pod({.source = "172.16.0.1"}));
  auto before = rig.maps().in_force().value().peers;
  rig.guard.reset();
  rig.open();
  REQUIRE(rig.maps().in_force().value().peers == before);
}

// Hardware, protocol, lengths, operation 2 (reply), the sender's MAC and IP, the target's.
std::string arp_from(std::string_view sender) {
  std::string frame("\0\1\x08\0\6\4\0\2", 8);
  frame += std::string(6, '\2') + Ip::parse(sender).value().bytes_be() + std::string(10, '\0');
  return other_frame(0x0806, frame);
}

TEST_CASE("a pod announces its own addresses only") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod("", "");
  REQUIRE(rig.run(arp_from("10.0.0.2"), true));
  REQUIRE(rig.run(arp_from("0.0.0.0"), true));
  REQUIRE(!rig.run(arp_from("10.0.0.3"), true));
  REQUIRE(rig.run(arp_from("10.0.0.3"), false));
  Frame advertisement{.source = "fe80::2",
                      .destination = "ff02::1",
                      .protocol = 58,
                      .source_port = 0,
                      .icmp_type = 136,
                      .payload = Ip::parse("fd00::2").value().bytes_be()};
  REQUIRE(rig.from_pod(advertisement));
  advertisement.payload = Ip::parse("fd00::1").value().bytes_be();
  REQUIRE(!rig.from_pod(advertisement));
  advertisement.icmp_type = 134;  // it is no router
  REQUIRE(!rig.from_pod(advertisement));
}

TEST_CASE("nothing but ARP and neighbour discovery reaches a closed pod, not even the node") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  REQUIRE(!rig.run(bytes_of({.source = "10.0.0.254"}), false, 0));
  REQUIRE(!rig.from_pod({.source = "10.0.0.2", .destination = "10.0.0.254"}));
}

TEST_CASE("only the node itself uses what the node began") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame probe{.source = "10.0.0.254", .destination_port = 9999};
  REQUIRE(rig.run(bytes_of(probe), false, 0));
  REQUIRE(rig.from_pod(answer(probe)));
  probe.tcp_flags = kAck;
  REQUIRE(rig.run(bytes_of(probe), false, 0));
  // The same addresses and ports, but forwarded from somewhere else.
  REQUIRE(!rig.run(bytes_of(probe), false, kElsewhere));
}

TEST_CASE("an answer that nobody asked for is refused") {
  NEED_WORLD();
  struct Case {
    std::string name;
    Frame frame;
  };
  auto c = GENERATE(values<Case>({
      {"SYN+ACK",
       {.source = "10.0.0.4", .source_port = 80, .destination_port = 90, .tcp_flags = 18}},
      {"SYN+ACK to a client's port",
       {.source = "10.0.0.4", .source_port = 80, .destination_port = 40000, .tcp_flags = 18}},
      {"echo reply", {.source = "10.0.0.4", .protocol = 1, .icmp_type = 0}},
      {"IPv6 echo reply",
       {.source = "fd00::9", .destination = "fd00::2", .protocol = 58, .icmp_type = 129}},
      {"a datagram from a service's port",
       {.source = "10.0.0.4", .protocol = 17, .source_port = 53, .destination_port = 40000}},
  }));
  INFO(c.name);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  REQUIRE(!rig.to_pod(c.frame));
}

TEST_CASE("a later fragment does not lie over the header that was judged") {
  NEED_WORLD();
  auto v6 = GENERATE(false, true);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, "");
  Frame first{.source = v6 ? "fd00::1" : "10.0.0.1",
              .destination = v6 ? "fd00::2" : "10.0.0.2",
              .payload = std::string(60, 'x'),
              .fragment_id = 7,
              .more_fragments = true};
  REQUIRE(rig.to_pod(first));
  Frame later = first;
  later.fragment_offset = 1;
  REQUIRE(!rig.to_pod(later));
  REQUIRE(rig.told(FlowReason::kMalformed).has_value());
  later.fragment_offset = 2;
  REQUIRE(rig.to_pod(later));
}

TEST_CASE("an IPv6 packet goes where its header says") {
  NEED_WORLD();
  auto left = GENERATE(as<std::uint8_t>{}, 0, 1);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame out{.source = "fd00::2", .destination = "fd00::1"};
  std::string packet = packet_of(out);
  packet[6] = 43;                                                     // next: a routing header
  packet[5] = static_cast<char>(packet[5] + 8);                       // 8 bytes longer
  std::string routing{6, 0, 4, static_cast<char>(left), 0, 0, 0, 0};  // of type 4 (RFC 8754)
  packet.insert(40, routing);
  REQUIRE(rig.run(other_frame(0x86dd, packet), true) == (left == 0));
}

TEST_CASE("what keeps a link alive comes from the link") {
  NEED_WORLD();
  struct Case {
    std::string name;
    std::string source;
    std::uint8_t icmp_type;
    std::uint8_t hop_limit;
    bool allowed;
  };
  auto c = GENERATE(values<Case>({
      {"a listener query of the router", "fe80::1", 130, 1, true},
      {"a report of a stranger", "2001:db8::1", 143, 1, false},
      {"a report from afar", "fe80::1", 143, 64, false},
      {"a solicitation", "fd00::9", 135, 255, true},
      {"a solicitation from afar", "fd00::9", 135, 254, false},
  }));
  INFO(c.name);
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  std::string packet = packet_of(
      {.source = c.source, .destination = "fd00::2", .protocol = 58, .icmp_type = c.icmp_type});
  packet[7] = static_cast<char>(c.hop_limit);
  REQUIRE(rig.run(other_frame(0x86dd, packet), false) == c.allowed);
}

TEST_CASE("ICMP errors from the pod are about what it let in") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame in{.source = "10.0.0.1", .protocol = 17, .destination_port = 53};
  auto unreachable = [](const Frame& about) {
    return Frame{.source = "10.0.0.2",
                 .destination = about.source,
                 .protocol = 1,
                 .icmp_type = 3,
                 .payload = packet_of(about)};
  };
  REQUIRE(!rig.from_pod(unreachable(in)));
  REQUIRE(rig.to_pod(in));
  REQUIRE(rig.from_pod(unreachable(in)));
  in.source = "10.0.0.4";
  REQUIRE(!rig.from_pod(unreachable(in)));
}

TEST_CASE("an address that goes to another pod leaves its flows behind") {
  NEED_WORLD();
  Rig rig(GENERATE(values({Hook::kAuto, Hook::kClsact})));
  rig.fill();
  rig.put_pod(kIngress, "");
  Frame out{.source = "10.0.0.2",
            .destination = "10.0.0.4",
            .protocol = 17,
            .source_port = 5353,
            .destination_port = 53};
  REQUIRE(rig.from_pod(out));
  REQUIRE(rig.to_pod(answer(out)));
  Rig::must(run_now(rig.guard->detach("lo")));
  Rig::must(run_now(rig.guard->attach("lo", Rig::ips())));
  rig.put_pod(kIngress, "");
  REQUIRE(!rig.to_pod(answer(out)));
}

TEST_CASE("an existing interface stays open, also when its addresses are named again") {
  NEED_WORLD();
  Rig rig(GENERATE(values({Hook::kAuto, Hook::kClsact})));
  rig.fill();
  rig.put_pod(kIngress, "");
  REQUIRE(rig.to_pod({.source = "10.0.0.1"}));
  auto ips = Rig::ips();
  std::swap(ips[0], ips[1]);
  Rig::must(run_now(rig.guard->attach("lo", ips)));
  REQUIRE(rig.to_pod({.source = "10.0.0.1", .tcp_flags = kAck}));
}

}  // namespace
}  // namespace tombolo::bpf
