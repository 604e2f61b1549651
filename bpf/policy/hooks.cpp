// tcx: BPF_LINK_CREATE at BPF_TCX_INGRESS and _EGRESS; a living link gets the new program by
// BPF_LINK_UPDATE. clsact: qdisc and a direct-action filter of our handle and priority, replaced in
// place (tc-bpf(8)). Blocking.
#include "bpf/policy/hooks.h"

#include <net/if.h>
#include <unistd.h>

#include <cerrno>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"

namespace tombolo::bpf {
namespace {

constexpr __u32 kFilterHandle = 0x54424f;  // "TBO"
constexpr __u32 kFilterPriority = 1;

class Link {
 public:
  explicit Link(bpf_link* link) : link_(link) {}
  ~Link() { bpf_link__destroy(link_); }  // pinned: stays attached
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  bpf_link* get() const { return link_; }

 private:
  bpf_link* link_;
};

// True for what comes into the interface.
bool is_ingress(const HookPlace& place) {
  return place.from_pod != place.inside;
}

bpf_tc_hook tc_hook(const HookPlace& place) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(place.ifindex),
              .attach_point = is_ingress(place) ? BPF_TC_INGRESS : BPF_TC_EGRESS);
  return hook;
}

// The link lets go at once, not when its last reader is gone.
Result<void> remove_link(const std::string& pin) {
  Link link(bpf_link__open(pin.c_str()));
  if (link.get() != nullptr) {
    // Of an interface that is gone: it has let go already.
    int error = bpf_link__detach(link.get());
    if (error != 0 && error != -ENOLINK && error != -ENODEV)
      return fail_errno(-error, "detach the link {}", pin);
  }
  if (unlink(pin.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove {}", pin);
  return {};
}

// True when the link is at this place, and not of an interface that is gone.
bool is_at(bpf_link* link, const HookPlace& place) {
  if (link == nullptr) return false;
  bpf_link_info info{};
  __u32 size = sizeof(info);
  return bpf_link_get_info_by_fd(bpf_link__fd(link), &info, &size) == 0 &&
         info.type == BPF_LINK_TYPE_TCX && info.tcx.ifindex == place.ifindex;
}

Result<void> attach_tcx(const HookPlace& place, bpf_program* program) {
  TRY(updated, update_link(place, program));
  if (updated) return {};
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = BPF_F_BEFORE);
  Descriptor link(bpf_link_create(bpf_program__fd(program), static_cast<int>(place.ifindex),
                                  is_ingress(place) ? BPF_TCX_INGRESS : BPF_TCX_EGRESS, &options));
  if (!link) return fail_errno(errno, "attach {} by tcx", bpf_program__name(program));
  TRY_OK(remove_link(place.pin));
  if (int error = bpf_obj_pin(link.get(), place.pin.c_str()); error != 0)
    return fail_errno(-error, "pin {}", place.pin);
  return {};
}

Result<void> attach_clsact(const HookPlace& place, bpf_program* program) {
  bpf_tc_hook hook = tc_hook(place);
  if (int error = bpf_tc_hook_create(&hook); error != 0 && error != -EEXIST)
    return fail_errno(-error, "make the clsact qdisc of interface {}", place.ifindex);
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = bpf_program__fd(program), .flags = BPF_TC_F_REPLACE,
              .handle = kFilterHandle, .priority = kFilterPriority);
  if (int error = bpf_tc_attach(&hook, &options); error != 0)
    return fail_errno(-error, "attach {} by clsact", bpf_program__name(program));
  return {};
}

Result<void> detach_clsact(const HookPlace& place) {
  bpf_tc_hook hook = tc_hook(place);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = kFilterHandle, .priority = kFilterPriority);
  int error = bpf_tc_detach(&hook, &options);
  if (error != 0 && error != -ENOENT && error != -EINVAL && error != -ENODEV)
    return fail_errno(-error, "take the filter of interface {} away", place.ifindex);
  return {};
}

}  // namespace

Result<std::uint32_t> interface_index(const std::string& name) {
  unsigned index = if_nametoindex(name.c_str());
  if (index == 0) return fail_errno(errno == ENODEV ? ENOENT : errno, "interface {}", name);
  return index;
}

Result<bool> update_link(const HookPlace& place, bpf_program* program) {
  Link link(bpf_link__open(place.pin.c_str()));
  if (!is_at(link.get(), place)) return false;
  if (int error = bpf_link__update_program(link.get(), program); error != 0)
    return fail_errno(-error, "give the link {} its new program", place.pin);
  return true;
}

Result<void> attach_hook(const HookPlace& place, bpf_program* program, bool tcx) {
  if (!tcx) {
    TRY_OK(attach_clsact(place, program));
    return remove_link(place.pin);
  }
  TRY_OK(attach_tcx(place, program));
  return detach_clsact(place);
}

bool has_hook(const HookPlace& place) {
  Link link(bpf_link__open(place.pin.c_str()));
  if (is_at(link.get(), place)) return true;
  bpf_tc_hook hook = tc_hook(place);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = kFilterHandle, .priority = kFilterPriority);
  return bpf_tc_query(&hook, &options) == 0;
}

Result<void> detach_hook(const HookPlace& place) {
  TRY_OK(remove_link(place.pin));
  return place.ifindex == 0 ? Result<void>{} : detach_clsact(place);
}

}  // namespace tombolo::bpf
