// Network namespaces as a whole: their numbers, the veth pair that leads into one, and which
// addresses all of them have. Any thread.
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
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

// Number -> a path that leads there, of every namespace that a process is in or that is mounted.
std::map<std::uint64_t, NetnsPath> visible_namespaces() {
  std::map<std::uint64_t, NetnsPath> found;
  auto note = [&found](const std::string& path) {
    struct stat state{};
    if (::stat(path.c_str(), &state) == 0) found.try_emplace(state.st_ino, path);
  };
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    std::string name = entry.path().filename();
    if (std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; }))
      note(entry.path() / "ns/net");
  }
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    // proc(5): id, parent, device, root, mount point, …; a namespace's root is "net:[NUMBER]".
    std::istringstream words(line);
    std::string id, parent, device, root, place;
    words >> id >> parent >> device >> root >> place;
    if (root.starts_with("net:[")) note(place);
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
  rtnl_link* found = nullptr;
  int code = rtnl_link_get_kernel(socket.get(), outer_index, nullptr, &found);
  if (code < 0 && !is_absent(code))
    return std::unexpected(nl_error(code, fmt::format("look for interface {}", outer_index)));
  Link outer(found);
  // Indexes are each namespace's own: that end must say that it leads to this one.
  std::int32_t leads_to = kNoNumber;
  if (!outer || !is_veth(outer.get()) || rtnl_link_get_link(outer.get()) != inner_index ||
      rtnl_link_get_link_netnsid(outer.get(), &leads_to) != 0 || leads_to != number)
    return fail(Code::kFailedPrecondition, "the other end of {} is not on this node", name);
  return link_state(outer.get());
}

Result<std::set<Ip>> addresses_everywhere() {
  std::set<Ip> found;
  for (const auto& [number, path] : visible_namespaces()) {
    auto done = inside(path, [&] { return add_addresses(found); });
    // It may have gone since it was listed; then a look at another path finds nothing either.
    if (!done && number_of_netns(path)) return std::unexpected(std::move(done).error());
  }
  return found;
}

}  // namespace tombolo::netlink
