// SPIFFE names and roles: pure text.
#include <algorithm>
#include <array>

#include "app/pki/pki.h"

namespace tombolo::pki {
namespace {

bool is_lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// RFC 1123 label: letters, digits and '-', not at the ends.
bool is_label(std::string_view text, std::size_t longest) {
  if (text.empty() || text.size() > longest || text.front() == '-' || text.back() == '-')
    return false;
  return std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

bool is_dns_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    std::size_t dot = text.find('.');
    if (!is_label(text.substr(0, dot), 63)) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_operator(std::string_view text) {
  if (text.empty() || text.size() > 64 || text == "." || text == "..") return false;
  return std::ranges::all_of(text, [](char c) {
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace

Result<void> check_name(const SpiffeName& name) {
  if (!is_dns_name(name.fleet))
    return fail(Code::kInvalidArgument,
                "fleet \"{}\" must be lower case letters, digits, '-' and '.'", name.fleet);
  if (!is_label(name.cluster, 32))
    return fail(Code::kInvalidArgument,
                "cluster \"{}\" must be 1 to 32 lower case letters, digits and '-'", name.cluster);
  switch (name.kind) {
    case Kind::kController:
      if (!name.name.empty())
        return fail(Code::kInvalidArgument, "a controller has no name of its own");
      return {};
    case Kind::kNode:
      if (is_dns_name(name.name)) return {};
      return fail(Code::kInvalidArgument,
                  "node \"{}\" must be a DNS name of lower case letters, digits, '-' and '.'",
                  name.name);
    case Kind::kOperator:
      if (is_operator(name.name)) return {};
      return fail(Code::kInvalidArgument,
                  "operator \"{}\" must be 1 to 64 letters, digits, '.', '_' and '-'", name.name);
  }
  return fail(Code::kInternal, "unknown kind of name");
}

Result<SpiffeName> SpiffeName::parse(std::string_view uri) {
  constexpr std::string_view kScheme = "spiffe://";
  if (!uri.starts_with(kScheme) || uri.size() > 2048)
    return fail(Code::kInvalidArgument, "\"{}\" is not spiffe://FLEET/cluster/CLUSTER/…",
                uri.substr(0, 100));
  std::vector<std::string_view> parts;
  std::string_view rest = uri.substr(kScheme.size());
  while (parts.size() < 6) {
    std::size_t slash = rest.find('/');
    parts.push_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  SpiffeName name;
  bool known = parts.size() >= 4 && parts[1] == "cluster";
  if (known && parts.size() == 4 && parts[3] == "controller") {
    name.kind = Kind::kController;
  } else if (known && parts.size() == 5 && (parts[3] == "node" || parts[3] == "operator")) {
    name.kind = parts[3] == "node" ? Kind::kNode : Kind::kOperator;
    name.name = parts[4];
  } else {
    return fail(Code::kInvalidArgument,
                "\"{}\" is not spiffe://FLEET/cluster/CLUSTER/{{controller,node/NODE,"
                "operator/NAME}}",
                uri.substr(0, 100));
  }
  name.fleet = parts[0];
  name.cluster = parts[2];
  TRY_OK(check_name(name));
  return name;
}

std::string SpiffeName::short_name() const {
  switch (kind) {
    case Kind::kController:
      return "controller";
    case Kind::kNode:
      return "node/" + name;
    case Kind::kOperator:
      return "operator/" + name;
  }
  return {};
}

std::string SpiffeName::str() const {
  return fmt::format("spiffe://{}/cluster/{}/{}", fleet, cluster, short_name());
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kNone:
      return "none";
    case Role::kViewer:
      return "viewer";
    case Role::kAdmin:
      return "admin";
  }
  return "none";
}

Result<Role> parse_role(std::string_view text) {
  for (Role role : std::array{Role::kViewer, Role::kAdmin})
    if (text == to_string(role)) return role;
  return fail(Code::kInvalidArgument, "role \"{}\" must be viewer or admin", text.substr(0, 64));
}

}  // namespace tombolo::pki
