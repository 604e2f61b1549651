// A place for tests and benchmarks that need the real kernel: a cgroup of their own that this
// process sits in, a network namespace of their own with only loopback, a folder for a bpffs. All
// of it is gone when the object is, and also when the process dies: a child waits for that and
// cleans up.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "bpf/bpf.h"

namespace tombolo::bpf {

class TestWorld {
 public:
  // Why the machine cannot have one, or nothing.
  static std::optional<std::string> missing();
  TestWorld();  // ENSUREs what missing() promised
  ~TestWorld();
  TestWorld(const TestWorld&) = delete;
  TestWorld& operator=(const TestWorld&) = delete;

  Settings settings() const { return {cgroup_, folder_ + "/bpffs"}; }
  const std::string& parent_cgroup() const { return parent_cgroup_; }
  // Of the network namespace, as `ip netns` would have it.
  std::string netns_path() const { return netns_path_; }

 private:
  std::string parent_cgroup_;
  std::string cgroup_;
  std::string folder_;
  std::string netns_path_;
  int host_netns_ = -1;
  int own_netns_ = -1;
  int alive_ = -1;  // the janitor's sign of life
  pid_t janitor_ = -1;
};

// Moves the calling process (all its threads) into a cgroup.
void enter_cgroup(const std::string& cgroup);

}  // namespace tombolo::bpf
