// What the kernel must have, asked before anything is changed, so that a missing right or feature
// gives one clear line. Read from /proc and by harmless bpf queries. Any thread.
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "bpf/bpf.h"
#include "bpf/libbpf_api.h"

namespace tombolo::bpf {
namespace {

constexpr int kLoopback = 1;  // ifindex of lo in every network namespace

bool has_capability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective & (1U << (capability % 32))) != 0;
}

bool file_has_word(const char* path, const std::string& wanted) {
  std::ifstream file(path);
  for (std::string word; file >> word;)
    if (word == wanted) return true;
  return false;
}

}  // namespace

Result<std::string> cgroup2_mount() {
  // proc(5): ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER_OPTIONS
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string skipped, mount_point, word, type;
    words >> skipped >> skipped >> skipped >> skipped >> mount_point;
    while (words >> word && word != "-") continue;
    if (words >> type && type == "cgroup2") return mount_point;
  }
  return fail(Code::kFailedPrecondition,
              "cgroup v2 is not mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)");
}

Result<void> check_kernel() {
  std::vector<std::string> missing;
  utsname system{};
  int major = 0;
  int minor = 0;
  if (uname(&system) != 0 || std::sscanf(system.release, "%d.%d", &major, &minor) != 2 ||
      major < 6 || (major == 6 && minor < 1))
    missing.push_back(fmt::format("Linux 6.1 or newer (this is {}; Debian 12 has it)",
                                  static_cast<const char*>(system.release)));
  if (!file_has_word("/proc/filesystems", "bpf"))
    missing.push_back("eBPF in the kernel (CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF)");
  if (auto mounted = cgroup2_mount(); !mounted) missing.push_back(mounted.error().what);
  bool admin = has_capability(CAP_SYS_ADMIN);
  if (!admin && !has_capability(CAP_BPF)) missing.push_back("CAP_BPF (run as root)");
  if (!has_capability(CAP_NET_ADMIN)) missing.push_back("CAP_NET_ADMIN (run as root)");
  if (missing.empty()) return {};
  return fail(Code::kFailedPrecondition, "load balancing needs {}", fmt::join(missing, "; "));
}

bool kernel_has_tcx() {
  LIBBPF_OPTS(bpf_prog_query_opts, options);
  return bpf_prog_query_opts(kLoopback, BPF_TCX_INGRESS, &options) == 0;
}

}  // namespace tombolo::bpf
