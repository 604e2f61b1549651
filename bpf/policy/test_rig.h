// One guarded pod behind lo for tests that run packets through the real programs
// (BPF_PROG_TEST_RUN), with the maps of a Guard in a world of its own.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <optional>

#include "bpf/guard.h"
#include "bpf/libbpf_api.h"
#include "bpf/policy/packets.h"
#include "bpf/test_peers.h"
#include "bpf/test_world.h"

namespace tombolo::bpf {

#define NEED_WORLD()                                                        \
  do {                                                                      \
    if (auto missing = TestWorld::missing()) SKIP("missing: " << *missing); \
  } while (false)

inline constexpr int kLoopback = 1;    // stands for the host's end of the pod's veth
inline constexpr int kElsewhere = 77;  // where a forwarded packet came in

inline PolicyPeer peer(std::string_view prefix, std::uint32_t number) {
  return {Prefix::parse(prefix).value(), number, 1000 + number};
}

// Peer 1 may use TCP 80 to 89 and UDP 53, peer 2 everything, the others nothing.
inline VerdictSet sample_set(PolicyDirection direction, const std::string& id) {
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
inline const std::string kIngress(32, '1');
inline const std::string kEgress(32, '2');

inline GuardSizes small_sizes() {
  return {.flows = 4095,  // buckets of 7
          .peers = 1024,
          .ranges = 1024,
          .sets = 64,
          .blocks = 1024,
          .rules = 256,
          .pods = 16,
          .event_bytes = 1 << 16};
}

// One pod, 10.0.0.2 and fd00::2, behind lo.
struct Rig {
  TestWorld world;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Guard> guard;
  Hook hook;

  explicit Rig(Hook how = Hook::kAuto) : hook(how) {
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
    settings.hook = hook;
    settings.sizes = small_sizes();
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
  // The first event of that reason, if it was told; the guard's thread may still be reading.
  std::optional<FlowEvent> told(FlowReason reason) {
    static constexpr auto kLimit = std::chrono::seconds(5);
    std::uint64_t after = 0;
    while (guard->wait_flows(after, kLimit)) {
      FlowPage page = guard->flows(after, 1000);
      for (const FlowEvent& event : page.events)
        if (event.reason == reason) return event;
      after = page.last;
    }
    return std::nullopt;
  }
};

inline Frame answer(const Frame& frame) {
  Frame back = frame;
  std::swap(back.source, back.destination);
  std::swap(back.source_port, back.destination_port);
  back.tcp_flags = 18;
  back.icmp_type = frame.protocol == 58 ? 129 : 0;
  return back;
}

}  // namespace tombolo::bpf
