// The comparison: numbers, names and sizes that must differ or be equal.
#include <algorithm>
#include <array>
#include <set>

#include "app/join/internal.h"

namespace tombolo {
namespace {

using join::Findings;

constexpr std::array<std::string_view, 7> kOrder{"fleet", "name", "id",     "identities",
                                                 "cidr",  "mtu",  "service"};

std::string member_text(const JoinMember& member) {
  return fmt::format("{} (id {})", member.name, member.id);
}

// The cluster itself first, then those it is joined with.
std::vector<JoinMember> members_of(const JoinFacts& facts) {
  std::vector<JoinMember> members{{facts.cluster, facts.id}};
  members.insert(members.end(), facts.joined.begin(), facts.joined.end());
  return members;
}

std::string free_id(const JoinFacts& here, const JoinFacts& there) {
  std::set<std::uint32_t> taken;
  for (const JoinFacts* side : {&here, &there})
    for (const JoinMember& member : members_of(*side)) taken.insert(member.id);
  int bits = std::min(here.identity_cluster_bits, there.identity_cluster_bits);
  for (std::uint32_t id = 1; id < (std::uint32_t{1} << bits); ++id)
    if (!taken.contains(id)) return fmt::format("{} is free on both sides", id);
  return fmt::format("none is free: {} bits name at most {} clusters", bits, (1 << bits) - 1);
}

void check_members(const JoinFacts& here, const JoinFacts& there, Findings& findings) {
  for (const JoinMember& ours : members_of(here))
    for (const JoinMember& theirs : members_of(there)) {
      bool selves = ours.name == here.cluster && theirs.name == there.cluster;
      // A cluster that both are joined with is the same one.
      if (!selves && ours.name == theirs.name && ours.id == theirs.id) continue;
      if (ours.name == theirs.name)
        findings.conflict("name", member_text(ours), member_text(theirs),
                          fmt::format("name one of them otherwise (cluster.name) before it joins "
                                      "anybody; a cluster that is joined leaves first"));
      if (ours.id == theirs.id && ours.id != 0)
        findings.conflict(
            "id", member_text(ours), member_text(theirs),
            fmt::format("give one of them another cluster.id: {}", free_id(here, there)));
    }
}

void check_identities(const JoinFacts& here, const JoinFacts& there, Findings& findings) {
  int ours = here.identity_cluster_bits;
  int theirs = there.identity_cluster_bits;
  if (ours != theirs)
    findings.conflict("identities", fmt::format("{} bits for the cluster", ours),
                      fmt::format("{} bits for the cluster", theirs),
                      fmt::format("set cluster.identity_cluster_bits to {} on both sides; all "
                                  "identity numbers of the one that changes are given anew",
                                  std::max(ours, theirs)));
  for (const JoinFacts* side : {&here, &there})
    if (side->id >> side->identity_cluster_bits != 0)
      findings.conflict("identities", side == &here ? fmt::format("id {}", side->id) : "",
                        side == &here ? "" : fmt::format("id {}", side->id),
                        fmt::format("{} bits hold ids up to {}", side->identity_cluster_bits,
                                    (1 << side->identity_cluster_bits) - 1));
}

void check_mtu(const JoinFacts& here, const JoinFacts& there, Findings& findings) {
  if (here.mtu == there.mtu) return;
  if (here.mtu == 0 || there.mtu == 0)
    return findings.warning("mtu", here.mtu == 0 ? "not set" : fmt::format("{}", here.mtu),
                            there.mtu == 0 ? "not set" : fmt::format("{}", there.mtu),
                            "set agent.mtu on both sides to the least of the path between them");
  findings.warning("mtu", fmt::format("{}", here.mtu), fmt::format("{}", there.mtu),
                   fmt::format("set agent.mtu to {} on both sides, or less where the path between "
                               "them takes less",
                               std::min(here.mtu, there.mtu)));
}

}  // namespace

std::string_view to_string(JoinSeverity severity) {
  return severity == JoinSeverity::kConflict ? "conflict" : "warning";
}

std::vector<JoinFinding> check_join(const JoinFacts& here, const JoinFacts& there) {
  Findings findings;
  if (here.fleet != there.fleet)
    findings.conflict("fleet", here.fleet, there.fleet,
                      "certificates are of one fleet: set cluster.fleet to the same name and make "
                      "the keys of one side anew (docs/keys.md)");
  check_members(here, there, findings);
  check_identities(here, there, findings);
  join::check_ranges(here, there, findings);
  check_mtu(here, there, findings);
  join::check_services(here, there, findings);
  std::vector<JoinFinding> all = findings.take();
  auto place_of = [](const JoinFinding& finding) {
    return std::ranges::find(kOrder, finding.kind);
  };
  std::vector<JoinFinding> sorted;
  for (JoinSeverity severity : {JoinSeverity::kConflict, JoinSeverity::kWarning})
    for (auto kind = kOrder.begin(); kind != kOrder.end(); ++kind)
      for (const JoinFinding& finding : all)
        if (finding.severity == severity && place_of(finding) == kind) sorted.push_back(finding);
  return sorted;
}

}  // namespace tombolo
