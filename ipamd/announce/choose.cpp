// Who may announce an address, and in which order they try; and the record of who does.
#include <algorithm>
#include <tuple>

#include "core/json.h"
#include "ipamd/announce/announce.h"

namespace tombolo::announce {
namespace {

// FNV-1a, then mixed, so that names that differ in the last digit are far apart.
std::uint64_t hash_of(std::string_view node, const std::string& ip_bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  auto add = [&hash](std::string_view text) {
    for (char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  };
  add(node);
  add(std::string_view("\0", 1));
  add(ip_bytes);
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdU;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53U;
  return hash ^ hash >> 33;
}

bool has_backend(const Frontend& frontend, const std::string& cluster, const std::string& node) {
  return std::ranges::any_of(frontend.backends, [&](const Backend& backend) {
    return backend.cluster == cluster && backend.node == node && backend.weight > 0 &&
           backend.state == BackendState::kActive;
  });
}

}  // namespace

std::vector<std::string> candidates(const Ip& ip, const Frontend& frontend,
                                    const Table<Node>& nodes, const std::string& cluster) {
  std::vector<std::pair<std::uint64_t, std::string>> order;
  const std::string bytes = ip.bytes_be();
  for (const auto& [key, versioned] : nodes.rows()) {
    const Node& node = versioned.row;
    if (node.cluster != cluster || node.labels.contains(std::string(kExcludeLabel))) continue;
    if (frontend.external_traffic_local && !has_backend(frontend, cluster, node.name)) continue;
    order.emplace_back(hash_of(node.name, bytes), node.name);
  }
  std::ranges::sort(order, std::greater());
  std::vector<std::string> names;
  for (auto& [hash, name] : order) names.push_back(std::move(name));
  return names;
}

std::string announcement_key(const Ip& ip) {
  return fmt::format("{}{}", kAnnouncementsPrefix, ip.str());
}

std::string encode(const Announcement& announcement) {
  json::object object;
  object.emplace("node", announcement.node);
  object.emplace("service", announcement.service);
  object.emplace("since",
                 format_rfc3339(WallTime(std::chrono::seconds(announcement.since_unix_s))));
  return to_json(object);
}

Result<Announcement> decode_announcement(const KeyValue& kv) {
  if (!kv.key.starts_with(kAnnouncementsPrefix))
    return fail(Code::kInvalidArgument, "{}: is no announcement", kv.key);
  auto ip = Ip::parse(std::string_view(kv.key).substr(kAnnouncementsPrefix.size()));
  if (!ip) return fail(Code::kInvalidArgument, "{}: {}", kv.key, ip.error().what);
  auto value = parse_json(kv.value);
  if (!value) return std::unexpected(std::move(value).error().with_context(kv.key));
  DocumentPlace place{kv.key, {}};
  Cursor root(*value, place);
  Announcement announcement;
  announcement.ip = *ip;
  if (announcement_key(*ip) != kv.key)
    return fail(Code::kInvalidArgument, "{}: is written otherwise: {}", kv.key, ip->str());
  TRY(node, root["node"].string());
  TRY(service, root["service"].string());
  TRY(since, root["since"].string());
  auto time = parse_rfc3339(since);
  if (!time) return root["since"].error(time.error().what);
  announcement.node = std::move(node);
  announcement.service = std::move(service);
  announcement.since_unix_s =
      std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count();
  announcement.mod_revision = kv.mod_revision;
  announcement.lease = kv.lease;
  return announcement;
}

}  // namespace tombolo::announce
