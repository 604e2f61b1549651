// Where maps and links are pinned: BPFFS_ROOT/PART/v<abi>/{maps,links}. One process at a time
// holds the folder (flock). Another ABI version is another folder; it is removed when this
// version's tables are in force, never read. Blocking; control thread at start, or worker.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "bpf/internal.h"

namespace tombolo::bpf {
namespace {

namespace fs = std::filesystem;
constexpr const char* kMountSource = "tombolo";

bool is_bpffs(const std::string& path) {
  struct statfs found{};
  return statfs(path.c_str(), &found) == 0 &&
         static_cast<unsigned long>(found.f_type) == BPF_FS_MAGIC;
}

Result<void> make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_errno(error.value(), "make folder {}", path);
  return {};
}

Result<Descriptor> lock_folder(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open {}", path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK)
    return fail(Code::kAlreadyExists,
                "{} is in use by a running tombolod: stop it first, or give this one another "
                "bpffs_root",
                path);
  return fail_errno(errno, "lock {}", path);
}

Result<void> remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return fail_errno(error.value(), "remove {}", path);
  return {};
}

}  // namespace

std::string PinFolder::version() const {
  return fmt::format("{}/v{}", root_, int{abi::kAbiVersion});
}

Result<PinFolder> PinFolder::open(const std::string& bpffs, std::string_view part) {
  if (!is_bpffs(bpffs)) {
    TRY_OK(make_folder(bpffs));
    if (mount(kMountSource, bpffs.c_str(), "bpf", 0, "mode=0700") != 0)
      return fail_errno(errno, "mount a bpffs on {} (needs CAP_SYS_ADMIN)", bpffs);
  }
  PinFolder folder;
  folder.root_ = fmt::format("{}/{}", bpffs, part);
  TRY_OK(make_folder(folder.root_));
  TRY(lock, lock_folder(folder.root_));
  folder.lock_ = std::move(lock);
  TRY_OK(make_folder(folder.maps()));
  TRY_OK(make_folder(folder.links()));
  return folder;
}

Result<std::optional<PinFolder>> PinFolder::find(const std::string& bpffs_root,
                                                 std::string_view part) {
  PinFolder folder;
  folder.root_ = fmt::format("{}/{}", bpffs_root, part);
  if (!is_bpffs(folder.root_)) return std::nullopt;
  TRY(lock, lock_folder(folder.root_));
  folder.lock_ = std::move(lock);
  return folder;
}

Result<int> PinFolder::remove_other_versions() const {
  int removed = 0;
  std::error_code error;
  std::vector<std::string> others;
  for (const auto& child : fs::directory_iterator(root_, error))
    if (child.path() != version()) others.push_back(child.path());
  if (error) return fail_errno(error.value(), "list {}", root_);
  for (const std::string& path : others) {
    TRY_OK(remove_tree(path));
    ++removed;
  }
  return removed;
}

Result<void> PinFolder::remove_all() const {
  return remove_tree(root_);
}

Result<void> unmount_if_ours(const std::string& root) {
  std::error_code error;
  std::string mount_point = fs::weakly_canonical(root, error);
  std::ifstream mounts("/proc/self/mountinfo");
  bool ours = false;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string skipped, where, word, type, source;
    words >> skipped >> skipped >> skipped >> skipped >> where;
    while (words >> word && word != "-") continue;
    words >> type >> source;
    if (where == mount_point) ours = type == "bpf" && source == kMountSource;
  }
  if (!ours) return {};
  for (const auto& child : fs::directory_iterator(mount_point, error)) {
    // Every new bpffs has these two files (kernel/bpf/preload).
    std::string name = child.path().filename();
    if (name != "maps.debug" && name != "progs.debug") return {};
  }
  if (umount(mount_point.c_str()) != 0) return fail_errno(errno, "unmount {}", mount_point);
  return {};
}

Result<void> detach(const Settings& settings) {
  for (std::string_view part : {kBalancingPins, kPolicyPins}) {
    TRY(folder, PinFolder::find(settings.bpffs_root, part));
    if (folder) TRY_OK(folder->remove_all());
  }
  return unmount_if_ours(settings.bpffs_root);
}

}  // namespace tombolo::bpf
