// Whatever lies in the store under announcements: decoded or refused by its key, and what was
// decoded survives its own encoding.
#include "ipamd/announce/announce.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  using namespace tombolo::announce;
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
