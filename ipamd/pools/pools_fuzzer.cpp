// Pool documents, annotations, ranges and wildcards come from outside: whatever they hold, reading
// ends with a value or an error, and no address is in two pools or in a pool and a reservation.
#include <cstddef>
#include <cstdint>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

void try_pools(std::string_view text) {
  YamlLimits limits;
  limits.bytes = 64U << 10U;
  auto documents = parse_yaml(text, "fuzz", limits);
  if (!documents) return;
  auto catalog = parse_pools(*documents);
  std::vector<PoolObject> objects;
  for (const YamlDocument& document : *documents) {
    auto object = parse_pool_object(document.root());
    if (object) objects.push_back(std::move(*object));
  }
  auto again = catalog_of(objects);
  if (!catalog) return;
  // As rows they mean what they mean as documents.
  ENSURE(again && again->pools().size() == catalog->pools().size());
  for (const IpPool& pool : catalog->pools()) {
    auto usable = catalog->usable(pool);
    for (const IpRange& range : usable) {
      ENSURE(pool.subnet.contains(range.first) && pool.subnet.contains(range.last));
      for (const IpReservation& reservation : catalog->reservations())
        for (const IpRange& reserved : reservation.ranges)
          ENSURE(!reserved.contains(range.first) && !range.contains(reserved.first));
    }
    AddressPool addresses;
    ENSURE(addresses.set_ranges(usable).has_value());
  }
  (void)select_pools(*catalog, PoolRequest{});
}

// The text as each annotation that is read.
void try_annotations(const std::string& text) {
  auto catalog = PoolCatalog::make({}, {});
  ENSURE(catalog);
  for (const char* key : {"ipam.spidernet.io/ippools", "ipam.spidernet.io/ippool"}) {
    PoolRequest request;
    request.pod_annotations[key] = text;
    (void)select_pools(*catalog, request);
  }
  for (const char* key : {"ipam.tombolo.io/ip", "ipam.tombolo.io/ip-number",
                          "ipam.spidernet.io/ippool-ip-number", "ipam.tombolo.io/ippools"}) {
    PodInfo info;
    info.owner = "Deployment/web";
    info.annotations[key] = text;
    auto identity = fixed_identity(info, "web-0");
    if (identity && *identity) ENSURE((*identity)->room > 0);
    (void)asked_addresses(info, "web-0", "eth0");
    (void)choose_for_pod(*catalog, &info, PodQuestion{});
  }
  PoolRequest request;
  request.namespace_annotations["ipam.spidernet.io/default-ipv4-ippool"] = text;
  (void)select_pools(*catalog, request);
}

}  // namespace
}  // namespace tombolo

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  tombolo::try_pools(text);
  tombolo::try_annotations(text);
  if (auto range = tombolo::parse_ip_range(text)) ENSURE(range->first <= range->last);
  std::size_t half = text.find('\n');
  if (half != std::string::npos && size < 4096)
    (void)tombolo::matches_wildcard(text.substr(0, half), text.substr(half + 1));
  return 0;
}
