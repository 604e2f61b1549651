// What the link needs of the kernel: the interfaces of this network namespace, and sockets for
// ARP and neighbour discovery on one of them. No call blocks. Private to ipamd/announce.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "ipamd/announce/packets.h"

namespace tombolo::announce {

struct LinkInterface {
  std::string name;
  unsigned index = 0;
  Mac mac{};
  bool operator==(const LinkInterface&) const = default;
};

// Those that are up, have an Ethernet address, and whose name fits one of the patterns.
Result<std::vector<LinkInterface>> find_interfaces(const std::vector<std::string>& patterns);

// A packet socket of one interface that receives ARP, or NDP's two messages about neighbours.
// Closed with the object.
class PacketSocket {
 public:
  // kPermissionDenied without CAP_NET_RAW.
  static Result<PacketSocket> open_arp(const LinkInterface& on);
  static Result<PacketSocket> open_ndp(const LinkInterface& on);
  PacketSocket(PacketSocket&& other) noexcept;
  PacketSocket& operator=(PacketSocket&& other) noexcept;
  ~PacketSocket();

  int fd() const { return fd_; }
  // A packet from its network header on, into `room`; 0 bytes when nothing is there. What this
  // node sent itself is left out.
  Result<std::size_t> receive(std::span<std::uint8_t> room) const;
  Result<void> send(Bytes packet, const Mac& to) const;

 private:
  PacketSocket(int fd, unsigned index, std::uint16_t protocol)
      : fd_(fd), index_(index), protocol_(protocol) {}
  static Result<PacketSocket> open(const LinkInterface& on, std::uint16_t protocol);

  int fd_ = -1;
  unsigned index_ = 0;
  std::uint16_t protocol_ = 0;
};

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
