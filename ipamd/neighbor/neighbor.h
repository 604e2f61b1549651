// Neighbours on a link: the packets by which nodes ask for addresses and say that they have them,
// ARP for IPv4 (RFC 826, RFC 5227) and neighbour discovery for IPv6 (RFC 4861), and the sockets
// that carry them. Probes (ipamd/probe) and announcements (ipamd/announce) stand on it. Parsing
// trusts nothing: what is not exactly such a packet is nothing. Packets are pure; a socket is for
// one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/ip.h"

namespace tombolo::neighbor {

using Mac = std::array<std::uint8_t, 6>;
using Bytes = std::span<const std::uint8_t>;

inline constexpr Mac kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
std::string to_string(const Mac& mac);  // "02:00:00:00:00:01"

struct Arp {
  bool reply = false;  // else a request
  Mac sender_mac{};
  Ip sender_ip;
  Mac target_mac{};
  Ip target_ip;
  bool operator==(const Arp&) const = default;
};

// Of Ethernet and IPv4; bytes behind the packet (padding) are ignored.
std::optional<Arp> parse_arp(Bytes packet);
std::array<std::uint8_t, 28> encode(const Arp& arp);

// Who has `target`? `source` is :: when somebody wants to take it (RFC 4862 section 5.4).
struct Solicitation {
  Ip source;
  Ip target;
  std::optional<Mac> source_mac;
  bool operator==(const Solicitation&) const = default;
};

struct Advertisement {
  Ip source;
  Ip destination;
  Ip target;
  bool solicited = false;
  bool override_others = false;
  std::optional<Mac> target_mac;
  bool operator==(const Advertisement&) const = default;
};

using Ndp = std::variant<std::monostate, Solicitation, Advertisement>;

// An IPv6 packet from its header on. Checked as RFC 4861 sections 7.1.1 and 7.1.2 ask: hop limit
// 255, checksum, lengths.
Ndp parse_ndp(Bytes packet);
// The whole IPv6 packet.
std::vector<std::uint8_t> encode(const Advertisement& advertisement);
std::vector<std::uint8_t> encode(const Solicitation& solicitation, const Ip& destination);

Ip all_nodes();                           // ff02::1
Ip solicited_node_group(const Ip& ip);    // ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1)
Mac multicast_mac(const Ip& ipv6_group);  // 33:33:… (RFC 2464 section 7)

// An interface of the calling thread's network namespace.
struct Device {
  std::string name;
  unsigned index = 0;
  Mac mac{};
  bool operator==(const Device&) const = default;
};
// kNotFound: there is none of that name; kFailedPrecondition: it is down or no Ethernet.
Result<Device> find_device(const std::string& name);
// The VLAN whose packets the device carries without a tag, because it is a VLAN device itself
// (ip-link(8), type vlan); 0: it is none.
std::uint16_t vlan_of_device(const std::string& name);
// The name of the Ethernet device that is up and has a subnet with all of these addresses in it: of
// several the one with the longest prefix. kNotFound: there is none.
Result<std::string> device_on_network_of(const std::vector<Ip>& ips);

// A packet socket (packet(7)) of one interface. Never blocks; closed with the object.
class PacketSocket {
 public:
  // Hears ARP (kV4), or solicitations and advertisements (kV6), and nothing else.
  // With a `vlan` it hears and sends packets with that tag (IEEE 802.1Q) alone, whether or not the
  // node has a device of that VLAN, and for its time the interface takes in everything: hardware
  // drops the tags that nobody has told it of. kPermissionDenied without CAP_NET_RAW.
  static Result<PacketSocket> open(const Device& on, Family family, std::uint16_t vlan = 0);
  PacketSocket(PacketSocket&& other) noexcept;
  PacketSocket& operator=(PacketSocket&& other) noexcept;
  ~PacketSocket();

  int fd() const { return fd_; }
  // Hears what is sent to this group as well, until the socket is closed.
  Result<void> join(const Mac& group);
  struct Received {
    std::size_t size = 0;  // 0: nothing was there
    Mac from{};
  };
  // One packet, from its network header on, into `room`. What this node sent itself is left out.
  Result<Received> receive(std::span<std::uint8_t> room) const;
  // A full queue is an error with ENOBUFS or EAGAIN.
  Result<void> send(Bytes packet, const Mac& to) const;

 private:
  PacketSocket(int fd, const Device& on, Family family, std::uint16_t vlan)
      : fd_(fd), index_(on.index), own_(on.mac), family_(family), vlan_(vlan) {}
  Result<void> prepare(const std::string& name);

  int fd_ = -1;
  unsigned index_ = 0;
  Mac own_{};
  Family family_ = Family::kV4;
  std::uint16_t vlan_ = 0;  // 0: without a tag
};

}  // namespace tombolo::neighbor
