// A program at one side of an interface: a pinned tcx link, or a clsact filter. Part of the folder.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"

struct bpf_program;

namespace tombolo::bpf {

struct HookPlace {
  std::uint32_t ifindex = 0;  // 0: the interface is gone
  bool from_pod = true;       // what comes into the host's end of the veth; else what leaves by it
  std::string pin;            // of the tcx link
  // The interface is in the pod itself: what the pod sends leaves by it.
  bool inside = false;
};

// kNotFound: no such interface in this network namespace.
Result<std::uint32_t> interface_index(const std::string& name);
// Gives a living tcx link at this place the program, from whichever namespace. False: there is
// none.
Result<bool> update_link(const HookPlace& place, bpf_program* program);
// The program is there afterwards, in place of one of ours, without a moment between. A place that
// had the other kind of hook loses it once the new one is there.
Result<void> attach_hook(const HookPlace& place, bpf_program* program, bool tcx);
// True when a program of ours is at this very interface, by whichever kind of hook.
bool has_hook(const HookPlace& place);
Result<void> detach_hook(const HookPlace& place);

}  // namespace tombolo::bpf
