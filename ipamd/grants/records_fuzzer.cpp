// Whatever lies in a store: decoded or refused by its key, and what was decoded survives its own
// encoding.
#include "ipamd/grants/grants.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  using namespace tombolo::grants;
  std::string value(reinterpret_cast<const char*>(data), size);
  KeyValue ledger_kv{ledger_key("racks"), value};
  if (auto ledger = decode_ledger(ledger_kv)) {
    auto again = decode_ledger({ledger_kv.key, encode(*ledger)});
    ENSURE(again && *again == *ledger, "a ledger");
  } else {
    ENSURE(ledger.error().what.starts_with(ledger_kv.key), "{}", ledger.error().what);
  }
  KeyValue parts_kv{parts_key("racks"), value};
  if (auto parts = decode_parts(parts_kv)) {
    auto again = decode_parts({parts_kv.key, encode(*parts)});
    ENSURE(again && *again == *parts, "parts");
  } else {
    ENSURE(parts.error().what.starts_with(parts_kv.key), "{}", parts.error().what);
  }
  return 0;
}
