// One ICMP echo to one address, over a socket of its own: connected, so that the kernel hands over
// only what comes from there. Nothing here blocks. Private to app/probe.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/ip.h"

namespace tombolo::probe {

class Echo {
 public:
  // `token` tells this echo's answer from others'.
  Echo(Ip ip, std::uint64_t token) : ip_(ip), token_(token) {}
  ~Echo();
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  // Sends the request. True: it is on its way, wait until fd() is readable. False: nothing leads
  // there. An error: this machine may or can not.
  Result<bool> send();
  // Reads what has come: true when the answer is among it.
  bool answered();
  int fd() const { return fd_; }

 private:
  Result<void> open();

  Ip ip_;
  std::uint64_t token_;
  int fd_ = -1;
  bool raw_ = false;
};

// Whether a failed send or connect means that nothing leads to the machine, rather than that this
// one could not ask.
bool is_unreachable(int sys_errno);

}  // namespace tombolo::probe
