// k8s.io/apimachinery validation: RFC 1123 labels and subdomains, RFC 6335 service names, qualified
// label keys.
#include "core/names.h"

#include <algorithm>

namespace tombolo {
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

}  // namespace tombolo
