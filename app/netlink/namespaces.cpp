// Network namespaces as a whole: their numbers, the veth pair that leads into one, and which
// addresses all of them have. Any thread.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/net_namespace.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "app/netlink/internal.h"

namespace tombolo::netlink {
namespace {

constexpr std::int32_t kNoNumber = -1;

// The number under which the caller's namespace knows another (net_namespace(7) has none of this;
// net/core/net_namespace.c, rtnl_net_getid): kNoNumber when it knows it not.
Result<std::int32_t> known_number(nl_sock* socket, int netns_fd) {
  using Message = std::unique_ptr<nl_msg, Free<nlmsg_free>>;
  Message message(nlmsg_alloc_simple(RTM_GETNSID, 0));
  rtgenmsg header{};
  header.rtgen_family = AF_UNSPEC;
  if (!message || nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
      nla_put_u32(message.get(), NETNSA_FD, static_cast<std::uint32_t>(netns_fd)) < 0)
    return fail(Code::kResourceExhausted, "no memory for a netlink message");
  std::int32_t number = kNoNumber;
  auto read = [](nl_msg* reply, void* into) {
    std::array<nlattr*, NETNSA_MAX + 1> attributes{};
    if (nlmsg_parse(nlmsg_hdr(reply), sizeof(rtgenmsg), attributes.data(), NETNSA_MAX, nullptr) ==
            0 &&
        attributes[NETNSA_NSID] != nullptr)
      *static_cast<std::int32_t*>(into) = nla_get_s32(attributes[NETNSA_NSID]);
    return static_cast<int>(NL_OK);
  };
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, read, &number);
  // Takes the acknowledgement too, so that the socket is ready for the next question.
  int code = nl_send_auto(socket, message.get());
  if (code >= 0) code = nl_recvmsgs_default(socket);
  if (code >= 0) code = nl_wait_for_ack(socket);
  if (code < 0) return std::unexpected(nl_error(code, "ask for the number of a namespace"));
  return number;
}

bool is_veth(rtnl_link* link) {
  const char* kind = rtnl_link_get_type(link);
  return kind != nullptr && std::string_view(kind) == "veth";
}

using Namespaces = std::map<std::uint64_t, NetnsPath>;  // by number, a path that leads there
using std::filesystem::path;

// Without it the kernel hides from root what processes with other rights are in (ptrace(2)).
Result<void> may_look_at_processes() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return fail_errno(errno, "read own rights");
  if ((data[0].effective & (1U << CAP_SYS_PTRACE)) == 0)
    return fail(Code::kPermissionDenied, "the namespaces of processes: needs CAP_SYS_PTRACE");
  return {};
}

// What ended while it was looked at is no error. Nor is one whom a security module keeps from
// everybody's eyes: such a process is no pod's. Any other error hides somebody.
Result<void> unless_ended(int error, const path& whose) {
  struct stat state{};
  for (int harmless : {0, ENOENT, ESRCH, EACCES, EPERM})
    if (error == harmless) return {};
  if (::stat(whose.c_str(), &state) != 0) return {};
  return fail_errno(error, "look which network namespaces {} has", whose.native());
}

Result<void> note(Namespaces& found, const path& where, const path& whose) {
  struct stat state{};
  if (::stat(where.c_str(), &state) != 0) return unless_ended(errno, whose);
  found.try_emplace(state.st_ino, where);
  return {};
}

Result<void> each_entry(const path& folder, const path& whose,
                        const std::function<Result<void>(const path&)>& visit) {
  std::error_code error;
  std::filesystem::directory_iterator entry(folder, error);
  while (!error && entry != std::filesystem::directory_iterator()) {
    TRY_OK(visit(entry->path()));
    entry.increment(error);
  }
  return unless_ended(error.value(), whose);
}

// Of the file system that namespaces are files of (namespaces(7)).
Result<dev_t> nsfs_device() {
  struct stat state{};
  if (::stat("/proc/self/ns/net", &state) != 0) return fail_errno(errno, "look at own namespace");
  return state.st_dev;
}

// Their link text says nothing: for one that was opened by the path of a mount it is that path.
// No file server is asked for what it says of a file.
Result<void> note_if_namespace(Namespaces& found, dev_t nsfs, const path& descriptor,
                               const path& process) {
  struct statx state{};
  if (::statx(AT_FDCWD, descriptor.c_str(), AT_STATX_DONT_SYNC, STATX_INO, &state) != 0)
    return unless_ended(errno, process);
  if (::makedev(state.stx_dev_major, state.stx_dev_minor) != nsfs) return {};
  Descriptor opened(::open(descriptor.c_str(), O_RDONLY | O_CLOEXEC));
  if (opened.get() < 0) return unless_ended(errno, process);
  if (::ioctl(opened.get(), NS_GET_NSTYPE) == CLONE_NEWNET)
    found.try_emplace(state.stx_ino, descriptor);
  return {};
}

// Of the agent's own: it looks at namespaces through descriptors of its own, which hold nothing.
enum class Own : std::uint8_t { kThreads, kNothing };

