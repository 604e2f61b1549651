// Grants: one JSON document with all that a cluster needs to read another one's store.
#include <algorithm>
#include <charconv>

#include "app/pki/pki.h"
#include "core/json.h"

namespace tombolo::pki {
namespace {

constexpr std::string_view kKind = "tombolo.ClusterGrant";
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kLongestGrant = 256U << 10U;
constexpr std::size_t kMostAddresses = 16;

// "host:port" or "[v6]:port".
Result<void> check_address(std::string_view text) {
  std::size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  int port = 0;
  bool number = false;
  if (colon != std::string_view::npos) {
    const char* end = text.data() + text.size();
    auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
    number = error == std::errc{} && stop == end && port >= 1 && port <= 65535;
  }
  SpiffeName probe{"fleet", "cluster", Kind::kNode, std::string(host)};
  if (number && (Ip::parse(host) || check_name(probe))) return {};
  return fail(Code::kInvalidArgument, "\"{}\" is not host:port", text.substr(0, 100));
}

// A complaint about a member, with its place in front.
Result<void> at(const Cursor& place, const Result<void>& checked) {
  if (checked) return {};
  return place.error(checked.error().what);
}

Result<Grant> decode(const Cursor& root) {
  TRY_OK(root.expect_object());
  TRY(kind, root["kind"].string());
  if (kind != kKind) return root["kind"].error(fmt::format("must be \"{}\"", kKind));
  TRY(version, root["version"].integer(1, 1'000'000));
  if (version != kVersion)
    return root["version"].error(
        fmt::format("version {} is not understood here, only {}", version, kVersion));
  TRY_OK(root.only({"kind", "version", "fleet", "cluster", "cluster_id", "granted_to", "addresses",
                    "authority", "certificate", "key"}));
  Grant grant;
  TRY(fleet, root["fleet"].string());
  TRY(cluster, root["cluster"].string());
  TRY(cluster_id, root["cluster_id"].integer(1, 65535));
  TRY(granted_to, root["granted_to"].string());
  TRY_OK(root["addresses"].expect_array());
  TRY(addresses, root["addresses"].string_list());
  TRY(authority, root["authority"].string());
  TRY(certificate, root["certificate"].string());
  TRY(key, root["key"].string());
  grant.fleet = std::move(fleet);
  grant.cluster = std::move(cluster);
  grant.cluster_id = static_cast<std::uint32_t>(cluster_id);
  grant.granted_to = std::move(granted_to);
  grant.addresses = std::move(addresses);
  grant.authority = std::move(authority);
  grant.client = {std::move(certificate), std::move(key)};
  return grant;
}

Result<void> check_names(const Cursor& root, const Grant& grant) {
  SpiffeName self{grant.fleet, grant.cluster, Kind::kController, ""};
  TRY_OK(at(root["cluster"], check_name(self)));
  SpiffeName other{grant.fleet, grant.granted_to, Kind::kController, ""};
  TRY_OK(at(root["granted_to"], check_name(other)));
  if (grant.addresses.empty() || grant.addresses.size() > kMostAddresses)
    return root["addresses"].error(
        fmt::format("{} addresses; must be 1 to {}", grant.addresses.size(), kMostAddresses));
  Cursor addresses = root["addresses"];
  for (std::size_t i = 0; i < grant.addresses.size(); ++i)
    TRY_OK(at(addresses.at(i), check_address(grant.addresses[i])));
  return {};
}

Result<void> check_certificates(const Cursor& root, const Grant& grant, WallTime now) {
  TRY_OK(at(root["key"], check_pair(grant.client)));
  TRY_OK(at(root["certificate"], verify(grant.client.certificate, grant.authority, now)));
  TRY(facts, read_certificate(grant.client.certificate));
  auto name = facts.name();
  if (!name) return root["certificate"].error(name.error().what);
  SpiffeName expected{grant.fleet, grant.granted_to, Kind::kController, ""};
  if (*name != expected)
    return root["certificate"].error(
        fmt::format("is for {}, not for {}", name->str(), expected.str()));
  return {};
}

}  // namespace

Result<Grant> make_grant(Grant grant, const KeyPair& authority, Lifetime lifetime) {
  if (grant.cluster == grant.granted_to)
    return fail(Code::kInvalidArgument, "cluster {} cannot be granted to itself", grant.cluster);
  if (grant.addresses.empty() || grant.addresses.size() > kMostAddresses)
    return fail(Code::kInvalidArgument, "{} addresses; must be 1 to {}", grant.addresses.size(),
                kMostAddresses);
  for (const auto& address : grant.addresses) TRY_OK(check_address(address));
  IssueRequest request{{grant.fleet, grant.granted_to, Kind::kController, ""}, Role::kNone, {}, {}};
  TRY(client, issue(authority, request, lifetime));
  grant.client = std::move(client);
  if (grant.authority.empty()) grant.authority = authority.certificate;
  return grant;
}

std::string to_text(const Grant& grant) {
  json::array addresses;
  for (const auto& address : grant.addresses) addresses.emplace_back(address);
  json::object root;
  root["kind"] = kKind;
  root["version"] = kVersion;
  root["fleet"] = grant.fleet;
  root["cluster"] = grant.cluster;
  root["cluster_id"] = grant.cluster_id;
  root["granted_to"] = grant.granted_to;
  root["addresses"] = std::move(addresses);
  root["authority"] = grant.authority;
  root["certificate"] = grant.client.certificate;
  root["key"] = grant.client.key;
  return to_pretty_json(root) + "\n";
}

Result<Grant> parse_grant(std::string_view text, std::string source, WallTime now) {
  auto document = parse_json(text, {kLongestGrant, 8});
  if (!document) return std::unexpected(std::move(document).error().with_context(source));
  DocumentPlace place{std::move(source), {}};
  Cursor root(*document, place);
  TRY(grant, decode(root));
  TRY_OK(check_names(root, grant));
  TRY_OK(check_certificates(root, grant, now));
  return grant;
}

Result<void> check_grant_for(const Grant& grant, std::string_view fleet, std::string_view cluster,
                             std::uint32_t cluster_id) {
  if (grant.fleet != fleet)
    return fail(Code::kFailedPrecondition, "the grant is of fleet {}, this cluster is of fleet {}",
                grant.fleet, fleet);
  if (grant.granted_to != cluster)
    return fail(Code::kFailedPrecondition, "the grant is for cluster {}, this is cluster {}",
                grant.granted_to, cluster);
  if (grant.cluster == cluster)
    return fail(Code::kFailedPrecondition, "the grant is this cluster's own");
  if (grant.cluster_id == cluster_id)
    return fail(Code::kFailedPrecondition, "clusters {} and {} both have the id {}", grant.cluster,
                cluster, cluster_id);
  return {};
}

}  // namespace tombolo::pki
