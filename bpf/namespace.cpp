// setns(2). Any thread.
#include "bpf/namespace.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <thread>

#include "bpf/internal.h"

namespace tombolo::bpf {

Result<void> in_namespace(const std::string& path, const std::function<Result<void>()>& work) {
  Result<void> done;
  std::thread([&] {
    Descriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns || setns(netns.get(), CLONE_NEWNET) != 0)
      done = fail_errno(errno, "enter network namespace {}", path);
    else
      done = work();
  }).join();
  return done;
}

}  // namespace tombolo::bpf
