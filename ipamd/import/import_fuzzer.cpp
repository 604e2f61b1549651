// Saved outputs of other tools come from outside: whatever they hold, reading ends with facts or an
// error, and the facts with a fragment that is YAML.
#include <cstddef>
#include <cstdint>

#include "core/yaml.h"
#include "ipamd/import/import.h"

namespace tombolo {
namespace {

void try_fragment(const std::vector<ClusterFacts>& clusters, const std::vector<RouteFact>& routes) {
  find_conflicts(clusters, routes);
  auto documents = parse_yaml(fleet_fragment(clusters, routes), "fragment");
  ENSURE(documents.has_value() && documents->size() == 1);
}

}  // namespace
}  // namespace tombolo

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  JsonLimits limits;
  limits.bytes = 64U << 10U;
  auto document = parse_json({reinterpret_cast<const char*>(data), size}, limits);
  if (!document) return 0;
  std::vector<RouteFact> routes;
  if (auto read = read_route_dump(*document, "fuzz")) routes = std::move(*read);
  ClusterFacts facts;
  std::vector<ClusterFacts> clusters;
  if (read_cluster_facts(*document, "fuzz", facts)) clusters = {facts, facts};
  try_fragment(clusters, routes);
  return 0;
}
