// How the parts are made: options, prefixes, decoders.
#include "servicesync/controller/parts.h"

#include "servicesync/controller/load_balancer_want.h"

namespace tombolo::controller {
namespace {

MirrorOptions mirror_options(const ControllerSettings& settings, std::string name,
                             std::string_view prefix) {
  MirrorOptions options;
  options.follow.name = std::move(name);
  options.follow.prefix = prefix;
  options.follow.retry_base = settings.retry_base;
  options.follow.retry_cap = settings.retry_cap;
  options.follow.progress_interval = settings.progress_interval;
  return options;
}

cilium::Origin own_origin(const ControllerSettings& settings) {
  return {settings.cluster, settings.cluster_id, settings.cluster_bits};
}

auto identity_decoder(const ControllerSettings& settings) {
  cilium::Origin origin = own_origin(settings);
  return [origin](const KeyValue& kv) -> Result<IdentityRow> {
    auto prefix = cilium::keys::state_prefix(origin.cluster, cilium::RecordKind::kIdentities);
    TRY(name, cilium::name_in_key(kv.key, prefix));
    TRY_OK(cilium::decode_identity(kv.key, name, kv.value, origin));
    return IdentityRow{kv.value, static_cast<std::uint32_t>(std::stoul(std::string(name)))};
  };
}

auto address_decoder(std::string_view prefix) {
  return [prefix](const KeyValue& kv) { return decode_address_record(prefix, kv); };
}

// "cilium/cache/services/v1/CLUSTER/NS/NAME". The id was checked when the record was copied.
Result<cilium::ClusterService> decode_cached_service(const KeyValue& kv) {
  TRY(rest, cilium::name_in_key(kv.key, "cilium/cache/services/v1/"));
  std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash == 0)
    return fail(Code::kInvalidArgument, "{}: no cluster in the key", kv.key);
  cilium::Origin origin{std::string(rest.substr(0, slash)), 0, 8};
  return cilium::decode_service(kv.key, rest.substr(slash + 1), kv.value, origin);
}

Result<Import> decode_import(const KeyValue& kv) {
  TRY(object, cilium::name_in_key(kv.key, keys::kImports));
  if (!is_dns_label(namespace_of(object)) || !is_dns_label(name_of(object)))
    return fail(Code::kInvalidArgument, "{}: is not NAMESPACE/NAME", kv.key);
  return Import{std::string(object)};
}

Result<RememberedRemote> decode_remembered(const KeyValue& kv) {
  TRY(cluster, cilium::name_in_key(kv.key, mesh::kRemotesPrefix));
  auto state = mesh::parse_remote_state(kv.value);
  if (!state)
    return fail(Code::kInvalidArgument, "{}: '{}' is no state of a cluster", kv.key,
                kv.value.substr(0, 80));
  return RememberedRemote{std::string(cluster), *state};
}

// Summed over this cluster's agents.
mesh::NodeAnswers answers_of(const ControllerTables& tables, const std::string& cluster) {
  mesh::NodeAnswers sum;
  for (const auto& [key, reach] : tables.node_reach.rows()) {
    if (reach.row.cluster != cluster) continue;
    sum.asked += reach.row.asked;
    sum.answered += reach.row.answered;
  }
  return sum;
}

// Its pods may have addresses of its own ranges for pods and nodes, and of pools that no plan
// knows.
std::optional<std::vector<Prefix>> ranges_of_others(const ControllerTables& tables,
                                                    const std::string& cluster) {
  if (!tables.plan_blocks.synced()) return std::nullopt;
  std::vector<Prefix> ranges;
  for (const auto& [key, block] : tables.plan_blocks.rows()) {
    bool for_pods = block.row.use == BlockUse::kPod || block.row.use == BlockUse::kUnderlay;
    if (block.row.cluster != cluster || !for_pods) ranges.push_back(block.row.prefix);
  }
  return ranges;
}

IdentityOptions identity_options(const ControllerSettings& settings) {
  IdentityOptions options;
  options.origin = own_origin(settings);
  options.grace = settings.identity_grace;
  options.retry_base = settings.retry_base;
  options.retry_cap = settings.retry_cap;
  return options;
}

AllocatorOptions cluster_ip_options(const ControllerSettings& settings, ControllerTables& tables) {
  AllocatorOptions options;
  options.name = "clusterips";
  options.prefix = keys::kClusterIps;
  options.owners = keys::kClusterIpOwners;
  options.retry_base = settings.retry_base;
  options.retry_cap = settings.retry_cap;
  options.ranges = [&tables, cluster = settings.cluster] {
    std::vector<Prefix> ranges;
    for (const auto& [key, block] : tables.plan_blocks.rows())
      if (block.row.use == BlockUse::kService && block.row.cluster == cluster)
        ranges.push_back(block.row.prefix);
    return ranges;
  };
  return options;
}

AllocatorOptions clusterset_options(const ControllerSettings& settings, ControllerTables& tables) {
  AllocatorOptions options = cluster_ip_options(settings, tables);
  options.name = "clustersetips";
  options.prefix = keys::kClusterset;
  options.owners = keys::kClustersetOwners;
  options.low_band_last = false;
  options.ranges = [&tables, id = settings.cluster_id, bits = settings.cluster_bits] {
    std::vector<Prefix> ranges;
    for (const auto& [key, block] : tables.plan_blocks.rows())
      if (block.row.use == BlockUse::kClusterset)
        if (auto slice = merge::clusterset_slice(block.row.prefix, id, bits))
          ranges.push_back(*slice);
    return ranges;
  };
  return options;
}

AllocatorOptions load_balancer_options(const ControllerSettings& settings,
                                       ControllerTables& tables) {
  AllocatorOptions options = cluster_ip_options(settings, tables);
  options.name = kLoadBalancerAllocator;
  options.prefix = keys::kLoadBalancers;
  options.owners = keys::kLoadBalancerOwners;
  options.low_band_last = false;
  options.outside_ranges = false;
  options.keep_meanwhile = true;
  options.taken_note = ", and no two services share one";
  if (settings.load_balancer_spans)
    options.spans = [given = settings.load_balancer_spans] {
      std::vector<AddressSpan> spans;
      for (const auto& [first, last] : given()) spans.push_back({first, last});
      return spans;
    };
  options.ranges = [&tables, cluster = settings.cluster] {
    std::vector<Prefix> ranges;
    for (const auto& [key, block] : tables.plan_blocks.rows())
      if (block.row.use == BlockUse::kLoadBalancer && block.row.cluster == cluster)
        ranges.push_back(block.row.prefix);
    return ranges;
  };
  return options;
}

AnnouncerOptions announcer_options(const ControllerSettings& settings) {
  AnnouncerOptions options;
  options.origin = own_origin(settings);
  options.lease_ttl = settings.lease_ttl;
  options.heartbeat = settings.heartbeat;
  options.canary_check = std::min<Duration>(settings.progress_interval, options.canary_check);
  options.retry_base = settings.retry_base;
  options.retry_cap = settings.retry_cap;
  return options;
}

MergeSettings merge_settings(const ControllerSettings& settings) {
  return {settings.cluster, settings.cluster_id, settings.cluster_bits, settings.namespaces_global};
}

}  // namespace

