// Tells when an interface of this network namespace goes (rtnetlink(7), group RTNLGRP_LINK): the
// event that a pod's namespace ends with. Control thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>

#include "core/error.h"

namespace tombolo {

namespace asio = boost::asio;

class LinkWatch {
 public:
  // Listens in the namespace of the calling thread. `gone` is called on `executor`, once for any
  // number of links, also when the kernel had more to tell than the socket holds.
  static Result<std::unique_ptr<LinkWatch>> open(const asio::any_io_executor& executor,
                                                 std::function<void()> gone);
  virtual ~LinkWatch() = default;
  // Returns when the task is cancelled or the socket fails.
  virtual asio::awaitable<void> run() = 0;
};

}  // namespace tombolo
