// Whether two clusters can be joined, before they are: what each side knows of itself and of the
// clusters it is joined with already, compared. Nothing is changed. Pure; any thread.
//
//   facts of this cluster --.
//                            +--check_join--> findings, each with a suggested fix
//   facts of the other one --'
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/tables.h"
#include "ipamd/plan/plan.h"

namespace tombolo {

// A service that a cluster shares, or imports from others.
struct JoinService {
  std::string name_space;
  std::string name;
  bool headless = false;
  std::vector<std::string> ports;  // "http 80/TCP", " 53/UDP" without a name
};

struct JoinMember {
  std::string name;
  std::uint32_t id = 0;
};

struct JoinFacts {
  std::string fleet;  // the trust domain
  std::string cluster;
  std::uint32_t id = 0;
  int identity_cluster_bits = 8;
  int mtu = 0;                     // 0: not known
  std::vector<JoinMember> joined;  // with these it is joined already
  std::vector<Prefix> roots;       // of its plan
  std::vector<PlanBlock> ranges;   // of its plan: all clusters, and the clusterset (empty cluster)
  std::vector<JoinService> services;
};

// One JSON document, for the operator of the other side. It holds addresses and names of services,
// no secrets.
json::value join_facts_to_json(const JoinFacts& facts);
// Strict in what it knows; unknown members are of a newer version and are passed over. At most
// 100,000 ranges and services.
Result<JoinFacts> parse_join_facts(const Cursor& document);

enum class JoinSeverity {
  kConflict,  // must be solved before
  kWarning,   // works, but not as somebody will expect
};
std::string_view to_string(JoinSeverity severity);  // "conflict", "warning"

struct JoinFinding {
  JoinSeverity severity = JoinSeverity::kConflict;
  std::string kind;  // "fleet", "name", "id", "identities", "cidr", "mtu", "service"
  std::string here;
  std::string there;
  std::string fix;
};
// Conflicts first, then by kind in the order above. Of CIDRs and services at most 100 each, and
// then how many more there are.
std::vector<JoinFinding> check_join(const JoinFacts& here, const JoinFacts& there);

}  // namespace tombolo
