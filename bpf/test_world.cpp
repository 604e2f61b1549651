// See test_world.h. The janitor is forked before any thread starts and uses only system calls.
#include "bpf/test_world.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace tombolo::bpf {
namespace {

constexpr int kTries = 200;
constexpr useconds_t kPauseUs = 10'000;

bool try_enter(const char* procs) {
  int fd = open(procs, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool moved = write(fd, "0", 1) == 1;
  close(fd);
  return moved;
}

// Removes cgroup, mount and folders; only system calls, as it also runs in the janitor.
void clean(const char* cgroup, const char* bpffs, const char* folder) {
  for (int i = 0; i < kTries && rmdir(cgroup) != 0 && errno == EBUSY; ++i) usleep(kPauseUs);
  while (umount2(bpffs, MNT_DETACH) == 0) continue;
  rmdir(bpffs);
  rmdir(folder);
}

void loopback_up() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  ENSURE(ioctl(fd, SIOCGIFFLAGS, &request) == 0);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  ENSURE(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
  close(fd);
}

std::string current_cgroup(const std::string& mount) {
  std::string path = "/";
  if (FILE* file = std::fopen("/proc/self/cgroup", "re")) {
    char line[4096];
    while (std::fgets(line, sizeof(line), file) != nullptr)
      if (std::strncmp(line, "0::", 3) == 0) path = std::string(line + 3, std::strlen(line) - 4);
    std::fclose(file);
  }
  return path == "/" ? mount : mount + path;
}

}  // namespace

void enter_cgroup(const std::string& cgroup) {
  ENSURE(try_enter((cgroup + "/cgroup.procs").c_str()), "enter {}: {}", cgroup,
         std::strerror(errno));
}

std::optional<std::string> TestWorld::missing() {
  if (auto able = check_kernel(); !able) return able.error().what;
  if (geteuid() != 0) return "root";
  auto mount = cgroup2_mount();
  if (!mount) return mount.error().what;
  std::string cgroup = fmt::format("{}/tombolo-probe-{}", current_cgroup(*mount), getpid());
  if (mkdir(cgroup.c_str(), 0755) != 0) return fmt::format("a cgroup ({} is read-only)", *mount);
  rmdir(cgroup.c_str());
  return std::nullopt;
}

TestWorld::TestWorld() {
  static int number = 0;
  parent_cgroup_ = current_cgroup(cgroup2_mount().value());
  cgroup_ = fmt::format("{}/tombolo-test-{}-{}", parent_cgroup_, getpid(), ++number);
  char folder[] = "/tmp/tombolo-bpf-XXXXXX";
  ENSURE(mkdtemp(folder) != nullptr);
  folder_ = folder;
  std::string bpffs = settings().bpffs_root;
  int ends[2];
  ENSURE(pipe2(ends, O_CLOEXEC) == 0);
  janitor_ = fork();
  ENSURE(janitor_ >= 0);
  if (janitor_ == 0) {
    close(ends[1]);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    char byte;
    ssize_t got;
    while ((got = read(ends[0], &byte, 1)) < 0 && errno == EINTR) continue;
    if (got == 0) clean(cgroup_.c_str(), bpffs.c_str(), folder_.c_str());
    _exit(0);
  }
  close(ends[0]);
  alive_ = ends[1];
  ENSURE(mkdir(cgroup_.c_str(), 0755) == 0, "{}: {}", cgroup_, std::strerror(errno));
  enter_cgroup(cgroup_);
  host_netns_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  ENSURE(host_netns_ >= 0 && unshare(CLONE_NEWNET) == 0, "{}", std::strerror(errno));
  own_netns_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  netns_path_ = fmt::format("/proc/{}/fd/{}", getpid(), own_netns_);
  loopback_up();
}

TestWorld::~TestWorld() {
  ENSURE(setns(host_netns_, CLONE_NEWNET) == 0);
  close(host_netns_);
  close(own_netns_);
  enter_cgroup(parent_cgroup_);
  clean(cgroup_.c_str(), settings().bpffs_root.c_str(), folder_.c_str());
  // "x": nothing is left to do.
  ssize_t told = write(alive_, "x", 1);
  close(alive_);
  if (told == 1) waitpid(janitor_, nullptr, 0);
}

}  // namespace tombolo::bpf
