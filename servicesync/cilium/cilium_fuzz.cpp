// Whatever a remote cluster writes, and whatever lies in one's own store, decoding ends in a record
// or in an error that names the key, and a record that was accepted is written and read again as
// the same. The first byte chooses the kind of record.
#include <cstddef>
#include <cstdint>

#include "servicesync/cilium/cilium.h"

namespace {

using namespace tombolo;
using namespace tombolo::cilium;

const Origin kOrigin{"c2", 2, 8};

template <class Value>
void names_its_key(const Result<Value>& decoded) {
  ENSURE(decoded || decoded.error().what.starts_with("key: "), "{}", decoded.error().what);
}

// `decode` takes a value; what it accepts is encoded and decoded to the same.
template <class Decode>
void round_trip(std::string_view text, Decode decode) {
  auto record = decode(text);
  names_its_key(record);
  if (!record) return;
  std::string written = encode(*record);
  auto again = decode(written);
  ENSURE(again && *again == *record, "a record changes in a round trip: {}", written);
}

std::string_view name_of(RecordKind kind) {
  switch (kind) {
    case RecordKind::kIdentities:
      return "135783";
    case RecordKind::kIps:
      return "10.2.0.17";
    case RecordKind::kNodes:
      return "node-a";
    case RecordKind::kServices:
    case RecordKind::kServiceExports:
      return "shop/web";
  }
  return "";
}

void identity(std::string_view text) {
  auto row = decode_identity_row("key", name_of(RecordKind::kIdentities), text, kOrigin);
  names_its_key(row);
  auto labels = decode_identity("key", name_of(RecordKind::kIdentities), text, kOrigin);
  ENSURE(labels || !row);
  if (!labels) return;
  auto again = decode_labels("key", encode_labels(*labels));
  ENSURE(again && *again == *labels, "labels change in a round trip");
}

void remote(RecordKind kind, std::string_view text) {
  std::string_view name = name_of(kind);
  names_its_key(check_record(kind, "key", name, text, kOrigin));
  switch (kind) {
    case RecordKind::kIdentities:
      return identity(text);
    case RecordKind::kIps:
      return round_trip(text, [&](auto value) { return decode_ip("key", name, value, kOrigin); });
    case RecordKind::kNodes:
      return round_trip(text, [&](auto value) { return decode_node("key", name, value, kOrigin); });
    case RecordKind::kServices:
      return round_trip(text,
                        [&](auto value) { return decode_service("key", name, value, kOrigin); });
    case RecordKind::kServiceExports:
      return round_trip(
          text, [&](auto value) { return decode_service_export("key", name, value, kOrigin); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  remote(kRecordKinds[data[0] % kRecordKinds.size()], text);
  round_trip(text, [](auto value) { return decode_cluster_config("key", value); });
  round_trip(text, [](auto value) { return decode_workload_record("key", value); });
  names_its_key(decode_local_pod("key", "shop/web-0", text));
  names_its_key(decode_time("key", text));
  return 0;
}
