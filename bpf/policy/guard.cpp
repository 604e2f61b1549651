// The guard as the daemon sees it: every call is handed to the worker. Control thread, but for what
// stands in a job.
#include "bpf/guard.h"

#include <atomic>

#include "bpf/libbpf_api.h"
#include "bpf/policy/hooks.h"
#include "bpf/policy/internal.h"
#include "core/worker.h"

namespace tombolo::bpf {
namespace {

// In the order of abi::policy_counter.
constexpr std::array<std::string_view, abi::kPolicyCounters> kCounterNames{
    "packets",           "new_flows",       "denied",      "source_refused", "unknown_interface",
    "fragments",         "malformed",       "icmp_errors", "revoked",        "flows_evicted",
    "flows_picked_up",   "flows_from_node", "rejudged",    "unstable",       "events_lost",
    "events_suppressed", "flows_busy"};

class KernelGuard final : public Guard {
 public:
  KernelGuard(PinFolder pins, std::unique_ptr<PolicyPrograms> programs,
              std::unique_ptr<KernelPolicyMaps> maps, std::unique_ptr<FlowLog> log)
      : pins_(std::move(pins)),
        programs_(std::move(programs)),
        maps_(std::move(maps)),
        log_(std::move(log)) {
    maps_->set_other_versions([this] { return pins_.remove_other_versions(); });
  }

  // Interfaces of an earlier life get this life's programs; gone ones are forgotten.
  Result<void> take_over(Logger log) {
    TRY(found, maps_->in_force());
    peers_ = found.peers;
    rules_ = found.rules;
    for (const PodInForce& pod : found.pods) {
      bool same = programs_->is_attached(pod.host_interface);
      auto attached = programs_->attach(pod.host_interface);
      if (!attached && attached.error().code != Code::kNotFound)
        return std::unexpected(std::move(attached).error());
      if (attached) {
        TRY_OK(maps_->add_interface(*attached, pod.host_interface, pod.ips, same));
        continue;
      }
      // Or it is in a pod, where its links are found without going there.
      if (auto index = maps_->index_of(pod.host_interface)) {
        TRY(renewed, programs_->renew_inside(pod.host_interface, *index));
        if (renewed) continue;
      }
      log.info("{} is gone", pod.host_interface);
      TRY_OK(forget(pod.host_interface));
    }
    return {};
  }

  asio::awaitable<Result<void>> attach(std::string host_interface, std::vector<Ip> ips) override {
    auto job = [this, name = std::move(host_interface), ips = std::move(ips)]() -> Result<void> {
      // The entry first: a program without one would deny the same, but as unknown.
      TRY(ifindex, interface_index(name));
      TRY_OK(maps_->add_interface(ifindex, name, ips, programs_->is_attached(name)));
      TRY_OK(programs_->attach(name));
      return {};
    };
    co_return co_await worker_.run(std::move(job));
  }

  asio::awaitable<Result<void>> attach_inside(std::string name, InterfaceInPod pod,
                                              std::vector<Ip> ips) override {
    auto job = [this, name = std::move(name), pod = std::move(pod),
                ips = std::move(ips)]() -> Result<void> {
      bool same = programs_->is_inside(name, pod.index);
      TRY_OK(maps_->add_interface(pod.index, name, ips, same));
      return programs_->attach_inside(name, pod);
    };
    co_return co_await worker_.run(std::move(job));
  }

  asio::awaitable<Result<void>> detach(std::string host_interface) override {
    auto job = [this, name = std::move(host_interface)] { return forget(name); };
    co_return co_await worker_.run(std::move(job));
  }

  asio::awaitable<Result<std::vector<PodInForce>>> interfaces() override {
    auto job = [this]() -> Result<std::vector<PodInForce>> {
      TRY(found, maps_->in_force());
      return std::move(found.pods);
    };
    co_return co_await worker_.run(std::move(job));
  }

  const std::vector<PolicyPeer>& peers() const override { return peers_; }
  const std::vector<std::pair<RuleNumber, std::uint64_t>>& rules() const override { return rules_; }
  PolicyMaps& maps() override { return *maps_; }
  Worker& worker() override { return worker_; }

