// Tables and the reconciler loop over one.
#include "core/table.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include "core/reconciler.h"

namespace tombolo {
namespace {

struct Row {
  std::string name;
  int value = 0;
  std::string key() const { return name; }
  bool operator==(const Row&) const = default;
};

TEST_CASE("a write that changes nothing makes no revision") {
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  auto writer = table.take_writer("test");
  REQUIRE(writer.upsert({"a", 1}));
  REQUIRE_FALSE(writer.upsert({"a", 1}));
  REQUIRE(table.revision() == 1);
  REQUIRE(writer.replace_all({{"a", 1}, {"b", 2}}) == 1);
  REQUIRE(writer.replace_all({{"b", 3}}) == 2);
  REQUIRE(table.find("a") == nullptr);
  REQUIRE(table.find("b")->value == 3);
  REQUIRE_FALSE(writer.erase("a"));
}

TEST_CASE("a tracker starts with all rows and then gets keys, coalesced") {
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  auto writer = table.take_writer("test");
  writer.upsert({"a", 1});
  int woken = 0;
  auto tracker = table.track([&] { ++woken; });
  REQUIRE(tracker->take() == std::set<std::string>{"a"});
  writer.upsert({"b", 1});
  writer.upsert({"b", 2});
  writer.erase("a");
  REQUIRE(woken == 3);
  REQUIRE(tracker->take() == std::set<std::string>{"a", "b"});
  REQUIRE_FALSE(tracker->pending());
  writer.mark_synced();
  REQUIRE(tracker->pending());
}

struct World : ReconcileOperations<Row> {
  std::map<std::string, int> rows{{"stale", 9}};
  int refuse = 0;  // how many updates fail first
  int prunes = 0;
  asio::awaitable<Result<void>> update(Row row) override {
    if (refuse > 0) {
      --refuse;
      co_return fail(Code::kUnavailable, "not now");
    }
    rows[row.name] = row.value;
    co_return Result<void>{};
  }
  asio::awaitable<Result<void>> erase(std::string key) override {
    rows.erase(key);
    co_return Result<void>{};
  }
  asio::awaitable<Result<void>> prune(std::vector<Row> kept) override {
    ++prunes;
    std::map<std::string, int> left;
    for (const Row& row : kept)
      if (auto at = rows.find(row.name); at != rows.end()) left.insert(*at);
    rows = left;
    co_return Result<void>{};
  }
};

TEST_CASE(
    "the reconciler makes the world equal to the rows, retries, and prunes only when synced") {
  asio::io_context context;
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  Table<ReconcileStatus> status("status", revisions);
  auto writer = table.take_writer("test");
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(context.get_executor());
  World world;
  world.refuse = 3;
  ReconcilerOptions options{"world", std::chrono::milliseconds(1), std::chrono::milliseconds(2)};
  Reconciler<Row> reconciler(options, table, world, status.take_writer("reconcilers"), tasks,
                             *clock, *rng, Logger());
  writer.upsert({"a", 1});
  writer.upsert({"b", 2});
  tasks.spawn("reconciler", reconciler.run());
  while (world.rows.size() < 3) context.run_one();
  REQUIRE(world.rows == std::map<std::string, int>{{"a", 1}, {"b", 2}, {"stale", 9}});
  REQUIRE(world.prunes == 0);
  writer.erase("a");
  writer.mark_synced();
  while (world.rows != std::map<std::string, int>{{"b", 2}}) context.run_one();
  REQUIRE(world.prunes == 1);
  REQUIRE(reconciler.settled());
  while (status.find("world|") == nullptr || status.find("world|")->state != ReconcileState::kDone)
    context.run_one();
  REQUIRE(status.size() == 1);
  tasks.cancel();
  context.restart();
  context.run();
  REQUIRE(tasks.size() == 0);
}

// "bad" always fails; so does the prune, until it is let.
struct Stubborn final : ReconcileOperations<Row> {
  std::set<std::string> done;
  int tries = 0;
  int prunes = 0;
  bool prune_fails = false;
  asio::awaitable<Result<void>> update(Row row) override {
    if (row.name == "bad") {
      ++tries;
      co_return fail(Code::kUnavailable, "never");
    }
    done.insert(row.name);
    co_return Result<void>{};
  }
  asio::awaitable<Result<void>> erase(std::string) override { co_return Result<void>{}; }
  asio::awaitable<Result<void>> prune(std::vector<Row>) override {
    ++prunes;
    if (prune_fails) co_return fail(Code::kUnavailable, "not yet");
    co_return Result<void>{};
  }
};

TEST_CASE("what fails rests longer and longer, and holds up nobody") {
  asio::io_context context;
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  Table<ReconcileStatus> status("status", revisions);
  auto writer = table.take_writer("test");
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(context.get_executor());
  Stubborn world;
  world.prune_fails = true;
  ReconcilerOptions options{"world", std::chrono::hours(1), std::chrono::hours(1)};
  Reconciler<Row> reconciler(options, table, world, status.take_writer("reconcilers"), tasks,
                             *clock, *rng, Logger());
  writer.upsert({"bad", 1});
  writer.mark_synced();
  tasks.spawn("reconciler", reconciler.run());
  while (world.tries == 0 || world.prunes == 0) context.run_one();
  // The failed ones come again in an hour, others at once.
  for (int i = 0; i < 10; ++i) {
    std::string name = std::to_string(i);
    writer.upsert({name, i});
    while (!world.done.contains(name)) context.run_one();
  }
  REQUIRE(world.tries == 1);
  REQUIRE(world.prunes == 1);
  REQUIRE_FALSE(reconciler.settled());
  // A new value is news.
  writer.upsert({"bad", 2});
  while (world.tries == 1) context.run_one();
  REQUIRE(world.prunes == 1);
  tasks.cancel();
  context.restart();
  context.run();
  REQUIRE(tasks.size() == 0);
}

}  // namespace
}  // namespace tombolo
