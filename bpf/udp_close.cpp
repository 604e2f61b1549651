// Connected UDP sockets keep their backend for ever; when the backend is gone they would wait in
// vain. The kernel closes them on request (sock_diag(7), SOCK_DESTROY), in the network namespace
// that they are in. Which ones came through a service, udp_peers.cpp knows. Blocking; worker.
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "bpf/internal.h"
#include "bpf/namespace.h"

namespace tombolo::bpf {
namespace {

constexpr std::size_t kMaxFound =
    65536;  // sockets closed per call; more are left to the next change
constexpr int kAnswerTimeoutS = 5;

Result<Descriptor> diag_socket_in(const std::string& netns_path) {
  Descriptor opened;
  TRY_OK(in_namespace(netns_path, [&]() -> Result<void> {
    opened = Descriptor(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!opened) return fail_errno(errno, "open a sock_diag socket in {}", netns_path);
    return {};
  }));
  timeval limit{.tv_sec = kAnswerTimeoutS, .tv_usec = 0};
  setsockopt(opened.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return opened;
}

struct DiagRequest {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

DiagRequest request_for(std::uint8_t family, std::uint16_t type, std::uint16_t flags) {
  DiagRequest asked{};
  asked.header = {.nlmsg_len = sizeof(asked),
                  .nlmsg_type = type,
                  .nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags)};
  asked.request.sdiag_family = family;
  asked.request.sdiag_protocol = IPPROTO_UDP;
  return asked;
}

abi::lb_endpoint peer_of(const inet_diag_msg& message) {
  std::string_view address(reinterpret_cast<const char*>(message.id.idiag_dst),
                           message.idiag_family == AF_INET ? 4 : 16);
  auto ip = Ip::from_bytes_be(address);
  abi::lb_endpoint peer = to_abi(ip.value_or(Ip()), 0, Protocol::kUdp);
  peer.port_be = message.id.idiag_dport;
  return peer;
}

std::uint64_t cookie_of(const inet_diag_msg& message) {
  return message.id.idiag_cookie[0] | std::uint64_t{message.id.idiag_cookie[1]} << 32;
}

// Calls visit for every message until the kernel says that this was all.
template <class Visit>
Result<void> read_answers(int fd, Visit visit) {
  std::vector<char> buffer(1 << 16);
  while (true) {
    ssize_t length = recv(fd, buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail_errno(errno, "read from sock_diag");
    auto left = static_cast<std::uint32_t>(length);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return {};
      if (header->nlmsg_type == NLMSG_ERROR) {
        nlmsgerr error{};
        if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
          std::memcpy(&error, NLMSG_DATA(header), sizeof(error));
        if (error.error == 0) return {};
        return fail_errno(-error.error, "sock_diag");
      }
      visit(*header);
    }
  }
}

using Stuck = std::set<std::pair<std::uint64_t, abi::lb_endpoint>>;

Result<std::vector<inet_diag_msg>> stuck_sockets(int fd, std::uint8_t family, const Stuck& stuck) {
  DiagRequest dump = request_for(family, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
  dump.request.idiag_states = 1U << TCP_ESTABLISHED;  // connected, in the kernel's words
  if (send(fd, &dump, sizeof(dump), 0) < 0) return fail_errno(errno, "ask for UDP sockets");
  std::vector<inet_diag_msg> found;
  TRY_OK(read_answers(fd, [&](const nlmsghdr& header) {
    inet_diag_msg message;
    if (header.nlmsg_len < NLMSG_LENGTH(sizeof(message)) || found.size() >= kMaxFound) return;
    std::memcpy(&message, reinterpret_cast<const char*>(&header) + NLMSG_HDRLEN, sizeof(message));
    if (stuck.contains({cookie_of(message), peer_of(message)})) found.push_back(message);
  }));
  return found;
}

}  // namespace

Result<int> close_udp_sockets(const std::string& netns_path,
                              const std::vector<abi::lb_udp_peer>& peers) {
  TRY(diag, diag_socket_in(netns_path));
  Stuck stuck;
  for (const abi::lb_udp_peer& peer : peers) stuck.emplace(peer.cookie, peer.backend);
  int closed = 0;
  for (std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    TRY(found, stuck_sockets(diag.get(), family, stuck));
    for (const inet_diag_msg& socket : found) {
      DiagRequest destroy = request_for(socket.idiag_family, SOCK_DESTROY, NLM_F_ACK);
      destroy.request.id = socket.id;
      if (send(diag.get(), &destroy, sizeof(destroy), 0) < 0)
        return fail_errno(errno, "ask to close a UDP socket");
      auto answered = read_answers(diag.get(), [](const nlmsghdr&) {});
      if (answered)
        ++closed;
      else if (answered.error().sys_errno != ENOENT)  // its owner was quicker
        return std::unexpected(std::move(answered).error().with_context("close a UDP socket"));
    }
  }
  return closed;
}

}  // namespace tombolo::bpf
