// Asks a network whether an address is in use before a pod gets it, and whether a gateway is there:
// ARP probes (RFC 5227, sender 0.0.0.0) and duplicate address detection (RFC 4862, from ::), which
// leave no trace in anybody's tables. Control thread; nothing blocks.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ip.h"

namespace tombolo {

namespace asio = boost::asio;

struct ProbeQuestion {
  // An Ethernet interface of the agent's own network namespace, up. Empty: the one that has a
  // subnet with the addresses in it.
  std::string device;
  std::vector<Ip> unused;    // that nobody should have
  std::vector<Ip> gateways;  // that should answer
  // Asked for with this tag (IEEE 802.1Q) as well, unless the device is of that VLAN itself: what
  // carries it to the pod may be a device of the VLAN, or a port of a switch without tags. 0: no.
  std::uint16_t vlan = 0;
};

struct ProbeAnswer {
  std::map<Ip, std::string> conflicts;  // of `unused`: the MAC address of whoever has it
  std::map<Ip, std::string> gateways;   // of `gateways`: the MAC address of whoever answered
};

struct ProbeTiming {
  std::chrono::milliseconds window{100};  // after each round of questions
  int rounds = 3;
};

// Addresses and gateways of one question.
inline constexpr std::size_t kMostProbed = 64;

class AddressProber {
 public:
  virtual ~AddressProber() = default;
  // All of them at once. Ends early at the first conflict, and when nothing is left to wait for;
  // that nobody has an address is known after every round and its window. kNotFound: there is no
  // such device, or none on their network; kFailedPrecondition: it is down or no Ethernet;
  // kInvalidArgument: too many addresses; kPermissionDenied: no right to packet sockets.
  virtual asio::awaitable<Result<ProbeAnswer>> probe(ProbeQuestion question) = 0;
};

// By packet sockets of the network namespace that the caller's thread is in.
std::unique_ptr<AddressProber> make_packet_prober(asio::any_io_executor executor,
                                                  ProbeTiming timing = {});

}  // namespace tombolo
