// Write beside, sync, rename, sync the folder.
#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/descriptor.h"

namespace tombolo {
namespace {

Result<void> write_all(int descriptor, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "{}: cannot be written", path);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fsync(descriptor) != 0) return fail_errno(errno, "{}: cannot be synced", path);
  return {};
}

Result<void> sync_folder_of(const std::string& path) {
  std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty()) directory = ".";
  Descriptor folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0)
    return fail_errno(errno, "{}: cannot be synced", directory);
  return {};
}

}  // namespace

Result<void> write_file_atomically(const std::string& path, std::string_view text, int mode) {
  std::string beside = fmt::format("{}.{}.new", path, ::getpid());
  Result<void> written;
  {
    Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                           static_cast<mode_t>(mode)));
    if (file.get() < 0) return fail_errno(errno, "{}: cannot be made", beside);
    // The umask may have taken bits away.
    written = ::fchmod(file.get(), static_cast<mode_t>(mode)) != 0
                  ? fail_errno(errno, "{}: cannot set its mode", beside)
                  : write_all(file.get(), text, beside);
  }
  if (written && ::rename(beside.c_str(), path.c_str()) != 0)
    written = fail_errno(errno, "{}: cannot be replaced", path);
  if (!written) {
    ::unlink(beside.c_str());
    return written;
  }
  return sync_folder_of(path);
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, "{}: cannot be removed", path);
  }
  return sync_folder_of(path);
}

}  // namespace tombolo
