// Unix sockets with a mode: gRPC cannot set one, and a chmod after bind leaves a moment open.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "app/admin/internal.h"

namespace tombolo::admin {
namespace {

// Somebody accepts connections there.
bool is_served(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return false;
  bool served =
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN;
  ::close(socket);
  return served;
}

}  // namespace

Result<SocketPlace> SocketPlace::prepare(std::string path, int mode) {
  SocketPlace place(std::move(path), mode);
  std::string folder = fmt::format("{}.{}", place.path_, ::getpid());
  if (folder.size() + 2 >= sizeof(sockaddr_un::sun_path))
    return fail(Code::kInvalidArgument, "{}: too long for a unix socket", place.path_);
  struct stat facts{};
  if (::lstat(place.path_.c_str(), &facts) == 0 && !S_ISSOCK(facts.st_mode))
    return fail(Code::kAlreadyExists, "{}: is there and is no socket", place.path_);
  if (is_served(place.path_))
    return fail(Code::kAlreadyExists, "{}: another daemon serves it", place.path_);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(place.path_).parent_path(), error);
  if (error) return fail_errno(error.value(), "{}: its folder cannot be made", place.path_);
  if (::mkdir(folder.c_str(), 0700) != 0) return fail_errno(errno, "{}: cannot be made", folder);
  place.folder_ = folder;
  return place;
}

SocketPlace::SocketPlace(SocketPlace&& other) noexcept
    : path_(std::move(other.path_)),
      mode_(other.mode_),
      folder_(std::exchange(other.folder_, {})),
      published_(std::exchange(other.published_, false)) {}

SocketPlace::~SocketPlace() {
  if (published_) ::unlink(path_.c_str());
  if (folder_.empty()) return;
  ::unlink((folder_ + "/s").c_str());
  ::rmdir(folder_.c_str());
}

std::string SocketPlace::bind_address() const {
  return "unix:" + folder_ + "/s";
}

Result<void> SocketPlace::publish() {
  std::string bound = folder_ + "/s";
  if (::chmod(bound.c_str(), static_cast<mode_t>(mode_)) != 0)
    return fail_errno(errno, "{}: cannot set its mode", bound);
  if (::rename(bound.c_str(), path_.c_str()) != 0)
    return fail_errno(errno, "{}: cannot be replaced", path_);
  published_ = true;
  return {};
}

}  // namespace tombolo::admin
