// Sockets, namespaces, sysctls and errors below the Net port. Any thread.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

#include "app/netlink/internal.h"

namespace tombolo::netlink {

bool is_absent(int code) {
  return code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV || code == -NLE_NOADDR;
}

Error nl_error(int code, std::string_view what) {
  // libnl folds errno into its own numbers (lib/error.c); these are the ones callers tell apart.
  int sys_errno = 0;
  switch (-code) {
    case NLE_EXIST:
      sys_errno = EEXIST;
      break;
    case NLE_OBJ_NOTFOUND:
      sys_errno = ENOENT;
      break;
    case NLE_NODEV:
      sys_errno = ENODEV;
      break;
    case NLE_NOADDR:
      sys_errno = EADDRNOTAVAIL;
      break;
    case NLE_PERM:
    case NLE_NOACCESS:
      sys_errno = EPERM;
      break;
    case NLE_NOMEM:
      sys_errno = ENOMEM;
      break;
    case NLE_INVAL:
    case NLE_RANGE:
      sys_errno = EINVAL;
      break;
    case NLE_BUSY:
      sys_errno = EBUSY;
      break;
    case NLE_OPNOTSUPP:
      sys_errno = EOPNOTSUPP;
      break;
    case NLE_AGAIN:
      sys_errno = EAGAIN;
      break;
    default:
      break;
  }
  if (sys_errno != 0) return Error{code_of_errno(sys_errno), std::string(what), sys_errno};
  return Error{Code::kInternal, fmt::format("{}: netlink: {}", what, nl_geterror(code))};
}

Result<Socket> open_socket() {
  Socket socket(nl_socket_alloc());
  if (!socket) return fail(Code::kResourceExhausted, "no memory for a netlink socket");
  if (int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0)
    return std::unexpected(nl_error(code, "open a netlink socket"));
  return socket;
}

Result<Descriptor> open_netns(const NetnsPath& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) {
    int error = errno;
    Code code = code_of_errno(error);
    if (code == Code::kNotFound || code == Code::kResourceExhausted)
      return fail_errno(error, "open the network namespace {}", path);
    return fail(Code::kInvalidArgument, "{} is not a network namespace: {}", path,
                std::strerror(error));
  }
  struct statfs fs{};
  // A file of another kind gets its error here, a namespace of another kind from setns.
  if (::fstatfs(fd.get(), &fs) < 0) return fail_errno(errno, "look at {}", path);
  if (fs.f_type != NSFS_MAGIC)
    return fail(Code::kInvalidArgument, "{} is not a network namespace", path);
  return fd;
}

Result<bool> is_own_netns(int netns_fd) {
  struct stat theirs{};
  struct stat ours{};
  if (::fstat(netns_fd, &theirs) < 0 || ::stat("/proc/thread-self/ns/net", &ours) < 0)
    return fail_errno(errno, "compare network namespaces");
  return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

Result<void> inside(const NetnsPath& path, const std::function<Result<void>()>& work) {
  if (path.empty()) return work();
  TRY(fd, open_netns(path));
  Result<void> done;
  try {
    std::thread visitor([&] {
      if (::setns(fd.get(), CLONE_NEWNET) < 0)
        done = fail_errno(errno, "enter the network namespace {}", path);
      else
        done = work();
    });
    visitor.join();
  } catch (const std::system_error& error) {
    return fail(Code::kResourceExhausted, "no thread to enter {}: {}", path, error.what());
  }
  return done;
}

Result<void> write_sysctl(const std::string& path, const std::string& value) {
  std::string file = "/proc/sys/net/" + path;
  Descriptor fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.get() < 0) return fail_errno(errno, "open {}", file);
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return fail_errno(errno, "write {} to {}", value, file);
  return {};
}

Result<std::string> read_sysctl(const std::string& path) {
  std::string file = "/proc/sys/net/" + path;
  Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return fail_errno(errno, "open {}", file);
  std::string value(64, '\0');
  ssize_t got = ::read(fd.get(), value.data(), value.size());
  if (got < 0) return fail_errno(errno, "read {}", file);
  value.resize(static_cast<std::size_t>(got));
  while (value.ends_with('\n')) value.pop_back();
  return value;
}

}  // namespace tombolo::netlink
