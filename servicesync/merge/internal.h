// The steps of a merge, each on one growing state. Not for other folders.
#pragma once

#include "servicesync/merge/merge.h"

namespace tombolo::merge {

const std::string* find_annotation(const StringMap& annotations, std::string_view key,
                                   std::string_view older);
bool is_true(std::string_view text);

// What one cluster says of the service, local or not, in one form.
struct View {
  std::string cluster;
  std::uint32_t cluster_id = 0;
  std::int64_t created_unix_s = 0;  // the largest number when unknown
  bool local = false;
  bool exports = false;
  bool headless = false;
  Intent intent;
  bool intent_known = true;  // a Cilium cluster does not tell its annotations
  std::vector<FrontendPort> ports;
  std::vector<Family> families;
  std::vector<Ip> clusterset_ips;
};

struct State {
  const Input& input;
  Output output;
  bool imported = false;
  bool sees_remotes = false;        // local global, or imported
  std::vector<View> views;          // oldest first
  std::vector<FrontendPort> ports;  // of the frontend
};

std::vector<View> collect_views(const Input& input, const Intent& intent, bool exports);
// Candidates of all clusters with their verdicts, but for the affinity's.
void collect_candidates(State& state);
// Affinity over the candidates that are in so far; the others keep their reason.
void apply_affinity(State& state);
// Ports, type, addresses, and every difference between clusters.
void decide(State& state);
std::optional<cilium::ClusterService> publish(const State& state);
std::optional<cilium::ServiceExport> publish_export(const State& state);

}  // namespace tombolo::merge
