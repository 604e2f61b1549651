// Metadata of Kubernetes objects, with their names checked. Pure.
#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

Result<void> check_labels(const Cursor& at, const StringMap& labels) {
  for (const auto& [key, value] : labels) {
    if (!is_label_key(key)) return at[key].error("is not a label key");
    if (!is_label_value(value))
      return at[key].error(fmt::format("'{}' is not a label value", value.substr(0, 80)));
  }
  return {};
}

Result<void> check_annotations(const Cursor& at, const StringMap& annotations) {
  for (const auto& [key, value] : annotations)
    if (!is_label_key(key)) return at[key].error("is not an annotation key");
  return {};
}

// The controller among the owners. A ReplicaSet that a Deployment made stands for it: its name is
// the Deployment's and the value of the label pod-template-hash (k8s.io/kubernetes,
// pkg/controller/deployment/sync.go).
Result<std::string> decode_owner(const Cursor& references, const StringMap& labels) {
  if (references.is_null()) return std::string();
  TRY_OK(references.expect_array());
  for (std::size_t i = 0; i < references.size(); ++i) {
    Cursor reference = references.at(i);
    TRY_OK(reference.expect_object());
    TRY(controller, reference["controller"].boolean_or(false));
    if (!controller) continue;
    TRY(kind, reference["kind"].string());
    TRY(name, reference["name"].string());
    if (kind.empty() || kind.find('/') != std::string::npos)
      return reference["kind"].error("is not a kind");
    if (!is_dns_subdomain(name)) return reference["name"].error("is not a name (RFC 1123)");
    auto hash = labels.find("pod-template-hash");
    if (kind == "ReplicaSet" && hash != labels.end()) {
      std::string tail = "-" + hash->second;
      if (name.size() > tail.size() && name.ends_with(tail))
        return object_key("Deployment", name.substr(0, name.size() - tail.size()));
    }
    return object_key(kind, name);
  }
  return std::string();
}

}  // namespace

Result<Metadata> decode_template_metadata(const Cursor& metadata) {
  Metadata result;
  Cursor labels = metadata["labels"];
  Cursor annotations = metadata["annotations"];
  TRY(label_map, labels.string_map());
  TRY(annotation_map, annotations.string_map());
  TRY_OK(check_labels(labels, label_map));
  TRY_OK(check_annotations(annotations, annotation_map));
  result.labels = std::move(label_map);
  result.annotations = std::move(annotation_map);
  return result;
}

Result<Metadata> decode_metadata(const Cursor& root, NameKind kind) {
  Cursor metadata = root["metadata"];
  TRY_OK(metadata.expect_object());
  TRY(result, decode_template_metadata(metadata));
  TRY(name, metadata["name"].string());
  if (kind == NameKind::kLabel ? !is_dns_label(name) : !is_dns_subdomain(name))
    return metadata["name"].error(
        fmt::format("'{}' is not an RFC 1123 {}", name.substr(0, 80),
                    kind == NameKind::kLabel ? "label (lower-case letters, digits, '-', at most 63)"
                                             : "subdomain (labels joined by dots, at most 253)"));
  TRY(name_space, metadata["namespace"].string_or("default"));
  if (!is_dns_label(name_space))
    return metadata["namespace"].error(
        fmt::format("'{}' is not an RFC 1123 label", name_space.substr(0, 80)));
  result.name = std::move(name);
  result.name_space = std::move(name_space);
  TRY(owner, decode_owner(metadata["ownerReferences"], result.labels));
  result.owner = std::move(owner);
  TRY(deletion, metadata["deletionTimestamp"].string_or(""));
  result.deleted = !deletion.empty();
  Cursor created = metadata["creationTimestamp"];
  if (!created.is_null()) {
    TRY(text, created.string());
    auto time = parse_rfc3339(text);
    if (!time) return created.error(time.error().what);
    result.created_unix_s =
        std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count();
  }
  return result;
}

Result<std::string> optional_label(const Cursor& value) {
  TRY(text, value.string_or(""));
  if (!text.empty() && !is_dns_label(text))
    return value.error(fmt::format("'{}' is not an RFC 1123 label", text.substr(0, 80)));
  return text;
}

Result<Protocol> decode_protocol(const Cursor& value) {
  TRY(text, value.string_or("TCP"));
  auto protocol = parse_protocol(text);
  if (!protocol)
    return value.error(fmt::format("'{}' is not one of TCP, UDP, SCTP", text.substr(0, 80)));
  return protocol;
}

Result<Port> decode_port(const Cursor& value) {
  TRY(number, value.integer(1, 65535));
  return static_cast<Port>(number);
}

Result<Ip> decode_ip(const Cursor& value) {
  TRY(text, value.string());
  auto ip = Ip::parse(text);
  if (!ip) return value.error(ip.error().what);
  return ip;
}

Result<Namespace> decode_namespace(Cursor root) {
  TRY(metadata, decode_metadata(root, NameKind::kLabel));
  Namespace result;
  result.name = std::move(metadata.name);
  result.labels = std::move(metadata.labels);
  result.annotations = std::move(metadata.annotations);
  // The API server sets this label on every namespace; selectors rely on it.
  result.labels["kubernetes.io/metadata.name"] = result.name;
  return result;
}

}  // namespace tombolo::manifests
