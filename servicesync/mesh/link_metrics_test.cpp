// A cluster is in one state at a time, also for whoever reads metrics.
#include "servicesync/mesh/link_metrics.h"

#include <catch2/catch_test_macros.hpp>

#include "core/metrics.h"

namespace tombolo::mesh {
namespace {

using namespace std::chrono_literals;

double state_of(const std::string& state) {
  return metrics::gauge("tombolo_remote_state", "", {{"remote_cluster", "m1"}, {"state", state}})
      .value();
}

TEST_CASE("a state replaces the one before, and changes are counted") {
  LinkMetrics measured("m1");
  measured.set_state(RemoteState::kReady);
  REQUIRE(state_of("ready") == 1);
  measured.set_state(RemoteState::kLost);
  measured.count_transition(RemoteState::kLost);
  measured.count_transition(RemoteState::kLost);
  REQUIRE(state_of("ready") == 0);
  REQUIRE(state_of("lost") == 1);
  REQUIRE(metrics::counter("tombolo_remote_transitions_total", "",
                           {{"remote_cluster", "m1"}, {"to", "lost"}})
              .value() == 2);
  measured.set_silence(1500ms);
  REQUIRE(
      metrics::gauge("tombolo_remote_silence_seconds", "", {{"remote_cluster", "m1"}}).value() ==
      1.5);
  measured.clear();
  REQUIRE(state_of("lost") == 0);
}

}  // namespace
}  // namespace tombolo::mesh
