// Records of members, and the files with which their stores are reached.
#include "app/daemon/fleet_members.h"

#include <filesystem>

#include "core/json.h"
#include "core/records/records.h"

namespace tombolo {
namespace {

constexpr std::size_t kMaxMembers = 255;

FollowOptions follow_options() {
  FollowOptions options;
  options.name = "fleet";
  options.prefix = records::kFleetPrefix;
  return options;
}

std::string key_of(std::string_view cluster) {
  return fmt::format("{}{}", records::kFleetPrefix, cluster);
}

std::string encode(const pki::Grant& grant) {
  json::array addresses;
  for (const std::string& address : grant.addresses) addresses.emplace_back(address);
  json::object document{
      {"name", grant.cluster}, {"id", grant.cluster_id}, {"addresses", std::move(addresses)}};
  return to_json(document);
}

}  // namespace

FleetMembers::FleetMembers(FleetSettings settings, RoleContext context, OnJoin on_join,
                           OnLeave on_leave, OnListed on_listed)
    : settings_(std::move(settings)),
      context_(context),
      on_join_(std::move(on_join)),
      on_leave_(std::move(on_leave)),
      first_listed_(std::move(on_listed)),
      follower_(follow_options(), context.kv, *this, context.tasks, context.clock, context.rng,
                context.log) {}

std::string FleetMembers::folder_of(const std::string& cluster) const {
  return fmt::format("{}/clusters/{}", settings_.state_dir, cluster);
}

Result<FleetMember> FleetMembers::decode(const KeyValue& kv) const {
  auto document = parse_json(kv.value);
  if (!document) return std::unexpected(std::move(document).error().with_context(kv.key));
  DocumentPlace place{kv.key, {}};
  Cursor root(*document, place);
  FleetMember member;
  TRY(name, root["name"].string());
  TRY(id, root["id"].integer(1, 1023));
  TRY(addresses, root["addresses"].string_list());
  if (key_of(name) != kv.key) return root["name"].error("is not the name in the key");
  pki::SpiffeName spiffe{settings_.fleet, name, pki::Kind::kController, ""};
  if (auto checked = pki::check_name(spiffe); !checked)
    return root["name"].error(checked.error().what);
  std::string folder = folder_of(name);
  member.name = std::move(name);
  member.id = static_cast<std::uint32_t>(id);
  member.addresses = std::move(addresses);
  member.tls = {folder + "/tls.crt", folder + "/tls.key", folder + "/ca.crt"};
  return member;
}

void FleetMembers::on_put(const KeyValue& kv) {
  auto member = decode(kv);
  if (!member) return context_.log.warning("refused: {}", member.error().text());
  auto known = members_.find(member->name);
  if (known != members_.end() && known->second == *member) return;
  if (known == members_.end() && members_.size() >= kMaxMembers)
    return context_.log.error("{}: more than {} clusters; not joined", kv.key, kMaxMembers);
  // New keys alone need nothing: connections read their files again. Other addresses: a new link.
  if (auto usable = pki::check_tls_files(member->tls, context_.clock.wall_now()); !usable)
    context_.log.error("cluster {}: {}", member->name, usable.error().text());
  on_join_(*member);
  members_.insert_or_assign(member->name, std::move(*member));
}

void FleetMembers::on_delete(const std::string& key) {
  forget(key.substr(records::kFleetPrefix.size()));
}

void FleetMembers::on_listed(const std::set<std::string>& keys) {
  std::vector<std::string> gone;
  for (const auto& [name, member] : members_)
    if (!keys.contains(key_of(name))) gone.push_back(name);
  for (const std::string& name : gone) forget(name);
  auto listed = std::exchange(first_listed_, nullptr);
  if (!listed) return;
  std::set<std::string> names;
  for (const std::string& key : keys) names.insert(key.substr(records::kFleetPrefix.size()));
  listed(std::move(names));
}

void FleetMembers::forget(const std::string& cluster) {
  if (members_.erase(cluster) > 0) on_leave_(cluster);
}

asio::awaitable<Result<FleetMember>> FleetMembers::join(std::string grant_text, bool replace) {
  CO_TRY(grant, pki::parse_grant(grant_text, "bundle", context_.clock.wall_now()));
  CO_TRY_OK(pki::check_grant_for(grant, settings_.fleet, settings_.cluster, settings_.cluster_id));
  if (members_.contains(grant.cluster) && !replace)
    co_return fail(Code::kAlreadyExists,
                   "cluster {} was joined before (--replace takes the new bundle)", grant.cluster);
  // The files first: a record without them could not be used.
  CO_TRY_OK(pki::write_identity(folder_of(grant.cluster), grant.client, grant.authority));
  Put put{key_of(grant.cluster), encode(grant), 0};
  KeyValue written{put.key, put.value};
  CO_TRY_OK(co_await context_.kv.put(std::move(put)));
  co_return decode(written);
}

asio::awaitable<Result<void>> FleetMembers::leave(std::string cluster) {
  if (!members_.contains(cluster))
    co_return fail(Code::kNotFound, "cluster {} is no member", cluster);
  Delete erase{key_of(cluster), ""};
  CO_TRY_OK(co_await context_.kv.erase(std::move(erase)));
  std::error_code ignored;  // the keys are useless without the record; a leftover folder is written
                            // over by a new join
  std::filesystem::remove_all(folder_of(cluster), ignored);
  co_return Result<void>{};
}

}  // namespace tombolo
