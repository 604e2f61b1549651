// What the link needs of the kernel beside packet sockets (ipamd/neighbor): the interfaces of this
// network namespace, and membership in groups. No call blocks. Private to ipamd/announce.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "ipamd/neighbor/neighbor.h"

namespace tombolo::announce {

using LinkInterface = neighbor::Device;

// Those that are up, have an Ethernet address, and whose name fits one of the patterns.
Result<std::vector<LinkInterface>> find_interfaces(const std::vector<std::string>& patterns);

// Membership in multicast groups of one interface, as MLD tells it to switches. Left with the
// object.
class Groups {
 public:
  static Result<Groups> open(const LinkInterface& on);
  Groups(Groups&& other) noexcept;
  Groups& operator=(Groups&& other) noexcept;
  ~Groups();
  // Joins and leaves until exactly these are joined. The first error; the others are tried.
  Result<void> become(const std::set<Ip>& groups);

 private:
  Groups(int fd, unsigned index) : fd_(fd), index_(index) {}
  int fd_ = -1;
  unsigned index_ = 0;
  std::set<Ip> joined_;
};

}  // namespace tombolo::announce
