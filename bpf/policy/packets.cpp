// Frames for tests and benchmarks of policy: bytes from fields, in network byte order.
#include "bpf/policy/packets.h"

namespace tombolo::bpf {
namespace {

std::string be16(std::uint32_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
std::string be32(std::uint32_t value) {
  return be16(value >> 16) + be16(value & 0xffff);
}

std::string transport_of(const Frame& frame) {
  std::string ports = be16(frame.source_port) + be16(frame.destination_port);
  switch (frame.protocol) {
    case 6:
      return ports + be32(1) + be32(1) + std::string{0x50, static_cast<char>(frame.tcp_flags)} +
             be16(64000) + be32(0) + frame.payload;
    case 17:
      return ports + be16(static_cast<std::uint32_t>(8 + frame.payload.size())) + be16(0) +
             frame.payload;
    case 132:
      return ports + be32(1) + be32(0) + frame.payload;
    case 1:
    case 58:
      return std::string{static_cast<char>(frame.icmp_type), 0} + be16(0) +
             be16(frame.source_port) + be16(0) + frame.payload;
    default:
      return frame.payload;
  }
}

std::string v4_header(const Frame& frame, std::size_t length) {
  std::uint32_t fragment = frame.fragment_offset | (frame.more_fragments ? 0x2000U : 0U);
  return std::string{0x45, 0} + be16(static_cast<std::uint32_t>(20 + length)) +
         be16(frame.fragment_id) + be16(fragment) +
         std::string{64, static_cast<char>(frame.protocol)} + be16(0) +
         Ip::parse(frame.source).value().bytes_be() +
         Ip::parse(frame.destination).value().bytes_be();
}

std::string v6_header(const Frame& frame, std::size_t length) {
  bool fragment = frame.fragment_offset != 0 || frame.more_fragments;
  std::string extension;
  if (fragment)
    extension = std::string{static_cast<char>(frame.protocol), 0} +
                be16(static_cast<std::uint32_t>(frame.fragment_offset << 3 |
                                                (frame.more_fragments ? 1 : 0))) +
                be32(frame.fragment_id);
  char next = fragment ? 44 : static_cast<char>(frame.protocol);
  return be32(0x60000000U) + be16(static_cast<std::uint32_t>(extension.size() + length)) +
         std::string{next, static_cast<char>(255)} + Ip::parse(frame.source).value().bytes_be() +
         Ip::parse(frame.destination).value().bytes_be() + extension;
}

std::string ethernet(std::uint16_t ethertype) {
  return std::string("\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12) + be16(ethertype);
}

}  // namespace

std::string packet_of(const Frame& frame) {
  bool later = frame.fragment_offset != 0;
  std::string transport = later ? frame.payload : transport_of(frame);
  bool v4 = Ip::parse(frame.source).value().is_v4();
  std::string header = v4 ? v4_header(frame, transport.size()) : v6_header(frame, transport.size());
  return header + transport;
}

std::string bytes_of(const Frame& frame) {
  bool v4 = Ip::parse(frame.source).value().is_v4();
  std::string bytes = ethernet(v4 ? 0x0800 : 0x86dd) + packet_of(frame);
  bytes.resize(bytes.size() - frame.cut);
  return bytes;
}

std::string other_frame(std::uint16_t ethertype, const std::string& payload) {
  return ethernet(ethertype) + payload;
}

}  // namespace tombolo::bpf
