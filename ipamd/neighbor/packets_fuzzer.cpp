// Anybody on a link may send these packets: they are parsed or refused, and what was parsed
// survives its own encoding.
#include "ipamd/neighbor/neighbor.h"

// libFuzzer's entry point: its name and form are given.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  using namespace tombolo::neighbor;
  Bytes bytes(data, size);
  if (auto arp = parse_arp(bytes)) ENSURE(parse_arp(encode(*arp)) == arp, "ARP");
  Ndp ndp = parse_ndp(bytes);
  if (const auto* said = std::get_if<Advertisement>(&ndp))
    ENSURE(parse_ndp(encode(*said)) == ndp, "an advertisement");
  if (const auto* asked = std::get_if<Solicitation>(&ndp))
    ENSURE(parse_ndp(encode(*asked, solicited_node_group(asked->target))) == ndp, "a solicitation");
  return 0;
}
