// Documents of the four kinds that are read here: as a catalog, and as the rows in which they
// travel from a source through the cluster's store to the agents.
#include "core/yaml.h"
#include "ipamd/pools/internal.h"

namespace tombolo {
namespace {

constexpr std::size_t kLongestDocument = 1U << 20U;  // the store takes values of 1.5 MiB

Result<PoolObjectKind> kind_of(const Cursor& root) {
  TRY_OK(root.expect_object());
  TRY(version, root["apiVersion"].string());
  TRY(kind, root["kind"].string());
  bool ours = version == "tombolo.io/v1alpha1";
  bool spiderpool = version == "spiderpool.spidernet.io/v2beta1";
  if ((ours && kind == "IPPool") || (spiderpool && kind == "SpiderIPPool"))
    return PoolObjectKind::kPool;
  if ((ours && kind == "IPReservation") || (spiderpool && kind == "SpiderReservedIP"))
    return PoolObjectKind::kReservation;
  return root["kind"].error(fmt::format("{} of {} is neither a pool nor a reservation",
                                        kind.substr(0, 64), version.substr(0, 64)));
}

Result<void> read_into(const Cursor& root, std::vector<IpPool>& pools,
                       std::vector<IpReservation>& reservations) {
  TRY(kind, kind_of(root));
  if (kind == PoolObjectKind::kPool) {
    TRY(pool, parse_ip_pool(root));
    pools.push_back(std::move(pool));
  } else {
    TRY(reservation, parse_ip_reservation(root));
    reservations.push_back(std::move(reservation));
  }
  return {};
}

}  // namespace

Result<PoolObject> parse_pool_object(const Cursor& document) {
  std::vector<IpPool> pools;
  std::vector<IpReservation> reservations;
  TRY_OK(read_into(document, pools, reservations));
  PoolObject object;
  object.kind = pools.empty() ? PoolObjectKind::kReservation : PoolObjectKind::kPool;
  object.name = pools.empty() ? reservations.front().name : pools.front().name;
  object.place = pools.empty() ? reservations.front().place : pools.front().place;
  // Only what is read: a status may say much, and often something new.
  json::object kept{{"apiVersion", document["apiVersion"].value()},
                    {"kind", document["kind"].value()},
                    {"metadata", json::object{{"name", object.name}}},
                    {"spec", document["spec"].value()}};
  object.document = to_json(kept);
  if (object.document.size() > kLongestDocument)
    return document.error(fmt::format("has {} bytes as JSON; the limit is {}",
                                      object.document.size(), kLongestDocument));
  return object;
}

std::vector<PoolObject> objects_of(const Table<PoolObject>& pools,
                                   const Table<PoolObject>& reservations) {
  std::vector<PoolObject> objects;
  for (const Table<PoolObject>* table : {&pools, &reservations})
    for (const auto& [key, versioned] : table->rows()) objects.push_back(versioned.row);
  return objects;
}

Result<PoolCatalog> catalog_of(const std::vector<PoolObject>& objects) {
  std::vector<IpPool> pools;
  std::vector<IpReservation> reservations;
  for (const PoolObject& object : objects) {
    DocumentPlace place{object.place.empty() ? object.key() : object.place, {}};
    auto value = parse_json(object.document);
    if (!value) return fail(Code::kInvalidArgument, "{}: {}", place.name, value.error().what);
    Cursor root(*value, place);
    std::size_t before = pools.size();
    TRY_OK(read_into(root, pools, reservations));
    bool is_pool = pools.size() > before;
    const std::string& name = is_pool ? pools.back().name : reservations.back().name;
    if (is_pool != (object.kind == PoolObjectKind::kPool) || name != object.name)
      return fail(Code::kInvalidArgument, "{}: holds {}, not {}", place.name, name, object.key());
    // Lines are those of the source; the JSON has none.
    (is_pool ? pools.back().place : reservations.back().place) = place.name;
    if (is_pool && object.leaving) pools.back().disabled = true;
  }
  return PoolCatalog::make(std::move(pools), std::move(reservations));
}

Result<PoolCatalog> parse_pools(const std::vector<YamlDocument>& documents) {
  std::vector<IpPool> pools;
  std::vector<IpReservation> reservations;
  for (const YamlDocument& document : documents) {
    Cursor root = document.root();
    TRY_OK(read_into(root, pools, reservations));
  }
  return PoolCatalog::make(std::move(pools), std::move(reservations));
}

std::string changed_for_ever(const IpPool& now, const IpPool& in_force) {
  auto differs = [](std::string_view what, const auto& wanted, const auto& had) {
    return fmt::format("{} is {}, in force is {}", what, wanted, had);
  };
  if (now.subnet != in_force.subnet)
    return differs("subnet", now.subnet.str(), in_force.subnet.str());
  if (now.kind != in_force.kind)
    return differs("kind", to_string(now.kind), to_string(in_force.kind));
  auto use = [](const IpPool& pool) { return pool.load_balancer ? "LoadBalancer" : "Workload"; };
  if (now.load_balancer != in_force.load_balancer)
    return differs("allowedUses", use(now), use(in_force));
  if (now.block_length != in_force.block_length)
    return differs("blockLength", now.block_length, in_force.block_length);
  // Nodes that do not know it yet would claim without asking.
  auto home = [](const IpPool& pool) { return pool.sharing ? pool.sharing->home : "(none)"; };
  if (home(now) != home(in_force)) return differs("sharing.home", home(now), home(in_force));
  return {};
}

}  // namespace tombolo
