// What status says of other clusters.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "app/daemon/handlers/status.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

class StoppedClock final : public Clock {
 public:
  MonotonicTime now() const override { return MonotonicTime{1000s}; }
  WallTime wall_now() const override { return WallTime{5000s}; }
  asio::awaitable<Result<void>> sleep_for(Duration) override {
    co_return fail(Code::kCancelled, "no time passes");
  }
};

struct Case {
  std::string name;
  RemoteState state;
  WallTime heard;
  std::vector<NodeReach> reach;
  admin::api::ClusterState shown;
  std::string warning;
};

TEST_CASE("how another cluster stands is said with its age and its nodes") {
  auto c = GENERATE(values<Case>({
      {"ready",
       RemoteState::kReady,
       WallTime{4999s},
       {{"e1", "west", 3, 3}},
       admin::api::CLUSTER_STATE_READY,
       ""},
      {"connecting", RemoteState::kConnecting, {}, {}, admin::api::CLUSTER_STATE_CONNECTING, ""},
      {"away",
       RemoteState::kControlPlaneAway,
       WallTime{4988s},
       {{"e1", "west", 2, 2}, {"e2", "west", 2, 1}, {"e1", "north", 3, 3}},
       admin::api::CLUSTER_STATE_CONTROL_PLANE_AWAY,
       "cluster west: control plane away for 12 s; 3 of 4 probes of its nodes are answered; its "
       "backends are kept"},
      {"away, nobody asks",
       RemoteState::kControlPlaneAway,
       {},
       {},
       admin::api::CLUSTER_STATE_CONTROL_PLANE_AWAY,
       "cluster west: unheard since this controller started; nobody could ask its nodes; its "
       "backends are kept"},
      {"lost",
       RemoteState::kLost,
       WallTime{4000s},
       {{"e1", "west", 3, 0}},
       admin::api::CLUSTER_STATE_LOST,
       "cluster west: lost, control plane away for 1000 s; 0 of 3 probes of its nodes are "
       "answered; its backends are left out"},
      {"the wall clock was set back",
       RemoteState::kLost,
       WallTime{6000s},
       {{"e1", "west", 3, 0}},
       admin::api::CLUSTER_STATE_LOST,
       "cluster west: lost, control plane away for 0 s; 0 of 3 probes of its nodes are answered; "
       "its backends are left out"},
  }));
  INFO(c.name);
  ControllerTables tables;
  auto remotes = tables.remote_clusters.take_writer("test");
  auto reach = tables.node_reach.take_writer("test");
  RemoteCluster remote;
  remote.name = "west";
  remote.id = 2;
  remote.state = c.state;
  remote.last_heard = c.heard;
  remotes.upsert(remote);
  reach.replace_all(c.reach);
  StoppedClock clock;
  DaemonView view;
  view.controller = &tables;
  view.clock = &clock;
  google::protobuf::RepeatedPtrField<admin::api::Cluster> shown;
  fill_clusters(view, &shown);
  REQUIRE(shown.size() == 1);
  REQUIRE(shown.Get(0).state() == c.shown);
  REQUIRE(shown.Get(0).has_last_heard() == (c.heard != WallTime{}));
  auto warnings = remote_warnings(view);
  REQUIRE(warnings ==
          (c.warning.empty() ? std::vector<std::string>{} : std::vector<std::string>{c.warning}));
}

}  // namespace
}  // namespace tombolo
