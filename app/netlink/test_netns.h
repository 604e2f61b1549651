// Network namespaces of a test, and work inside of one.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <exception>
#include <thread>

#include "core/net.h"

namespace tombolo {

// A fresh network namespace for this test, kept by a descriptor of this process; gone with it.
class OwnNetns {
 public:
  OwnNetns() {
    std::thread maker([this] {
      if (::unshare(CLONE_NEWNET) == 0)
        fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    });
    maker.join();
  }
  ~OwnNetns() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool made() const { return fd_ >= 0; }
  NetnsPath path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_); }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// Runs `body` on a thread inside `netns`, as the daemon of a node runs inside the node's. What it
// throws (a failed REQUIRE) is thrown again here.
template <class Body>
void on_node(const OwnNetns& netns, Body body) {
  std::exception_ptr thrown;
  std::thread node([&] {
    try {
      REQUIRE(::setns(netns.fd(), CLONE_NEWNET) == 0);
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  node.join();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace tombolo
