// What the readers of a fleet file share: places, names, families and prefixes. Private to this
// folder.
#pragma once

#include <unordered_map>

#include "ipamd/plan/internal.h"

namespace tombolo {

// "fleet.yaml:12", or the document's name alone where the line is not known.
std::string fleet_place(const DocumentPlace& place, const Cursor& cursor);
// The pattern of Cilium's cluster names: ^([a-z0-9][-a-z0-9]*)?[a-z0-9]$, with a limit of length.
Result<std::string> read_fleet_name(const Cursor& cursor, std::size_t most);
// Some of `fallback`, in order; all of them where the field is missing.
Result<std::vector<Family>> read_families(const Cursor& cursor, std::vector<Family> fallback);
// The names of zones, each once; none where the field is missing.
Result<std::vector<std::string>> read_zones(const Cursor& cursor);
// Not a whole address family.
Result<Prefix> read_fleet_prefix(const Cursor& cursor);
Result<GivenRange> read_given_range(const DocumentPlace& place, const Cursor& cidr, BlockUse use,
                                    Family family);
inline std::string_view family_field(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

// The entries of `clusters`, one after the other (fleet_cluster.cpp).
class ClusterReader {
 public:
  // The fleet's head is complete; clusters are added to it.
  ClusterReader(const DocumentPlace& place, Fleet& fleet) : place_(place), fleet_(fleet) {}
  Result<void> read(const Cursor& entry);

 private:
  Result<void> read_names(const Cursor& entry, FleetCluster& cluster);
  Result<void> read_cidrs(const Cursor& cidrs, FleetCluster& cluster) const;
  Result<void> read_given_subnets(const Cursor& list, FleetCluster& cluster) const;
  Result<void> read_zone_names(const Cursor& entry, FleetCluster& cluster) const;
  Result<GivenRange> read_given_pod(const Cursor& range, Family family) const;

  const DocumentPlace& place_;
  Fleet& fleet_;
  std::unordered_map<std::string, std::size_t> clusters_;  // indices by name
  std::unordered_map<std::uint32_t, std::size_t> ids_;
};

}  // namespace tombolo
