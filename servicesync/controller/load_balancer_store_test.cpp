// Load balancer addresses over the embedded store and, where it is installed, over etcd: kept when
// the controller and the store start again, and never those of another cluster.
#include <grpc/grpc.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include "core/store/drive.h"
#include "core/store/etcd_client.h"
#include "core/store/test_stores.h"
#include "servicesync/controller/controller_sync.h"

namespace tombolo::controller {
namespace {

using namespace std::chrono_literals;

// gRPC takes itself down on a thread of its own: before the process ends, that is waited for.
class EndOfRun final : public Catch::EventListenerBase {
 public:
  using EventListenerBase::EventListenerBase;
  void testRunStarting(const Catch::TestRunInfo&) override { grpc_init(); }
  void testRunEnded(const Catch::TestRunStats&) override { grpc_shutdown_blocking(); }
};
CATCH_REGISTER_LISTENER(EndOfRun)

struct Fleet {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  Worker worker;
};

ControllerSettings settings_of(const std::string& cluster, std::uint32_t id) {
  ControllerSettings settings;
  settings.cluster = cluster;
  settings.cluster_id = id;
  settings.retry_base = 5ms;
  settings.retry_cap = 100ms;
  settings.progress_interval = 100ms;
  return settings;
}

std::unique_ptr<Kv> connect(Fleet& fleet, const TestStore& store) {
  EtcdClientOptions options;
  options.endpoints = store.endpoints();
  auto client = make_etcd_client(std::move(options), fleet.drive.executor());
  REQUIRE(client);
  return std::move(*client);
}

// One life of a cluster's controller, with the plan of the whole fleet.
class Life {
 public:
  Life(Fleet& fleet, const std::string& cluster, std::uint32_t id, const TestStore& store)
      : fleet_(fleet),
        kv_(connect(fleet, store)),
        tasks_(fleet.drive.executor()),
        plan_(tables.plan_blocks.take_writer("test")),
        sync_(settings_of(cluster, id), tables, tables.status.take_writer("test"), *kv_,
              fleet.worker, tasks_, *fleet.clock, *fleet.rng, Logger()) {
    for (const char* name : {"east", "west"}) {
      int number = name == std::string("east") ? 1 : 2;
      plan_.upsert(
          {name, BlockUse::kService, *Prefix::parse(fmt::format("10.{}.0.0/20", 100 + number)), 0});
      plan_.upsert({name, BlockUse::kLoadBalancer,
                    *Prefix::parse(fmt::format("203.0.113.{}/28", 16 * number)), 0});
    }
    plan_.mark_synced();
    tables.attachments.take_writer("test").mark_synced();
  }
  ~Life() {
    tasks_.cancel();
    fleet_.drive.until([&] { return tasks_.size() == 0; });
  }
  void start() { sync_.start(); }
  void apply(const std::string& name, const std::string& ip = "") {
    std::string text = fmt::format(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  annotations: "
        "{{ipam.tombolo.io/load-balancer-ips: \"{}\"}}\n"
        "spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n",
        name, ip);
    auto objects = manifests::decode_objects(text, name + ".yaml");
    REQUIRE(objects);
    sync_.set_objects(name + ".yaml", std::move(objects));
  }
  // Nothing while it has none.
  std::optional<Ip> address(const std::string& name) {
    const Frontend* row = tables.frontends.find("default/" + name);
    if (row == nullptr || row->load_balancer_ips.size() != 1) return std::nullopt;
    return row->load_balancer_ips.front();
  }
  std::string status(const std::string& name) {
    const ReconcileStatus* line = tables.status.find("load balancers|default/" + name);
    return line == nullptr ? "" : line->error;
  }

 private:
  Fleet& fleet_;
  std::unique_ptr<Kv> kv_;
  TaskGroup tasks_;

 public:
  ControllerTables tables;

 private:
  Table<PlanBlock>::Writer plan_;
  ControllerSync sync_;
};

void keeps_addresses(TestStore& store, TestStore& other, const std::function<void()>& restart) {
  Fleet fleet;
  Ip first;
  {
    Life east(fleet, "east", 1, store);
    Life west(fleet, "west", 2, other);
    for (Life* life : {&east, &west}) {
      life->apply("web");
      life->start();
      REQUIRE(fleet.drive.until([&] { return life->address("web").has_value(); }));
    }
    first = *east.address("web");
    // The same service in both clusters, each out of its own range.
    REQUIRE(Prefix::parse("203.0.113.16/28")->contains(first));
    REQUIRE(Prefix::parse("203.0.113.32/28")->contains(*west.address("web")));
    east.apply("fixed", "203.0.113.20");
    east.apply("late", "203.0.113.20");
    east.apply("foreign", "203.0.113.33");
    const std::optional<Ip> wanted = *Ip::parse("203.0.113.20");
    auto one_has_it = [&] {
      return (east.address("fixed") == wanted) != (east.address("late") == wanted) &&
             east.status("fixed").empty() != east.status("late").empty();
    };
    REQUIRE(fleet.drive.until(one_has_it));
    REQUIRE(fleet.drive.until([&] {
      return east.status("foreign") == "203.0.113.33 is in no range for load balancers";
    }));
  }
  restart();
  Life east(fleet, "east", 1, store);
  // Others stand first in line now, and one of them wants what is held.
  east.apply("aaa", first.str());
  east.apply("web");
  east.start();
  REQUIRE(fleet.drive.until([&] { return east.address("web").has_value(); }));
  REQUIRE(east.address("web") == first);
  REQUIRE(fleet.drive.until([&] {
    return east.status("aaa") ==
           fmt::format("{} belongs to default/web, and no two services share one", first.str());
  }));
}

TEST_CASE("over the embedded store, which starts again with its file") {
  EmbeddedStore store;
  EmbeddedStore other;
  keeps_addresses(store, other, [&] { store.restart(); });
}

TEST_CASE("over etcd, beside a cluster with the embedded store") {
  // (gRPC 1.51 frees its threads' queue twice when the last client of a process without a server
  // goes.)
  EmbeddedStore other;
  auto store = EtcdStore::start();
  if (store == nullptr) SKIP("etcd is missing (Debian package etcd-server)");
  keeps_addresses(*store, other, [] {});
}

}  // namespace
}  // namespace tombolo::controller
