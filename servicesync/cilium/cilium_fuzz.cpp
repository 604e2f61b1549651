// Whatever a remote cluster writes, decoding ends in a record or in an error that names the key,
// and a record that was accepted is written and read again as the same.
#include <cstddef>
#include <cstdint>

#include "servicesync/cilium/cilium.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo::cilium;
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Origin origin{"c2", 2, 8};
  RecordKind kind = kRecordKinds[data[0] % kRecordKinds.size()];
  std::string_view name = kind == RecordKind::kIdentities ? "135783"
                          : kind == RecordKind::kIps      ? "10.2.0.17"
                          : kind == RecordKind::kNodes    ? "node-a"
                                                          : "shop/web";
  auto checked = check_record(kind, "key", name, text, origin);
  ENSURE(checked || checked.error().what.starts_with("key: "), "{}", checked.error().what);
  if (checked && kind == RecordKind::kServices) {
    auto service = decode_service("key", name, text, origin);
    auto again = decode_service("key", name, encode(*service), origin);
    ENSURE(again && *again == *service, "a service changes in a round trip");
  }
  auto config = decode_cluster_config("key", text);
  ENSURE(config || config.error().what.starts_with("key: "), "{}", config.error().what);
  return 0;
}
