// What the codecs share: JSON of addresses and maps.
#pragma once

#include "core/json.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo::cilium {

// Labels of an identity that are not the pod's own.
inline constexpr std::string_view kClusterLabel = "io.cilium.k8s.policy.cluster";
inline constexpr std::string_view kAccountLabel = "io.cilium.k8s.policy.serviceaccount";
inline constexpr std::string_view kNamespaceLabel = "io.kubernetes.pod.namespace";
inline constexpr std::string_view kNamespaceLabelsPrefix = "io.cilium.k8s.namespace.labels.";

// A parsed record: the value and its place (the key) live as long as the cursor is used.
struct Record {
  json::value value;
  DocumentPlace place;
  Cursor root() const { return {value, place}; }
};
// The limit is etcd's on a value, 1.5 MiB.
Result<Record> parse_record(std::string_view key, std::string_view value);

Result<void> expect_text(const Cursor& at, std::string_view expected);
Result<Ip> ip_at(const Cursor& at);
Result<std::optional<Ip>> optional_ip_at(const Cursor& at);  // absent, null and "" give none
Result<Port> port_at(const Cursor& at);
Result<Protocol> protocol_at(const Cursor& at);

json::value json_of(const StringMap& map);
json::value json_or_null(const StringMap& map);  // null when empty, as Go writes a nil map
json::string json_text(std::string_view text);

// The mask of a prefix as Go writes it: base64 of its bytes in network order.
std::string mask_base64(Family family, int length);
Result<int> length_of_mask(const Cursor& at, Family family);

}  // namespace tombolo::cilium
