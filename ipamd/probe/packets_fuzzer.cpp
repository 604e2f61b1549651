// Anybody on the network may send these packets: whatever they hold, reading ends with nothing or
// with a claim of an address that somebody can have; what we ask is understood by ourselves.
#include <cstddef>
#include <cstdint>

#include "ipamd/probe/packets.h"

using namespace tombolo;
using namespace tombolo::probe;

// libFuzzer's entry point: its name and form are given.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view packet(reinterpret_cast<const char*>(data), size);
  if (auto claim = read_arp(packet)) {
    ENSURE(claim->ip.is_v4() && claim->ip.value() != 0 && claim->mac);
    auto again = read_arp(encode_arp_probe(*claim->mac, claim->ip));
    ENSURE(again && again->asks && again->ip == claim->ip && again->mac == claim->mac);
  }
  if (auto claim = read_neighbour(packet)) {
    ENSURE(!claim->ip.is_v4() && claim->ip.value() != 0);
    auto again = read_neighbour(encode_solicitation(claim->ip));
    ENSURE(again && again->asks && again->ip == claim->ip);
  }
  return 0;
}
