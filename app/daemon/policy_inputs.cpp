// Prefixes, decoders, and the tables that two mirrors feed.
#include "app/daemon/policy_inputs.h"

#include "core/records/records.h"

namespace tombolo {
namespace {

using cilium::RecordKind;
using config::v1::DaemonConfig;

constexpr std::string_view kRemoteIdentities = "cilium/cache/identities/v1/";
constexpr std::string_view kRemoteIps = "cilium/cache/ip/v1/";

cilium::Origin own_origin(const DaemonConfig& config) {
  return {config.cluster().name(), config.cluster().id(),
          static_cast<int>(config.cluster().identity_cluster_bits())};
}

std::string own_prefix(const DaemonConfig& config, RecordKind kind) {
  return cilium::keys::state_prefix(config.cluster().name(), kind);
}

MirrorOptions mirror_of(std::string name, std::string_view prefix, LastKnown* known,
                        std::function<void()> on_synced = nullptr) {
  MirrorOptions options;
  options.follow.name = std::move(name);
  options.follow.prefix = prefix;
  options.known = known;
  options.on_synced = std::move(on_synced);
  return options;
}

Result<Identity> decode_own_identity(const cilium::Origin& origin, const std::string& prefix,
                                     const KeyValue& kv) {
  TRY(name, cilium::name_in_key(kv.key, prefix));
  return cilium::decode_identity_row(kv.key, name, kv.value, origin);
}

Result<IpOwner> decode_own_owner(const cilium::Origin& origin, const std::string& prefix,
                                 const KeyValue& kv) {
  TRY(name, cilium::name_in_key(kv.key, prefix));
  TRY(record, cilium::decode_ip(kv.key, name, kv.value, origin));
  return cilium::ip_owner_of(kv.key, record, origin.cluster);
}

// The cluster that a copied record is of. Its id was checked when the record was copied; that it
// does not pass for one of ours is checked here.
Result<cilium::Origin> origin_of_copy(const cilium::Origin& own, std::string_view below,
                                      const KeyValue& kv) {
  TRY(rest, cilium::name_in_key(kv.key, below));
  std::string cluster(rest.substr(0, rest.find('/')));
  if (cluster.empty() || cluster.size() == rest.size())
    return fail(Code::kInvalidArgument, "{}: no cluster in the key", kv.key);
  if (cluster == own.cluster)
    return fail(Code::kInvalidArgument, "{}: a copy of this cluster's own record", kv.key);
  return cilium::Origin{std::move(cluster), 0, own.cluster_bits};
}

Result<void> expect_foreign(const cilium::Origin& own, std::uint32_t identity, const KeyValue& kv) {
  if (identity >= cilium::first_identity(own.id, own.cluster_bits) &&
      identity <= cilium::last_identity(own.id, own.cluster_bits))
    return fail(Code::kInvalidArgument, "{}: {} is an identity of this cluster", kv.key, identity);
  return {};
}

Result<Identity> decode_remote_identity(const cilium::Origin& own, const KeyValue& kv) {
  TRY(origin, origin_of_copy(own, kRemoteIdentities, kv));
  std::string prefix = cilium::keys::cache_prefix(origin.cluster, RecordKind::kIdentities);
  TRY(name, cilium::name_in_key(kv.key, prefix));
  TRY(row, cilium::decode_identity_row(kv.key, name, kv.value, origin));
  TRY_OK(expect_foreign(own, row.number, kv));
  return row;
}

Result<IpOwner> decode_remote_owner(const cilium::Origin& own, const KeyValue& kv) {
  TRY(origin, origin_of_copy(own, kRemoteIps, kv));
  std::string prefix = cilium::keys::cache_prefix(origin.cluster, RecordKind::kIps);
  TRY(name, cilium::name_in_key(kv.key, prefix));
  TRY(record, cilium::decode_ip(kv.key, name, kv.value, origin));
  TRY_OK(expect_foreign(own, record.identity, kv));
  return cilium::ip_owner_of(kv.key, record, origin.cluster);
}

}  // namespace

PolicyInputs::PolicyInputs(const DaemonConfig& config, AgentTables& tables, LastKnown* known,
                           RoleContext context)
    : tasks_(context.tasks),
      own_owners_("own_ip_owners", tables.revisions),
      remote_owners_("remote_ip_owners", tables.revisions),
      owners_(own_owners_, remote_owners_, tables.ip_owners, context.tasks),
      identities_(tables.identities.take_writer("store")),
      policy_mirror_(mirror_of("policies", records::kPoliciesPrefix, known), context.kv,
                     tables.policies.take_writer("store"), records::decode_policy, context.tasks,
                     context.clock, context.rng, context.log),
      identity_mirror_(
          mirror_of("identities", own_prefix(config, RecordKind::kIdentities), known,
                    [this] {
                      if (remote_identity_mirror_.synced()) identities_.mark_synced();
                    }),
          context.kv, identities_,
          [origin = own_origin(config), prefix = own_prefix(config, RecordKind::kIdentities)](
              const KeyValue& kv) { return decode_own_identity(origin, prefix, kv); },
          context.tasks, context.clock, context.rng, context.log),
      remote_identity_mirror_(
          mirror_of("remote-identities", kRemoteIdentities, known,
                    [this] {
                      if (identity_mirror_.synced()) identities_.mark_synced();
                    }),
          context.kv, identities_,
          [own = own_origin(config)](const KeyValue& kv) {
            return decode_remote_identity(own, kv);
          },
          context.tasks, context.clock, context.rng, context.log),
      owner_mirror_(
          mirror_of("addresses", own_prefix(config, RecordKind::kIps), known), context.kv,
          own_owners_.take_writer("store"),
          [origin = own_origin(config), prefix = own_prefix(config, RecordKind::kIps)](
              const KeyValue& kv) { return decode_own_owner(origin, prefix, kv); },
          context.tasks, context.clock, context.rng, context.log),
      remote_owner_mirror_(
          mirror_of("remote-addresses", kRemoteIps, known), context.kv,
          remote_owners_.take_writer("store"),
          [own = own_origin(config)](const KeyValue& kv) { return decode_remote_owner(own, kv); },
          context.tasks, context.clock, context.rng, context.log) {}

void PolicyInputs::restore() {
  policy_mirror_.restore();
  identity_mirror_.restore();
  remote_identity_mirror_.restore();
  owner_mirror_.restore();
  remote_owner_mirror_.restore();
  owners_.derive();
}

void PolicyInputs::start(Settling& settling) {
  tasks_.spawn("mirror policies", policy_mirror_.run());
  tasks_.spawn("mirror identities", identity_mirror_.run());
  tasks_.spawn("mirror remote identities", remote_identity_mirror_.run());
  tasks_.spawn("mirror addresses", owner_mirror_.run());
  tasks_.spawn("mirror remote addresses", remote_owner_mirror_.run());
  tasks_.spawn("address owners", owners_.run());
  for (const PrefixFollower* follower :
       {&policy_mirror_.follower(), &identity_mirror_.follower(),
        &remote_identity_mirror_.follower(), &owner_mirror_.follower(),
        &remote_owner_mirror_.follower()})
    settling.add(*follower);
  settling.add_derivation("address owners", [this] { return !owners_.pending(); });
}

bool PolicyInputs::filled() const {
  return policy_mirror_.filled() && identity_mirror_.filled() && remote_identity_mirror_.filled() &&
         owner_mirror_.filled() && remote_owner_mirror_.filled() && !owners_.pending();
}

}  // namespace tombolo
