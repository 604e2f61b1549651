// The hub of flow events over a source that the test fills: names, filters, losses, followers.
#include "app/daemon/handlers/flows.h"

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

using Catch::Generators::values;
namespace api = admin::api;

Ip ip(std::string_view text) {
  return Ip::parse(text).value();
}

// Sleeps until the test ends them.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(asio::io_context& context) : over_(context.get_executor()) {}
  MonotonicTime now() const override { return {}; }
  WallTime wall_now() const override { return {}; }
  asio::awaitable<Result<void>> sleep_for(Duration) override { co_return co_await over_.wait(); }
  void end_sleeps() { over_.notify_all(); }

 private:
  Signal over_;
};

// Takes messages until it is closed.
class Reader final : public admin::Stream<api::FollowFlowsResponse> {
 public:
  explicit Reader(asio::io_context& context) : opened_(context.get_executor()) {}
  asio::awaitable<Result<void>> write(api::FollowFlowsResponse message) override {
    while (closed) {
      auto woken = co_await opened_.wait();
      CO_TRY_OK(woken);
    }
    lost += message.lost();
    for (const auto& event : message.events()) events.push_back(event);
    co_return Result<void>{};
  }
  void open() {
    closed = false;
    opened_.notify_all();
  }

  std::vector<api::FlowEvent> events;
  std::uint64_t lost = 0;
  bool closed = false;

 private:
  Signal opened_;
};

struct World {
  asio::io_context context;
  ManualClock clock{context};
  TaskGroup tasks{context.get_executor()};
  AgentTables tables;
  Table<IpOwner>::Writer owners = tables.ip_owners.take_writer("test");
  Table<GuardedPod>::Writer pods = tables.guarded_pods.take_writer("test");
  Table<NumberedRule>::Writer rules = tables.numbered_rules.take_writer("test");
  std::deque<bpf::FlowEvent> source;
  std::uint64_t missed = 0;
  std::vector<bool> traced;
  FlowHub hub{{[this](std::uint64_t after, std::size_t limit) { return page(after, limit); },
               [this](bool on) -> Result<void> {
                 traced.push_back(on);
                 return {};
               }},
              tables,
              "east",
              "east-1",
              tasks,
              clock,
              Logger()};
  std::uint64_t last = 0;

