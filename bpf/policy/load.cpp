// Loads the policy programs, with the pinned maps of an earlier life where there are any. A pinned
// map keeps its size. Blocking: a worker.
#include <cerrno>

#include "bpf/libbpf_api.h"
#include "bpf/namespace.h"
#include "bpf/policy/hooks.h"
#include "bpf/policy/internal.h"
#include "bpf/policy/policy.skel.h"

namespace tombolo::bpf {
namespace {

void use_sizes(policy_bpf* skeleton, const GuardSizes& sizes) {
  auto size = [](bpf_map* map, std::uint32_t entries) { bpf_map__set_max_entries(map, entries); };
  std::uint32_t buckets = std::max((sizes.flows + abi::kFlowWays - 1) / abi::kFlowWays, 1U);
  size(skeleton->maps.pol_buckets, buckets);
  size(skeleton->maps.pol_flows, buckets);
  size(skeleton->maps.pol_addresses, sizes.peers);
  size(skeleton->maps.pol_ranges, sizes.ranges);
  size(skeleton->maps.pol_interfaces, sizes.pods);
  // One half of the slots may rest while the other is in use.
  size(skeleton->maps.pol_pods, 2 * sizes.pods + 1);
  size(skeleton->maps.pol_sets, sizes.sets);
  size(skeleton->maps.pol_directories, sizes.sets);
  size(skeleton->maps.pol_pages, 2 * sizes.sets);
  size(skeleton->maps.pol_classes, sizes.blocks / 2);
  size(skeleton->maps.pol_verdicts, sizes.blocks / 2);
  size(skeleton->maps.pol_rules, sizes.rules);
  size(skeleton->maps.pol_counts, sizes.rules);
  size(skeleton->maps.pol_events, sizes.event_bytes);
}

void keep_pinned_size(bpf_map* map, const std::string& path) {
  Descriptor fd(bpf_obj_get(path.c_str()));
  bpf_map_info info{};
  __u32 size = sizeof(info);
  if (fd && bpf_map_get_info_by_fd(fd.get(), &info, &size) == 0)
    bpf_map__set_max_entries(map, info.max_entries);
}

class LoadedPolicy final : public PolicyPrograms {
 public:
  LoadedPolicy(policy_bpf* skeleton, std::string links)
      : skeleton_(skeleton), links_(std::move(links)) {}
  ~LoadedPolicy() override { policy_bpf__destroy(skeleton_); }
  LoadedPolicy(const LoadedPolicy&) = delete;
  LoadedPolicy& operator=(const LoadedPolicy&) = delete;

  Result<void> load(const PinFolder& pins, const GuardSettings& settings) {
    LibbpfLog log;
    use_sizes(skeleton_, settings.sizes);
    std::vector<std::pair<bpf_map*, std::string>> fresh;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton_->obj) {
      if (bpf_map__is_internal(map)) continue;  // .rodata belongs to one load
      std::string path = pins.maps() + "/" + bpf_map__name(map);
      keep_pinned_size(map, path);
      TRY(taken, take_over_map(map, path));
      if (!taken) fresh.emplace_back(map, path);
    }
#if defined(__x86_64__)
    skeleton_->rodata->weakly_ordered = 0;
#endif
    skeleton_->rodata->flow_buckets = bpf_map__max_entries(skeleton_->maps.pol_flows);
    if (int error = policy_bpf__load(skeleton_); error != 0)
      return fail_errno(-error, "the kernel refuses the policy programs: {}", log.text());
    for (auto& [one, path] : fresh)
      if (int error = bpf_map__pin(one, path.c_str()); error != 0)
        return fail_errno(-error, "pin {}", path);
    return choose(settings.hook);
  }

  int map_fd(std::string_view name) const override {
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, std::string(name).c_str());
    ENSURE(map != nullptr, "no map {}", name);
    return bpf_map__fd(map);
  }
  int program_fd(std::string_view name) const override {
    bpf_program* program =
        bpf_object__find_program_by_name(skeleton_->obj, std::string(name).c_str());
    ENSURE(program != nullptr, "no program {}", name);
    return bpf_program__fd(program);
  }
  bool uses_tcx() const override { return tcx_; }

  Result<std::uint32_t> attach(const std::string& interface) override {
    LibbpfLog log;  // a pin or a filter that is not there yet is no news
    TRY(ifindex, interface_index(interface));
    TRY_OK(attach_hook(place(interface, ifindex, true), skeleton_->progs.from_pod, tcx_));
    TRY_OK(attach_hook(place(interface, ifindex, false), skeleton_->progs.to_pod, tcx_));
    return ifindex;
  }

  Result<void> attach_inside(const std::string& name, const InterfaceInPod& pod) override {
    LibbpfLog log;
    return in_namespace(pod.netns_path, [&]() -> Result<void> {
      TRY_OK(attach_hook(inside(name, pod.index, true), skeleton_->progs.from_pod, tcx_));
      return attach_hook(inside(name, pod.index, false), skeleton_->progs.to_pod, tcx_);
    });
  }

  bool is_inside(const std::string& name, std::uint32_t index) const override {
    LibbpfLog log;
    return has_hook(inside(name, index, true)) && has_hook(inside(name, index, false));
  }

  Result<bool> renew_inside(const std::string& name, std::uint32_t index) override {
    LibbpfLog log;
    TRY(from, update_link(inside(name, index, true), skeleton_->progs.from_pod));
    TRY(to, update_link(inside(name, index, false), skeleton_->progs.to_pod));
    return from && to;
  }

  bool is_attached(const std::string& interface) const override {
    LibbpfLog log;
    auto ifindex = interface_index(interface);
    return ifindex && has_hook(place(interface, *ifindex, true)) &&
           has_hook(place(interface, *ifindex, false));
  }

  Result<void> detach(const std::string& interface) override {
    LibbpfLog log;
    auto ifindex = interface_index(interface);
    std::uint32_t index = ifindex.value_or(0);
    TRY_OK(detach_hook(place(interface, index, true)));
    return detach_hook(place(interface, index, false));
  }

 private:
  HookPlace place(const std::string& interface, std::uint32_t ifindex, bool from_pod) const {
    return {ifindex, from_pod,
            fmt::format("{}/{}-{}", links_, interface, from_pod ? "from-pod" : "to-pod")};
  }
  HookPlace inside(const std::string& name, std::uint32_t index, bool from_pod) const {
    HookPlace at = place(name, index, from_pod);
    at.inside = true;
    return at;
  }
  Result<void> choose(Hook hook) {
    bool able = kernel_has_tcx();
    if (hook == Hook::kTcx && !able)
      return fail(Code::kFailedPrecondition,
                  "this kernel has no tcx (Linux 6.6): use the hook clsact or auto");
    tcx_ = able && hook != Hook::kClsact;
    return {};
  }

  policy_bpf* skeleton_;
  std::string links_;
  bool tcx_ = false;
};

}  // namespace

Result<std::unique_ptr<PolicyPrograms>> load_policy_programs(const PinFolder& pins,
                                                             const GuardSettings& settings) {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  policy_bpf* skeleton = policy_bpf__open();
  if (skeleton == nullptr) return fail_errno(errno, "open the embedded policy programs");
  auto programs = std::make_unique<LoadedPolicy>(skeleton, pins.links());
  TRY_OK(programs->load(pins, settings));
  return programs;
}

}  // namespace tombolo::bpf
