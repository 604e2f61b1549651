// The table of rights.
#include "core/store/rights.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/kv.h"

namespace tombolo {
namespace {

constexpr std::array<std::string_view, 8> kPublished{
    "cilium/.heartbeat",      "cilium/cluster-config/", "cilium/synced/",
    "cilium/state/",          "tombolo/v1/plan/",       "tombolo/v1/fleet/",
    "tombolo/v1/poolgrants/", "tombolo/v1/claimparts/"};

// True when every key of [key, range_end) begins with the prefix.
bool within(std::string_view prefix, std::string_view key, std::string_view range_end) {
  if (!key.starts_with(prefix)) return false;
  if (range_end.empty()) return true;
  return range_end != std::string_view("\0", 1) && range_end <= prefix_end(prefix);
}

bool node_may_write(const SpiffeName& node, std::string_view key, std::string_view range_end) {
  std::string own = fmt::format("cilium/state/nodes/v1/{}/{}", node.cluster, node.name);
  if (key == own && range_end.empty()) return true;
  // Claims of shared pools, and who announces an address, have no node in their keys, for the key
  // is what makes an address one node's: here a node is trusted to follow the records that it read.
  // But one by one: no range.
  if (range_end.empty() &&
      (within("tombolo/v1/claims/", key, "") || within("tombolo/v1/claimants/", key, "") ||
       within("tombolo/v1/poolblocks/", key, "") || within("tombolo/v1/announcements/", key, "")))
    return true;
  if (range_end.empty() && key == fmt::format("tombolo/v1/alive/{}/agent", node.name)) return true;
  return within("cilium/state/ip/v1/default/", key, range_end) ||
         within(fmt::format("tombolo/v1/leases/{}/", node.name), key, range_end) ||
         within(fmt::format("tombolo/v1/routed/{}/", node.name), key, range_end) ||
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
    if (access == Access::kRead || who.kind == SpiffeKind::kController) return true;
    if (who.kind == SpiffeKind::kOperator) return !is_viewer(subject);
    return node_may_write(who, key, range_end);
  }
  if (who.kind != SpiffeKind::kController || access != Access::kRead) return false;
  return std::ranges::any_of(kPublished,
                             [&](auto prefix) { return within(prefix, key, range_end); });
}

}  // namespace

Result<void> authorize(const StoreOwner& owner, const Peer& peer, Access access,
                       std::string_view key, std::string_view range_end) {
  std::optional<Error> unreadable;
  std::optional<SpiffeName> denied;
  for (const std::string& uri : peer.uris) {
    Result<SpiffeName> name = SpiffeName::parse(uri);
    if (!name) {
      unreadable = name.error();
      continue;
    }
    if (may(owner, *name, peer.subject, access, key, range_end)) return {};
    denied = std::move(*name);
  }
  if (denied)
    return fail(Code::kPermissionDenied, "{} may not {} '{}'{}", denied->str(),
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
