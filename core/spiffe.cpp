// Names of a fleet from text and to text.
#include "core/spiffe.h"

#include <algorithm>
#include <vector>

#include "core/names.h"

namespace tombolo {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::size_t kLongestUri = 2048;  // the standard's own limit
constexpr std::size_t kLongestCluster = 32;
constexpr std::size_t kLongestOperator = 64;
constexpr std::size_t kMostParts = 6;  // one more than any name has

bool is_operator(std::string_view text) {
  if (text.empty() || text.size() > kLongestOperator || text == "." || text == "..") return false;
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  while (parts.size() < kMostParts) {
    std::size_t slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

}  // namespace

std::string printable(std::string_view bytes) {
  std::string text;
  for (char c : bytes.substr(0, 200))
    text += c >= 0x20 && c < 0x7f ? std::string(1, c)
                                  : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

Result<void> check_name(const SpiffeName& name) {
  if (!is_dns_subdomain(name.fleet))
    return fail(Code::kInvalidArgument,
                "fleet \"{}\" must be lower case letters, digits, '-' and '.'",
                printable(name.fleet));
  if (!is_dns_label(name.cluster) || name.cluster.size() > kLongestCluster)
    return fail(Code::kInvalidArgument,
                "cluster \"{}\" must be 1 to 32 lower case letters, digits and '-'",
                printable(name.cluster));
  switch (name.kind) {
    case SpiffeKind::kController:
      if (!name.name.empty())
        return fail(Code::kInvalidArgument, "a controller has no name of its own");
      return {};
    case SpiffeKind::kNode:
      if (is_dns_subdomain(name.name)) return {};
      return fail(Code::kInvalidArgument,
                  "node \"{}\" must be a DNS name of lower case letters, digits, '-' and '.'",
                  printable(name.name));
    case SpiffeKind::kOperator:
      if (is_operator(name.name)) return {};
      return fail(Code::kInvalidArgument,
                  "operator \"{}\" must be 1 to 64 letters, digits, '.', '_' and '-'",
                  printable(name.name));
  }
  return fail(Code::kInternal, "unknown kind of name");
}

Result<SpiffeName> SpiffeName::parse(std::string_view uri) {
  auto wrong = [&] {
    return fail(Code::kInvalidArgument,
                "\"{}\" is not spiffe://FLEET/cluster/CLUSTER/{{controller,node/NODE,"
                "operator/NAME}}",
                printable(uri.substr(0, 100)));
  };
  if (!uri.starts_with(kScheme) || uri.size() > kLongestUri) return wrong();
  std::vector<std::string_view> parts = split(uri.substr(kScheme.size()));
  SpiffeName name;
  bool known = parts.size() >= 4 && parts[1] == "cluster";
  if (known && parts.size() == 4 && parts[3] == "controller") {
    name.kind = SpiffeKind::kController;
  } else if (known && parts.size() == 5 && (parts[3] == "node" || parts[3] == "operator")) {
    name.kind = parts[3] == "node" ? SpiffeKind::kNode : SpiffeKind::kOperator;
    name.name = parts[4];
  } else {
    return wrong();
  }
  name.fleet = parts[0];
  name.cluster = parts[2];
  TRY_OK(check_name(name));
  return name;
}

std::string SpiffeName::short_name() const {
  switch (kind) {
    case SpiffeKind::kController:
      return "controller";
    case SpiffeKind::kNode:
      return "node/" + name;
    case SpiffeKind::kOperator:
      return "operator/" + name;
  }
  return {};
}

std::string SpiffeName::str() const {
  return fmt::format("{}{}/cluster/{}/{}", kScheme, fleet, cluster, short_name());
}

}  // namespace tombolo
