// A packet socket (packet(7)) for the ARP or the neighbour discovery of one interface. Does not
// block. Any one thread.
#pragma once

#include <optional>
#include <string_view>

#include "core/error.h"
#include "ipamd/probe/packets.h"

namespace tombolo::probe {

// An interface of the calling thread's network namespace.
struct Device {
  int index = 0;
  Mac mac{};
};
// kNotFound: there is none of that name; kFailedPrecondition: it is down or no Ethernet.
Result<Device> find_device(const std::string& name);

class PacketSocket {
 public:
  PacketSocket() = default;
  ~PacketSocket();
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  // Hears ARP, or (kV6) solicitations and advertisements, and nothing else.
  Result<void> open(const Device& device, Family family);
  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  Result<void> send(std::string_view packet, const Mac& to);
  // What the next packet that was received claims, with the sender's MAC address; nothing when none
  // is waiting. Packets of the interface itself, and those that claim nothing, are passed over, at
  // most kMostReads at a time.
  std::optional<Claim> receive();
  static constexpr int kMostReads = 256;

 private:
  int fd_ = -1;
  Device device_;
  Family family_ = Family::kV4;
};

}  // namespace tombolo::probe
