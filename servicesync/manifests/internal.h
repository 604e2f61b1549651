// What the decoders of manifests share: metadata, ports and names with their errors.
#pragma once

#include "servicesync/manifests/manifests.h"

namespace tombolo::manifests {

enum class NameKind { kLabel, kSubdomain };

struct Metadata {
  std::string name_space;  // "default" when absent
  std::string name;
  StringMap labels;
  StringMap annotations;
  std::string owner;                // "KIND/NAME" of the controller in ownerReferences
  bool deleted = false;             // deletionTimestamp is set
  std::int64_t created_unix_s = 0;  // 0 when absent
};

// metadata of a named object.
Result<Metadata> decode_metadata(const Cursor& root, NameKind kind);
// metadata of a pod template: no name is needed.
Result<Metadata> decode_template_metadata(const Cursor& metadata);
// Everything of a pod's spec that a Workload row has.
Result<void> decode_pod_spec(const Cursor& spec, Workload& pod);

// Class, source ranges, traffic policy and wanted address of a load balancer. After type and
// annotations.
Result<void> decode_load_balancer(const Cursor& spec, Service& service);

// An absent value gives "" or the fallback.
Result<std::string> optional_label(const Cursor& value);
Result<Protocol> decode_protocol(const Cursor& value);  // TCP when absent
Result<Port> decode_port(const Cursor& value);          // 1..65535, required
Result<Ip> decode_ip(const Cursor& value);

}  // namespace tombolo::manifests