// What a thread is in and what a process holds open.
Result<Namespaces> namespaces_of_processes(Own own) {
  TRY_OK(may_look_at_processes());
  TRY(nsfs, nsfs_device());
  Namespaces found;
  std::string agent = std::to_string(::getpid());
  auto visit = [&](const path& process) -> Result<void> {
    std::string name = process.filename();
    bool is_process = std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
    bool is_own = name == agent;
    if (!is_process || (is_own && own == Own::kNothing)) return {};
    TRY_OK(each_entry(process / "task", process,
                      [&](const path& thread) { return note(found, thread / "ns/net", thread); }));
    if (is_own) return {};
    return each_entry(process / "fd", process, [&](const path& descriptor) {
      return note_if_namespace(found, nsfs, descriptor, process);
    });
  };
  TRY_OK(each_entry("/proc", "/proc", visit));
  return found;
}

Result<Namespaces> visible_namespaces() {
  TRY(found, namespaces_of_processes(Own::kThreads));
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    // proc(5): id, parent, device, root, mount point, …; a namespace's root is "net:[NUMBER]".
    std::istringstream words(line);
    std::string id, parent, device, root, place;
    words >> id >> parent >> device >> root >> place;
    if (root.starts_with("net:[")) {
      TRY_OK(note(found, place, place));
    }
  }
  return found;
}

Result<void> add_addresses(std::set<Ip>& into) {
  TRY(socket, open_socket());
  nl_cache* dumped = nullptr;
  if (int code = rtnl_addr_alloc_cache(socket.get(), &dumped); code < 0)
    return std::unexpected(nl_error(code, "list addresses"));
  Cache cache(dumped);
  for (nl_object* at = nl_cache_get_first(cache.get()); at != nullptr; at = nl_cache_get_next(at))
    if (auto ip = ip_of(rtnl_addr_get_local(reinterpret_cast<rtnl_addr*>(at)))) into.insert(ip->ip);
  return {};
}

}  // namespace

Result<std::uint64_t> number_of_netns(const NetnsPath& path) {
  TRY(fd, open_netns(path));
  struct stat state{};
  if (::fstat(fd.get(), &state) < 0) return fail_errno(errno, "look at {}", path);
  return static_cast<std::uint64_t>(state.st_ino);
}

Result<LinkState> veth_end_on_node(const NetnsPath& path, const std::string& name) {
  TRY(netns, open_netns(path));
  int inner_index = 0;
  int outer_index = 0;
  TRY_OK(inside(path, [&]() -> Result<void> {
    TRY(socket, open_socket());
    TRY(link, find_link(socket.get(), name));
    if (!is_veth(link.get()))
      return fail(Code::kFailedPrecondition, "{} is no end of a veth pair", name);
    inner_index = rtnl_link_get_ifindex(link.get());
    outer_index = rtnl_link_get_link(link.get());
    return {};
  }));
  TRY(socket, open_socket());
  TRY(number, known_number(socket.get(), netns.get()));
  auto found = find_link(socket.get(), static_cast<std::uint32_t>(outer_index));
  if (!found && found.error().code != Code::kNotFound)
    return std::unexpected(std::move(found).error());
  Link outer = found ? std::move(*found) : Link();
  // Indexes are each namespace's own: that end must say that it leads to this one.
  std::int32_t leads_to = kNoNumber;
  if (!outer || !is_veth(outer.get()) || rtnl_link_get_link(outer.get()) != inner_index ||
      rtnl_link_get_link_netnsid(outer.get(), &leads_to) != 0 || leads_to != number)
    return fail(Code::kFailedPrecondition, "the other end of {} is not on this node", name);
  return link_state(outer.get());
}

// kUnavailable: one that is still there was not looked into.
Result<std::set<Ip>> addresses_once() {
  std::set<Ip> found;
  TRY(namespaces, visible_namespaces());
  std::set<std::uint64_t> missed;
  for (const auto& [number, place] : namespaces)
    if (auto done = inside(place, [&] { return add_addresses(found); }); !done) {
      if (number_of_netns(place)) return std::unexpected(std::move(done).error());
      missed.insert(number);
    }
  if (missed.empty()) return found;
  // Who led there has ended. Another may be in it still.
  TRY(now, visible_namespaces());
  for (std::uint64_t number : missed)
    if (now.contains(number))
      return fail(Code::kUnavailable, "network namespace {} was not looked into", number);
  return found;
}

// Numbers are used again at once: where namespaces come and go, one that was missed seems to be
// there still.
Result<std::set<Ip>> addresses_everywhere() {
  constexpr int kLooks = 5;
  Result<std::set<Ip>> found = addresses_once();
  for (int i = 1; i < kLooks && !found && found.error().code == Code::kUnavailable; ++i)
    found = addresses_once();
  return found;
}

Result<std::set<std::uint64_t>> occupied_namespaces() {
  TRY(namespaces, namespaces_of_processes(Own::kNothing));
  std::set<std::uint64_t> numbers;
  for (const auto& [number, path] : namespaces) numbers.insert(number);
  return numbers;
}

}  // namespace tombolo::netlink
