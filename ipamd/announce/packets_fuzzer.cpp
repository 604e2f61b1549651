// Whatever arrives on a link or lies in the store: parsed or refused, and what was parsed survives
// its own encoding.
#include "ipamd/announce/announce.h"
#include "ipamd/announce/packets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  using namespace tombolo::announce;
  Bytes bytes(data, size);
  if (auto arp = parse_arp(bytes)) ENSURE(parse_arp(encode(*arp)) == arp, "ARP");
  Ndp ndp = parse_ndp(bytes);
  if (const auto* said = std::get_if<Advertisement>(&ndp))
    ENSURE(parse_ndp(encode(*said)) == ndp, "an advertisement");
  if (const auto* asked = std::get_if<Solicitation>(&ndp))
    ENSURE(parse_ndp(encode(*asked, solicited_node_group(asked->target))) == ndp, "a solicitation");
  KeyValue kv{"tombolo/v1/announcements/203.0.113.7",
              std::string(reinterpret_cast<const char*>(data), size)};
  auto record = decode_announcement(kv);
  if (!record) {
    ENSURE(record.error().what.starts_with(kv.key), "{}", record.error().what);
    return 0;
  }
  kv.value = encode(*record);
  auto again = decode_announcement(kv);
  ENSURE(again && *again == *record, "a record changes in a round trip: {}", kv.value);
  return 0;
}