  World() {
    owner("10.1.0.9", "east", "client", "client", 65'541);
    owner("10.2.0.7", "west", "stars", "backend", 131'073);
    NumberedRule rule;
    rule.number = 3;
    rule.rule = "isolation";
    rule.action = PolicyAction::kDeny;
    rule.policies = {"NetworkPolicy/stars/default-deny"};
    rules.upsert(rule);
  }
  ~World() {
    tasks.cancel();
    turn();
  }

  void owner(std::string_view address, std::string cluster, std::string name_space, std::string pod,
             std::uint32_t identity) {
    IpOwner row;
    row.ip = ip(address);
    row.cluster = std::move(cluster);
    row.name_space = std::move(name_space);
    row.pod_name = std::move(pod);
    row.identity = identity;
    owners.upsert(row);
  }
  bpf::FlowPage page(std::uint64_t after, std::size_t limit) {
    bpf::FlowPage result;
    result.missed = std::exchange(missed, 0);
    result.last = after + result.missed;
    for (const auto& event : source)
      if (event.sequence > after && result.events.size() < limit) result.events.push_back(event);
    if (!result.events.empty()) result.last = result.events.back().sequence;
    return result;
  }
  bpf::FlowEvent& add(std::string_view from, std::string_view to, bool allowed = false) {
    bpf::FlowEvent event;
    event.sequence = ++last;
    event.allowed = allowed;
    event.source = {ip(from), 41'000};
    event.destination = {ip(to), 6379};
    event.protocol = 6;
    event.rule = allowed ? 0 : 3;
    event.host_interface = "tbo1";
    event.identity = 70'000;
    event.peer_identity = 2;
    return source.emplace_back(event);
  }
  void turn() {
    context.restart();
    context.poll();
  }
  void take_all() {
    while (hub.take()) {
    }
    turn();
  }
  asio::awaitable<void> followed(api::FollowFlowsRequest request, Reader& reader, bool& ended,
                                 Result<void>& result) {
    result = co_await hub.follow(std::move(request), admin::Caller("local", admin::Access::kAdmin),
                                 reader);
    ended = true;
  }
};

struct Following {
  Following(World& in, api::FollowFlowsRequest request) : world(in), reader(world.context) {
    world.tasks.spawn("follow", world.followed(std::move(request), reader, ended, result));
    world.turn();
  }
  ~Following() {
    world.tasks.cancel();
    world.turn();
  }
  Following(const Following&) = delete;
  Following& operator=(const Following&) = delete;
  World& world;
  Reader reader;
  bool ended = false;
  Result<void> result;
};

api::FollowFlowsRequest newest(std::uint32_t count, std::string verdict = "") {
  api::FollowFlowsRequest request;
  request.set_last(count);
  request.set_verdict(std::move(verdict));
  return request;
}

TEST_CASE("an event names both ends, the policy and the rule, as they were when it came") {
  World world;
  world.add("10.1.0.9", "10.2.0.7");
  world.take_all();
  world.owner("10.2.0.7", "west", "other", "later", 131'080);
  Following newest_one(world, newest(1));
  REQUIRE(newest_one.ended);
  REQUIRE(newest_one.result);
  const api::FlowEvent& event = newest_one.reader.events.at(0);
  REQUIRE(event.verdict() == "dropped");
  REQUIRE(event.source().cluster() == "east");
  REQUIRE(event.source().pod() == "client");
  REQUIRE(event.source().port() == 41'000);
  REQUIRE(event.destination().cluster() == "west");
  REQUIRE(event.destination().name_space() == "stars");
  REQUIRE(event.destination().identity() == 131'073);
  REQUIRE(event.protocol() == "TCP");
  REQUIRE(event.by() == "isolation of stars/default-deny");
  REQUIRE(event.policies(0) == "NetworkPolicy/stars/default-deny");
  REQUIRE(event.node() == "east-1");
}

TEST_CASE("ends that no record names") {
  World world;
  GuardedPod pod;
  pod.attachment = "c1/eth0";
  pod.host_interface = "tbo1";
  pod.pod = "shop/web";
  pod.ips = {ip("10.1.0.20")};
  world.pods.upsert(pod);
  auto& event = world.add("10.1.0.20", "192.0.2.1");
  event.reason = bpf::FlowReason::kSourceRefused;
  event.rule = 0;
  world.take_all();
  Following newest_one(world, newest(1));
  const api::FlowEvent& shown = newest_one.reader.events.at(0);
  REQUIRE(shown.source().pod() == "web");
  REQUIRE(shown.source().identity() == 70'000);
  REQUIRE(shown.destination().what() == "outside");
  REQUIRE(shown.destination().identity() == 2);
  REQUIRE(shown.by() == "source check: the address is not the pod's own");
}

TEST_CASE("filters") {
  struct Case {
    std::string name;
    std::string verdict, pod, name_space, cluster;
    std::size_t count;
  };
  auto c = GENERATE(values<Case>({
      {"drops only", "", "", "", "", 2},
      {"allowed", "allowed", "", "", "", 1},
      {"all", "all", "", "", "", 3},
      {"pod", "all", "stars/backend", "", "", 2},
      {"pod of its cluster", "all", "west/stars/backend", "", "", 2},
      {"pod of another cluster", "all", "east/stars/backend", "", "", 0},
      {"namespace", "all", "", "stars", "", 2},
      {"cluster", "", "", "", "west", 1},
  }));
  INFO(c.name);
  World world;
  world.add("10.1.0.9", "10.2.0.7");
  world.add("10.1.0.9", "192.0.2.1");
  world.add("10.1.0.9", "10.2.0.7", true);
  world.take_all();
  auto request = newest(10, c.verdict);
  request.set_pod(c.pod);
  request.set_name_space(c.name_space);
  request.set_cluster(c.cluster);
  Following found(world, request);
  REQUIRE(found.ended);
  REQUIRE(found.reader.events.size() == c.count);
}

TEST_CASE("questions that are none are refused") {
  struct Case {
    std::string name;
    std::uint32_t last;
    std::string verdict, pod;
  };
  auto c = GENERATE(values<Case>({
      {"too many", 4097, "", ""},
      {"verdict", 1, "maybe", ""},
      {"pod", 1, "", "backend"},
  }));
  INFO(c.name);
  World world;
  auto request = newest(c.last, c.verdict);
  request.set_pod(c.pod);
  Following refused(world, request);
  REQUIRE(refused.ended);
  REQUIRE(refused.result.error().code == Code::kInvalidArgument);
}

TEST_CASE("a follower gets what comes; who falls behind is told how much was lost") {
  World world;
  auto request = newest(0);
  request.set_follow(true);
  Following quick(world, request);
  Following slow(world, request);
  slow.reader.closed = true;
  constexpr std::uint64_t kEvents = FlowHub::kKept + 1000;
  for (std::uint64_t i = 0; i < kEvents; ++i) {
    world.add("10.1.0.9", "10.2.0.7");
    if (i % 200 == 0) world.take_all();
  }
  world.take_all();
  REQUIRE(quick.reader.events.size() == kEvents);
  REQUIRE(quick.reader.lost == 0);
  slow.reader.open();
  world.turn();
  REQUIRE(slow.reader.lost > 0);
  REQUIRE(slow.reader.lost + slow.reader.events.size() == kEvents);
  REQUIRE(slow.reader.events.back().sequence() == kEvents);
  REQUIRE_FALSE(slow.ended);
}

TEST_CASE("what the kernel's ring overwrote is lost to everybody") {
  World world;
  auto request = newest(0);
  request.set_follow(true);
  Following follower(world, request);
  world.add("10.1.0.9", "10.2.0.7");
  world.take_all();
  world.last += 40;
  world.missed = 40;
  world.take_all();
  world.add("10.1.0.9", "10.2.0.7");
  world.take_all();
  REQUIRE(follower.reader.events.size() == 2);
  REQUIRE(follower.reader.lost == 40);
}

TEST_CASE("accepted flows are told of while somebody follows them") {
  World world;
  world.tasks.spawn("hub", world.hub.run());
  world.turn();
  REQUIRE(world.traced == std::vector<bool>{false});  // whatever an earlier life left
  auto request = newest(0, "all");
  Following looks(world, request);
  REQUIRE(looks.ended);
  REQUIRE(world.traced.size() == 1);
  request.set_follow(true);
  Following first(world, request);
  Following second(world, request);
  REQUIRE(world.traced == std::vector<bool>{false, true});
  world.add("10.1.0.9", "10.2.0.7", true);
  world.clock.end_sleeps();
  world.turn();
  REQUIRE(first.reader.events.size() == 1);
  REQUIRE(second.reader.events.at(0).by() == "no policy isolates");
  world.tasks.cancel();
  world.turn();
  REQUIRE(world.tasks.size() == 0);
  REQUIRE(world.traced == std::vector<bool>{false, true, false});
}

}  // namespace
}  // namespace tombolo
