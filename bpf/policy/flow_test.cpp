// The table of flows when several CPUs want one bucket, and when one does not give it back.
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "bpf/mapped_array.h"
#include "bpf/policy/test_rig.h"

namespace tombolo::bpf {
namespace {

std::uint64_t counter(Rig& rig, std::string_view name) {
  auto stats = run_now(rig.guard->stats());
  REQUIRE(stats.has_value());
  auto found = std::ranges::find(*stats, name, &GuardCounter::name);
  REQUIRE(found != stats->end());
  return found->value;
}

// Every bucket, as the programs share it with nobody but us here.
class Buckets {
 public:
  explicit Buckets(Rig& rig) {
    std::string path = fmt::format("{}/tombolo-policy/v{}/maps/pol_buckets",
                                   rig.world.settings().bpffs_root, int{abi::kAbiVersion});
    fd_ = Descriptor(bpf_obj_get(path.c_str()));
    INFO(path);
    REQUIRE(fd_);
    bpf_map_info info{};
    __u32 size = sizeof(info);
    REQUIRE(bpf_map_get_info_by_fd(fd_.get(), &info, &size) == 0);
    auto mapped = MappedArray<abi::policy_bucket>::open(fd_.get(), info.max_entries);
    REQUIRE(mapped.has_value());
    buckets_ = std::move(*mapped);
  }
  // As if a CPU had stopped in the middle of each; and back.
  void change_all(__u32 by) {
    for (std::size_t i = 0; i < buckets_.size(); ++i)
      std::atomic_ref<__u32>(buckets_.at(i).version).fetch_add(by);
  }
  bool all_free() const {
    for (std::size_t i = 0; i < buckets_.size(); ++i)
      if (buckets_.at(i).version % 2 != 0) return false;
    return true;
  }

 private:
  Descriptor fd_;
  MappedArray<abi::policy_bucket> buckets_;
};

TEST_CASE("a bucket that is not given back costs memory of flows, not the policy") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  Frame question{.source = "10.0.0.1", .source_port = 40001, .destination_port = 80};
  REQUIRE(rig.to_pod(question));
  REQUIRE(rig.from_pod(answer(question)));
  Buckets buckets(rig);
  REQUIRE(buckets.all_free());
  REQUIRE(counter(rig, "flows_busy") == 0);
  buckets.change_all(1);
  // What the rules allow goes on, what they do not is refused; an answer cannot be told from one
  // that nobody asked for.
  REQUIRE(rig.to_pod(question));
  REQUIRE(!rig.to_pod({.source = "10.0.0.4", .source_port = 40001, .destination_port = 80}));
  REQUIRE(!rig.from_pod(answer(question)));
  REQUIRE(counter(rig, "flows_busy") > 0);
  buckets.change_all(1);
  REQUIRE(rig.from_pod(answer(question)));
}

TEST_CASE("several CPUs at the same flows") {
  NEED_WORLD();
  Rig rig;
  rig.fill();
  rig.put_pod(kIngress, kEgress);
  constexpr int kThreads = 4;
  constexpr int kRounds = 3000;
  constexpr Port kFlows = 8;
  std::atomic<int> refused = 0;
  auto send = [&](const std::string& bytes, bool from_pod) {
    __sk_buff context{};
    context.ifindex = kLoopback;
    context.ingress_ifindex = kElsewhere;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bytes.data(),
                .data_size_in = static_cast<__u32>(bytes.size()), .ctx_in = &context,
                .ctx_size_in = sizeof(context), .repeat = 1);
    int fd = rig.guard->program_fd(from_pod ? "from_pod" : "to_pod");
    if (bpf_prog_test_run_opts(fd, &options) != 0 || static_cast<int>(options.retval) != -1)
      ++refused;
  };
  // Each SYN begins the flow anew, each FIN changes its state: every packet writes.
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      for (int round = 0; round < kRounds; ++round) {
        Frame frame{.source = "10.0.0.1",
                    .source_port = static_cast<Port>(40000 + (round + thread) % kFlows),
                    .destination_port = 80};
        send(bytes_of(frame), false);
        frame.tcp_flags = 17;
        send(bytes_of(frame), false);
      }
    });
  for (std::thread& thread : threads) thread.join();
  Buckets buckets(rig);
  REQUIRE(buckets.all_free());
  // Where a bucket could not be had in time, a packet is judged by itself, and these pass so, too.
  REQUIRE(refused == 0);
  // One entry each: more would have displaced what was kept before.
  REQUIRE(counter(rig, "flows_evicted") == 0);
}

}  // namespace
}  // namespace tombolo::bpf
