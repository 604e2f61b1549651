// Names of Kubernetes objects, as the API server checks them (k8s.io/apimachinery: RFC 1123 labels
// and subdomains, RFC 6335 service names, qualified label keys). Pure.
#pragma once

#include <string_view>

namespace tombolo {

bool is_dns_label(std::string_view text);      // at most 63
bool is_dns_subdomain(std::string_view text);  // labels joined by dots, at most 253
bool is_port_name(std::string_view text);      // IANA service name: at most 15, one letter
bool is_label_key(std::string_view text);      // "prefix/name"
bool is_label_value(std::string_view text);    // at most 63, may be empty

}  // namespace tombolo
