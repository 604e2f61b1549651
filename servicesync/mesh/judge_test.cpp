// Every turn that a cluster's life can take.
#include "servicesync/mesh/judge.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo::mesh {
namespace {

using namespace std::chrono_literals;
using enum RemoteState;

TEST_CASE("how a cluster stands") {
  struct Case {
    std::string name;
    Evidence evidence;
    RemoteState state;
  };
  auto c = GENERATE(values<Case>({
      {"the first moment", {kConnecting, false, 0s, 0s, false, {}}, kConnecting},
      {"never reached", {kConnecting, false, 60s, 0s, false, {3, 0}}, kConnecting},
      {"heard, not read yet", {kConnecting, true, 0s, 1s, false, {}}, kConnecting},
      {"heard and read", {kConnecting, true, 0s, 0s, true, {}}, kReady},
      {"a short silence", {kReady, true, 3s, 0s, false, {3, 0}}, kReady},
      {"silent, its nodes too", {kReady, true, 3100ms, 0s, false, {3, 0}}, kLost},
      {"silent, one node answers", {kReady, true, 9s, 0s, false, {3, 1}}, kControlPlaneAway},
      {"silent, nobody could ask", {kReady, true, 9s, 0s, false, {}}, kControlPlaneAway},
      {"then its nodes fall silent", {kControlPlaneAway, true, 9s, 0s, false, {3, 0}}, kLost},
      {"back at once from away", {kControlPlaneAway, true, 0s, 0s, true, {3, 3}}, kReady},
      {"back from lost: not yet steady", {kLost, true, 0s, 500ms, true, {3, 3}}, kLost},
      {"back from lost: not read again", {kLost, true, 0s, 2s, false, {3, 3}}, kLost},
      {"back from lost", {kLost, true, 0s, 1s, true, {3, 0}}, kReady},
      {"lost, a node answers", {kLost, true, 60s, 0s, false, {3, 1}, 500ms}, kLost},
      {"lost, its nodes are back", {kLost, true, 60s, 0s, false, {3, 2}, 1s}, kControlPlaneAway},
      {"away, a node less answers",
       {kControlPlaneAway, true, 60s, 0s, false, {3, 1}, 0s},
       kControlPlaneAway},
      {"lost, nobody can ask any more", {kLost, true, 60s, 0s, false, {}}, kLost},
      {"we restarted: as before", {kLost, false, 1s, 0s, false, {3, 3}}, kLost},
      {"we restarted: as before, kept", {kReady, false, 1s, 0s, false, {}}, kReady},
      {"we restarted and it is gone", {kReady, false, 4s, 0s, false, {3, 0}}, kLost},
  }));
  INFO(c.name);
  REQUIRE(to_string(judge(c.evidence, {})) == to_string(c.state));
}

TEST_CASE("states are kept as their names") {
  auto state = GENERATE(kConnecting, kReady, kControlPlaneAway, kLost);
  REQUIRE(parse_remote_state(to_string(state)) == state);
  REQUIRE(!parse_remote_state("asleep"));
}

}  // namespace
}  // namespace tombolo::mesh
