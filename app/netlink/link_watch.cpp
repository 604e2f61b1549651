// A netlink socket behind asio's stream descriptor.
#include "app/netlink/link_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

namespace tombolo {
namespace {

class NetlinkLinkWatch final : public LinkWatch {
 public:
  NetlinkLinkWatch(const asio::any_io_executor& executor, int fd, std::function<void()> gone)
      : socket_(executor, fd), gone_(std::move(gone)) {}

  asio::awaitable<void> run() override {
    while (true) {
      auto [error] = co_await socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                                                 asio::as_tuple(asio::use_awaitable));
      if (error) co_return;
      if (drain()) gone_();
    }
  }

 private:
  // True when one of the messages is of a link that went, or messages were lost.
  bool drain() {
    alignas(nlmsghdr) std::array<char, 32'768> buffer;
    bool found = false;
    while (true) {
      ssize_t got = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && errno == ENOBUFS) found = true;
      if (got < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
      if (got <= 0) return found;
      auto left = static_cast<unsigned>(got);
      for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
           message = NLMSG_NEXT(message, left))
        found = found || message->nlmsg_type == RTM_DELLINK;
    }
  }

  asio::posix::stream_descriptor socket_;
  std::function<void()> gone_;
};

}  // namespace

Result<std::unique_ptr<LinkWatch>> LinkWatch::open(const asio::any_io_executor& executor,
                                                   std::function<void()> gone) {
  int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return fail_errno(errno, "open a netlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
    int error = errno;
    ::close(fd);
    return fail_errno(error, "listen to the interfaces of this node");
  }
  return std::make_unique<NetlinkLinkWatch>(executor, fd, std::move(gone));
}

}  // namespace tombolo
