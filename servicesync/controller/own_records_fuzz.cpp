// What the controller kept of addresses and of other clusters, read again after a restart: whatever
// lies there, it ends in a record that comes back the same, or in an error that names the key.
#include <cstddef>
#include <cstdint>

#include "servicesync/controller/address_allocator.h"
#include "servicesync/mesh/judge.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  KeyValue kv{"p/shop/web", std::string(text)};
  auto record = controller::decode_address_record("p/", kv);
  if (!record) {
    ENSURE(record.error().what.starts_with(kv.key), "{}", record.error().what);
  } else {
    kv.value = controller::encode(*record);
    auto again = controller::decode_address_record("p/", kv);
    ENSURE(again && *again == *record, "a record changes in a round trip: {}", kv.value);
  }
  auto state = mesh::parse_remote_state(text);
  ENSURE(!state || to_string(*state) == text, "{} is another state", text);
  return 0;
}
