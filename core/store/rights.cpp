// The table of rights.
#include "core/store/rights.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "core/kv.h"

namespace tombolo {
namespace {

constexpr std::string_view kScheme = "spiffe://";

constexpr std::array<std::string_view, 6> kPublished{"cilium/.heartbeat", "cilium/cluster-config/",
                                                     "cilium/synced/",    "cilium/state/",
                                                     "tombolo/v1/plan/",  "tombolo/v1/fleet/"};

// True when every key of [key, range_end) begins with the prefix.
bool within(std::string_view prefix, std::string_view key, std::string_view range_end) {
  if (!key.starts_with(prefix)) return false;
  if (range_end.empty()) return true;
  return range_end != std::string_view("\0", 1) && range_end <= prefix_end(prefix);
}

bool node_may_write(const SpiffeName& node, std::string_view key, std::string_view range_end) {
  std::string own = fmt::format("cilium/state/nodes/v1/{}/{}", node.cluster, node.name);
  if (key == own && range_end.empty()) return true;
  return within("cilium/state/ip/v1/default/", key, range_end) ||
         within(fmt::format("tombolo/v1/leases/{}/", node.name), key, range_end) ||
         within(fmt::format("tombolo/v1/reach/{}/", node.name), key, range_end);
}

bool is_viewer(std::string_view subject) {
  while (!subject.empty()) {
    std::size_t comma = subject.find(',');
    if (subject.substr(0, comma) == "OU=viewer") return true;
    subject.remove_prefix(comma == std::string_view::npos ? subject.size() : comma + 1);
  }
  return false;
}

bool may(const StoreOwner& owner, const SpiffeName& who, std::string_view subject, Access access,
         std::string_view key, std::string_view range_end) {
  if (who.fleet != owner.fleet) return false;
  if (who.cluster == owner.cluster) {
    if (access == Access::kRead || who.role == SpiffeName::Role::kController) return true;
    if (who.role == SpiffeName::Role::kOperator) return !is_viewer(subject);
    return node_may_write(who, key, range_end);
  }
  if (who.role != SpiffeName::Role::kController || access != Access::kRead) return false;
  return std::ranges::any_of(kPublished,
                             [&](auto prefix) { return within(prefix, key, range_end); });
}

// Keys are bytes: made fit for a line of a log, and not too long for one.
std::string printable(std::string_view key) {
  std::string text;
  for (char c : key.substr(0, 200))
    text += c >= 0x20 && c < 0x7f ? std::string(1, c)
                                  : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> parts;
  while (true) {
    std::size_t slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

Result<SpiffeName> parse_spiffe(std::string_view uri) {
  auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "'{}' is no name of a fleet: {}", printable(uri), why);
  };
  if (!uri.starts_with(kScheme)) return wrong("it does not begin with spiffe://");
  std::vector<std::string_view> parts = split_path(uri.substr(kScheme.size()));
  if (std::ranges::any_of(parts, [](auto part) { return part.empty(); }))
    return wrong("a part is empty");
  if (parts.size() < 4 || parts[1] != "cluster")
    return wrong("it is not spiffe://FLEET/cluster/CLUSTER/ROLE");
  SpiffeName name{std::string(parts[0]), std::string(parts[2]), SpiffeName::Role::kController, ""};
  if (parts[3] == "controller") {
    if (parts.size() != 4) return wrong("something follows the role controller");
    return name;
  }
  if (parts[3] != "node" && parts[3] != "operator")
    return wrong("the role is not controller, node or operator");
  if (parts.size() != 5) return wrong("one name must follow the role");
  name.role = parts[3] == "node" ? SpiffeName::Role::kNode : SpiffeName::Role::kOperator;
  name.name = parts[4];
  return name;
}

std::string to_string(const SpiffeName& name) {
  std::string text = fmt::format("{}{}/cluster/{}/", kScheme, name.fleet, name.cluster);
  switch (name.role) {
    case SpiffeName::Role::kController:
      return text + "controller";
    case SpiffeName::Role::kNode:
      return text + "node/" + name.name;
    case SpiffeName::Role::kOperator:
      return text + "operator/" + name.name;
  }
  return text;
}

Result<void> authorize(const StoreOwner& owner, const Peer& peer, Access access,
                       std::string_view key, std::string_view range_end) {
  std::optional<Error> unreadable;
  std::optional<SpiffeName> denied;
  for (const std::string& uri : peer.uris) {
    Result<SpiffeName> name = parse_spiffe(uri);
    if (!name) {
      unreadable = name.error();
      continue;
    }
    if (may(owner, *name, peer.subject, access, key, range_end)) return {};
    denied = std::move(*name);
  }
  if (denied)
    return fail(Code::kPermissionDenied, "{} may not {} '{}'{}", to_string(*denied),
                access == Access::kRead ? "read" : "write", printable(key),
                range_end.empty() ? "" : fmt::format(" to '{}'", printable(range_end)));
  if (unreadable) return fail(Code::kUnauthenticated, "{}", unreadable->what);
  return fail(Code::kUnauthenticated, "the certificate of '{}' has no URI name",
              printable(peer.common_name));
}

Authorizer make_authorizer(StoreOwner owner) {
  return [owner = std::move(owner)](const Peer& peer, Access access, std::string_view key,
                                    std::string_view range_end) {
    return authorize(owner, peer, access, key, range_end);
  };
}

}  // namespace tombolo
