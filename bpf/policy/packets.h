// Frames for tests and benchmarks of policy: Ethernet, IPv4 or IPv6, TCP, UDP, SCTP, ICMP.
// Checksums are left at 0: the programs do not look at them.
#pragma once

#include <string>

#include "core/ip.h"

namespace tombolo::bpf {

struct Frame {
  std::string source = "10.0.0.1";
  std::string destination = "10.0.0.2";
  std::uint8_t protocol = 6;
  Port source_port = 40000;  // ICMP: the identifier
  Port destination_port = 80;
  std::uint8_t tcp_flags = 2;  // SYN
  std::uint8_t icmp_type = 8;
  std::string payload;                // behind the transport header
  std::uint16_t fragment_id = 0;      // with fragment_offset or more_fragments
  std::uint16_t fragment_offset = 0;  // in units of 8 bytes
  bool more_fragments = false;
  std::size_t cut = 0;  // bytes taken off the end
};

// The whole frame.
std::string bytes_of(const Frame& frame);
// From the IP header on: what ICMP errors carry.
std::string packet_of(const Frame& frame);
// A frame of another ethertype.
std::string other_frame(std::uint16_t ethertype, const std::string& payload);

}  // namespace tombolo::bpf
