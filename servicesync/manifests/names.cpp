// Names and metadata of Kubernetes objects: k8s.io/apimachinery validation (RFC 1123 labels and
// subdomains, RFC 6335 service names, qualified label keys). Pure.
#include <algorithm>

#include "servicesync/manifests/internal.h"

namespace tombolo::manifests {
namespace {

bool lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool letter_or_digit(char c) {
  return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

// [A-Za-z0-9] at both ends; also '-', '_' and '.' between.
bool is_qualified_part(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  if (!letter_or_digit(text.front()) || !letter_or_digit(text.back())) return false;
  return std::ranges::all_of(
      text, [](char c) { return letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

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

}  // namespace

bool is_dns_label(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  if (!lower_or_digit(text.front()) || !lower_or_digit(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return lower_or_digit(c) || c == '-'; });
}

bool is_dns_subdomain(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    std::size_t dot = text.find('.');
    if (!is_dns_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_port_name(std::string_view text) {
  if (text.size() > 15 || !is_dns_label(text)) return false;
  if (text.find("--") != std::string_view::npos) return false;
  return std::ranges::any_of(text, [](char c) { return c >= 'a' && c <= 'z'; });
}

bool is_label_key(std::string_view text) {
  std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_qualified_part(text);
  return is_dns_subdomain(text.substr(0, slash)) && is_qualified_part(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) {
  return text.empty() || is_qualified_part(text);
}

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