  FlowPage flows(std::uint64_t after, std::size_t limit) override {
    return log_->page(after, limit);
  }
  bool wait_flows(std::uint64_t after, Duration limit) override { return log_->wait(after, limit); }

  Result<void> trace_accepts(bool on) override {
    int fd = programs_->map_fd("pol_globals");
    // The word alone: the others are written elsewhere at the same time.
    TRY(memory, MappedArray<abi::policy_globals>::open(fd, 1));
    std::atomic_ref<__u32>(memory.at(0).trace_accepts).store(on ? 1 : 0);
    return {};
  }

  asio::awaitable<Result<std::vector<RuleCounters>>> rule_counters() override {
    auto job = [this] { return read_rules(); };
    co_return co_await worker_.run(std::move(job));
  }

  asio::awaitable<Result<std::vector<GuardCounter>>> stats() override {
    auto job = [this] { return read_stats(); };
    co_return co_await worker_.run(std::move(job));
  }

  bool uses_tcx() const override { return programs_->uses_tcx(); }

  int program_fd(std::string_view name) const override { return programs_->program_fd(name); }

 private:
  Result<void> forget(const std::string& name) {
    TRY_OK(programs_->detach(name));
    return maps_->remove_interface(name);
  }

  Result<std::vector<RuleCounters>> read_rules() {
    TRY(found, maps_->in_force());
    int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0) return fail_errno(-cpus, "count the CPUs");
    std::vector<abi::policy_rule_counts> counts(static_cast<std::size_t>(cpus));
    std::vector<RuleCounters> result;
    for (const auto& [number, digest] : found.rules) {
      RuleNumber key = number;
      if (int error = bpf_map_lookup_elem(programs_->map_fd("pol_counts"), &key, counts.data());
          error != 0)
        return fail_errno(-error, "read the counters of rule {}", key);
      RuleCounters sum;
      sum.rule = key;
      for (const abi::policy_rule_counts& one : counts) {
        sum.flows += one.flows;
        sum.packets += one.packets;
        sum.bytes += one.bytes;
      }
      if (sum.packets > 0) result.push_back(sum);
    }
    return result;
  }

  Result<std::vector<GuardCounter>> read_stats() {
    int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0) return fail_errno(-cpus, "count the CPUs");
    std::vector<std::uint64_t> values(static_cast<std::size_t>(cpus));
    std::vector<GuardCounter> result;
    for (__u32 i = 0; i < kCounterNames.size(); ++i) {
      if (int error = bpf_map_lookup_elem(programs_->map_fd("pol_counters"), &i, values.data());
          error != 0)
        return fail_errno(-error, "read counter {}", i);
      GuardCounter counter{std::string(kCounterNames[i]), 0};
      for (std::uint64_t value : values) counter.value += value;
      result.push_back(std::move(counter));
    }
    result.push_back({"events_overwritten", log_->overwritten()});
    return result;
  }

  PinFolder pins_;
  std::unique_ptr<PolicyPrograms> programs_;
  std::unique_ptr<KernelPolicyMaps> maps_;
  std::unique_ptr<FlowLog> log_;
  std::vector<PolicyPeer> peers_;
  std::vector<std::pair<RuleNumber, std::uint64_t>> rules_;
  // Last, so that its jobs end before what they use.
  Worker worker_;
};

}  // namespace

Result<std::unique_ptr<Guard>> Guard::open(GuardSettings settings, Clock& clock, Logger log) {
  TRY_OK(check_kernel());
  TRY(pins, PinFolder::open(settings.bpffs_root, kPolicyPins));
  TRY(programs, load_policy_programs(pins, settings));
  TRY(maps, open_policy_maps(*programs));
  TRY(flows, follow_flows(programs->map_fd("pol_events"), clock));
  auto guard = std::make_unique<KernelGuard>(std::move(pins), std::move(programs), std::move(maps),
                                             std::move(flows));
  TRY_OK(guard->take_over(log.with("component", "policy")));
  return guard;
}

}  // namespace tombolo::bpf
