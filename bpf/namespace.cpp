// setns(2). Any thread.
#include "bpf/namespace.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "bpf/internal.h"

namespace tombolo::bpf {

Result<void> in_namespace(const std::string& path, const std::function<Result<void>()>& work) {
  Result<void> done;
  try {
    std::thread([&] {
      Descriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!netns || setns(netns.get(), CLONE_NEWNET) != 0)
        done = fail_errno(errno, "enter network namespace {}", path);
      else
        done = work();
    }).join();
  } catch (const std::system_error& error) {
    return fail(Code::kResourceExhausted, "no thread to enter {}: {}", path, error.what());
  }
  return done;
}

}  // namespace tombolo::bpf
