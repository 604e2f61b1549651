// A write to a map of maps returns after an RCU grace period, so that the caller may free what the
// programs could reach before (kernel/bpf/syscall.c, maybe_wait_bpf_programs). The maps here exist
// for that alone. Blocking.
#include <cerrno>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"

namespace tombolo::bpf {

Result<Grace> Grace::open() {
  Grace grace;
  grace.inner_ = Descriptor(bpf_map_create(BPF_MAP_TYPE_ARRAY, "grace_inner", 4, 4, 1, nullptr));
  if (!grace.inner_) return fail_errno(errno, "create a map");
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<__u32>(grace.inner_.get()));
  grace.outer_ = Descriptor(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "grace", 4, 4, 1, &options));
  if (!grace.outer_) return fail_errno(errno, "create a map of maps");
  return grace;
}

Result<void> Grace::wait() const {
  __u32 zero = 0;
  auto inner = static_cast<__u32>(inner_.get());
  if (int error = bpf_map_update_elem(outer_.get(), &zero, &inner, BPF_ANY); error != 0)
    return fail_errno(-error, "wait for the programs that run");
  return {};
}

}  // namespace tombolo::bpf
