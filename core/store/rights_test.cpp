// The table of rights, row by row.
#include "core/store/rights.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

const StoreOwner kOwner{"fleet", "east"};

Peer peer(const std::string& tail, const std::string& subject = "CN=somebody") {
  return {{"spiffe://fleet/cluster/" + tail}, "somebody", subject};
}

TEST_CASE("rights by role, cluster and key") {
  struct Case {
    std::string name;
    Peer peer;
    Access access;
    std::string key;
    std::string end;
    bool allowed;
  };
  const std::string all("\0", 1);
  auto [name, who, access, key, end, allowed] = GENERATE_REF(values<Case>({
      {"own controller, all", peer("east/controller"), Access::kWrite, all, all, true},
      {"own operator, all", peer("east/operator/ann"), Access::kWrite, all, all, true},
      {"own admin, all", peer("east/operator/ann", "OU=admin,CN=ann"), Access::kWrite, all, all,
       true},
      {"own viewer reads all", peer("east/operator/bob", "CN=bob,OU=viewer"), Access::kRead, all,
       all, true},
      {"own viewer writes", peer("east/operator/bob", "CN=bob,OU=viewer"), Access::kWrite, "a", "",
       false},
      {"own node reads all", peer("east/node/n1"), Access::kRead, all, all, true},
      {"own node record", peer("east/node/n1"), Access::kWrite, "cilium/state/nodes/v1/east/n1", "",
       true},
      {"another node's record", peer("east/node/n1"), Access::kWrite,
       "cilium/state/nodes/v1/east/n10", "", false},
      {"a range from its record", peer("east/node/n1"), Access::kWrite,
       "cilium/state/nodes/v1/east/n1", "cilium/state/nodes/v1/east/n2", false},
      {"own addresses", peer("east/node/n1"), Access::kWrite, "cilium/state/ip/v1/default/10.0.0.1",
       "", true},
      {"an announcement", peer("east/node/n1"), Access::kWrite,
       "tombolo/v1/announcements/203.0.113.7", "", true},
      {"all announcements", peer("east/node/n1"), Access::kWrite, "tombolo/v1/announcements/",
       "tombolo/v1/announcements0", false},
      {"parts of a shared pool", peer("east/node/n1"), Access::kWrite,
       "tombolo/v1/claimparts/racks", "", false},
      {"another cluster reads parts", peer("west/controller"), Access::kRead,
       "tombolo/v1/claimparts/", "tombolo/v1/claimparts0", true},
      {"another cluster reads grants", peer("west/controller"), Access::kRead,
       "tombolo/v1/poolgrants/", "tombolo/v1/poolgrants0", true},
      {"another cluster reads claims", peer("west/controller"), Access::kRead, "tombolo/v1/claims/",
       "tombolo/v1/claims0", false},
      {"own sign of life", peer("east/node/n1"), Access::kWrite, "tombolo/v1/alive/n1/agent", "",
       true},
      {"another node's sign of life", peer("east/node/n1"), Access::kWrite,
       "tombolo/v1/alive/n2/agent", "", false},
      {"own reports of reach", peer("east/node/n1"), Access::kWrite, "tombolo/v1/reach/n1/west", "",
       true},
      {"another node's reports", peer("east/node/n1"), Access::kWrite, "tombolo/v1/reach/n10/west",
       "", false},
      {"own leases", peer("east/node/n1"), Access::kWrite, "tombolo/v1/leases/n1/a", "", true},
      {"own leases as a range", peer("east/node/n1"), Access::kWrite, "tombolo/v1/leases/n1/",
       "tombolo/v1/leases/n10", true},
      {"leases beyond its own", peer("east/node/n1"), Access::kWrite, "tombolo/v1/leases/n1/",
       "tombolo/v1/leases/n2", false},
      {"another node's leases", peer("east/node/n1"), Access::kWrite, "tombolo/v1/leases/n2/a", "",
       false},
      {"a shared address", peer("east/node/n1"), Access::kWrite,
       "tombolo/v1/claims/campus/10.9.0.1", "", true},
      {"whose a fixed address is", peer("east/node/n1"), Access::kWrite,
       "tombolo/v1/claimants/Pod/shop/web/eth0", "", true},
      {"a block of an overlay pool", peer("east/node/n1"), Access::kWrite,
       "tombolo/v1/poolblocks/overlay/10.4.0.0/26", "", true},
      {"all shared addresses", peer("east/node/n1"), Access::kWrite, "tombolo/v1/claims/campus/",
       "tombolo/v1/claims/campus0", false},
      {"remote reads shared addresses", peer("west/controller"), Access::kRead,
       "tombolo/v1/claims/", "tombolo/v1/claims0", false},
      {"policies", peer("east/node/n1"), Access::kWrite, "tombolo/v1/policies/a", "", false},
      {"remote reads state", peer("west/controller"), Access::kRead, "cilium/state/services/v1/",
       "cilium/state/services/v10", true},
      {"remote reads all state", peer("west/controller"), Access::kRead, "cilium/state/",
       "cilium/state0", true},
      {"remote reads the heartbeat", peer("west/controller"), Access::kRead, "cilium/.heartbeat",
       "", true},
      {"remote reads the plan", peer("west/controller"), Access::kRead, "tombolo/v1/plan/",
       "tombolo/v1/plan0", true},
      {"remote reads the fleet", peer("west/controller"), Access::kRead, "tombolo/v1/fleet/x", "",
       true},
      {"remote reads its own cache here", peer("west/controller"), Access::kRead, "cilium/cache/",
       "cilium/cache0", false},
      {"remote reads policies", peer("west/controller"), Access::kRead, "tombolo/v1/policies/",
       "tombolo/v1/policies0", false},
      {"remote reads all", peer("west/controller"), Access::kRead, all, all, false},
      {"remote reads from state to the end", peer("west/controller"), Access::kRead,
       "cilium/state/", all, false},
      {"remote reads past state", peer("west/controller"), Access::kRead, "cilium/state/",
       "cilium/state1", false},
      {"remote reads an inverted range", peer("west/controller"), Access::kRead, "cilium/stat",
       "cilium/state0", false},
      {"remote writes state", peer("west/controller"), Access::kWrite, "cilium/state/x", "", false},
      {"remote node reads", peer("west/node/n1"), Access::kRead, "cilium/state/x", "", false},
      {"remote operator reads", peer("west/operator/bob"), Access::kRead, "cilium/state/x", "",
       false},
      {"another fleet",
       {{"spiffe://other/cluster/east/controller"}, "", ""},
       Access::kRead,
       "cilium/state/x",
       "",
       false},
      {"no URI", {{}, "east/controller", ""}, Access::kRead, "cilium/state/x", "", false},
      {"another kind of URI",
       {{"https://fleet/cluster/east/controller"}, "", ""},
       Access::kRead,
       "a",
       "",
       false},
      {"one of two names may",
       {{"https://x", "spiffe://fleet/cluster/east/controller"}, "", ""},
       Access::kWrite,
       "a",
       "",
       true},
  }));
  INFO(name);
  Result<void> result = authorize(kOwner, who, access, key, end);
  REQUIRE(result.has_value() == allowed);
  if (!allowed)
    REQUIRE((result.error().code == Code::kPermissionDenied ||
             result.error().code == Code::kUnauthenticated));
}

TEST_CASE("a refusal says who wanted what") {
  auto refused =
      authorize(kOwner, peer("west/controller"), Access::kWrite, std::string_view("a\0b", 3), "");
  REQUIRE(refused.error().what == "spiffe://fleet/cluster/west/controller may not write 'a\\x00b'");
}

}  // namespace
}  // namespace tombolo