ControllerSync::Parts::Parts(ControllerSettings given, ControllerTables& given_tables,
                             Table<ReconcileStatus>::Writer status, Kv& kv, Worker& worker,
                             TaskGroup& group, Clock& time, Rng& random, Logger logger)
    : settings(std::move(given)),
      tables(given_tables),
      own(kv),
      tasks(group),
      clock(time),
      rng(random),
      log(logger.with("part", "servicesync")),
      changed(group.executor()),
      inner(tables.revisions),
      catalog(inner.source, tables.namespaces.take_writer("manifests"),
              tables.policies.take_writer("manifests"),
              tables.pool_objects.take_writer("manifests"), status, log),
      identity_mirror(mirror_options(settings, "identities",
                                     cilium::keys::state_prefix(settings.cluster,
                                                                cilium::RecordKind::kIdentities)),
                      own, inner.identities.take_writer("mirror"), identity_decoder(settings),
                      tasks, clock, rng, log),
      cluster_ip_mirror(mirror_options(settings, "clusterips", keys::kClusterIps), own,
                        inner.cluster_ips.take_writer("mirror"), address_decoder(keys::kClusterIps),
                        tasks, clock, rng, log),
      clusterset_mirror(mirror_options(settings, "clustersetips", keys::kClusterset), own,
                        inner.clusterset_ips.take_writer("mirror"),
                        address_decoder(keys::kClusterset), tasks, clock, rng, log),
      load_balancer_mirror(mirror_options(settings, "load balancers", keys::kLoadBalancers), own,
                           inner.load_balancer_ips.take_writer("mirror"),
                           address_decoder(keys::kLoadBalancers), tasks, clock, rng, log),
      remote_mirror(mirror_options(settings, "remote services", "cilium/cache/services/v1/"), own,
                    inner.remote_services.take_writer("mirror"), decode_cached_service, tasks,
                    clock, rng, log),
      import_mirror(mirror_options(settings, "imports", keys::kImports), own,
                    inner.imports.take_writer("mirror"), decode_import, tasks, clock, rng, log),
      remembered_mirror(mirror_options(settings, "remembered remotes", mesh::kRemotesPrefix), own,
                        inner.remembered_remotes.take_writer("mirror"), decode_remembered, tasks,
                        clock, rng, log),
      identities(identity_options(settings), own, inner.identity_wants, inner.identities, status,
                 tasks, clock, rng, log),
      cluster_ips(cluster_ip_options(settings, tables), own, inner.cluster_ip_wants,
                  inner.cluster_ips, status, tasks, clock, rng, log),
      clusterset_ips(clusterset_options(settings, tables), own, inner.clusterset_wants,
                     inner.clusterset_ips, status, tasks, clock, rng, log),
      load_balancer_ips(load_balancer_options(settings, tables), own, inner.load_balancer_wants,
                        inner.load_balancer_ips, status, tasks, clock, rng, log),
      workload_stage(settings.cluster, catalog, tables, inner, [this] { changed.notify_all(); }),
      service_stage(settings.cluster, catalog, tables, inner, [this] { changed.notify_all(); }),
      slice_stage(tables, inner, [this] { changed.notify_all(); }),
      merge_stage(merge_settings(settings), tables, inner, [this] { changed.notify_all(); }),
      pod_info_stage(catalog, tables, inner, [this] { changed.notify_all(); }),
      stages{&pod_info_stage, &workload_stage, &service_stage, &slice_stage, &merge_stage},
      plan(tables.plan_blocks.track([this] { changed.notify_all(); })),
      configs(inner.configs.take_writer("announcer and mesh")),
      canaries(inner.canaries.take_writer("announcer and mesh")),
      announcer(announcer_options(settings), own, tables, inner, configs, canaries, status, tasks,
                clock, rng, log),
      mesh{own,
           tables.revisions,
           tables.remote_clusters.take_writer("mesh"),
           status,
           configs,
           canaries,
           clock,
           rng,
           log,
           tasks,
           [this](const std::string& cluster) { return answers_of(tables, cluster); },
           [this](const std::string& cluster) -> std::optional<RemoteState> {
             const RememberedRemote* known = inner.remembered_remotes.find(cluster);
             if (known == nullptr) return std::nullopt;
             return known->state;
           },
           [this](const std::string& cluster) { return ranges_of_others(tables, cluster); }} {
  catalog.on_change([this] { changed.notify_all(); });
  if (settings.manifests.empty()) return;
  source::FolderOptions options;
  options.path = settings.manifests;
  options.rescan = settings.rescan;
  options.foreign = settings.foreign;
  folder = std::make_unique<source::ManifestFolder>(options, catalog, worker, tasks, clock, log);
}

}  // namespace tombolo::controller
