// A table follows a prefix through cuts, compactions, restores and values that do not decode.
#include "core/store/mirror.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <charconv>

#include "core/store/drive.h"
#include "core/store/memory_kv.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

struct Row {
  std::string name;
  int value = 0;
  std::string key() const { return name; }
  bool operator==(const Row&) const = default;
};

// "p/NAME" -> NAME, value a number.
Result<Row> decode(const KeyValue& kv) {
  Row row;
  row.name = kv.key.substr(2);
  auto [end, error] =
      std::from_chars(kv.value.data(), kv.value.data() + kv.value.size(), row.value);
  if (error != std::errc() || end != kv.value.data() + kv.value.size())
    return fail(Code::kInvalidArgument, "{}: '{}' is no number", kv.key, kv.value);
  return row;
}

// The machine's clock, on which no pause is long; tells how long they should have been.
class HastyClock final : public Clock {
 public:
  MonotonicTime now() const override { return machine_->now(); }
  WallTime wall_now() const override { return machine_->wall_now(); }
  asio::awaitable<Result<void>> sleep_for(Duration duration) override {
    pauses.push_back(duration);
    co_return co_await machine_->sleep_for(std::min<Duration>(duration, 1ms));
  }
  std::vector<Duration> pauses;

 private:
  std::unique_ptr<Clock> machine_ = make_system_clock();
};

struct World {
  Drive drive;
  MemoryStore store{drive.executor(), 1};
  MemoryKv near{store};  // the mirror's connection
  MemoryKv far{store};   // somebody else's
  RevisionCounter revisions;
  Table<Row> table{"rows", revisions};
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  std::unique_ptr<KvMirror<Row>> mirror;

  explicit World(std::int64_t page = 3, Duration progress_interval = 1ms) {
    MirrorOptions options;
    options.follow.name = "test";
    options.follow.prefix = "p/";
    options.follow.page = page;
    options.follow.retry_base = 1ms;
    options.follow.retry_cap = 2ms;
    options.follow.progress_interval = progress_interval;
    mirror = std::make_unique<KvMirror<Row>>(options, near, table.take_writer("mirror"), decode,
                                             tasks, *clock, *rng, Logger());
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  void put(const std::string& key, const std::string& value) {
    REQUIRE(drive.run(far.put({key, value})));
  }
  std::map<std::string, int> rows() const {
    std::map<std::string, int> all;
    for (const auto& [key, versioned] : table.rows()) all[key] = versioned.row.value;
    return all;
  }
  bool becomes(const std::map<std::string, int>& wanted) {
    return drive.until([&] { return rows() == wanted; }, 5s);
  }
};

using Rows = std::map<std::string, int>;

TEST_CASE("lists in pages, then follows; synced after the first list") {
  World world;
  for (int i = 0; i < 8; ++i) world.put(fmt::format("p/{}", i), fmt::format("{}", i));
  world.put("q/9", "9");
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.drive.until([&] { return world.table.synced(); }));
  REQUIRE(world.rows().size() == 8);
  world.put("p/a", "1");
  REQUIRE(world.drive.run(world.far.erase({"p/0", "p/8"})));
  REQUIRE(world.becomes(Rows{{"a", 1}}));
  REQUIRE(world.mirror->follower().lists() == 1);
}

TEST_CASE("a value that does not decode is refused by its key; the last good row stays") {
  World world;
  world.put("p/a", "1");
  world.put("p/b", "broken");
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.becomes(Rows{{"a", 1}}));
  world.put("p/a", "broken too");
  REQUIRE(world.drive.until([&] { return world.mirror->refused().size() == 2; }));
  REQUIRE(world.mirror->refused().at("p/a").contains("p/a: 'broken too' is no number"));
  REQUIRE(world.rows() == Rows{{"a", 1}});
  world.put("p/a", "2");
  world.put("p/b", "3");
  REQUIRE(world.becomes(Rows{{"a", 2}, {"b", 3}}));
  REQUIRE(world.mirror->refused().empty());
}

TEST_CASE("rows stay while the store is away; changes meanwhile are caught up without a list") {
  World world;
  world.put("p/a", "1");
  world.put("p/b", "1");
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.becomes(Rows{{"a", 1}, {"b", 1}}));
  world.near.set_connected(false);
  REQUIRE(world.drive.until([&] { return !world.mirror->watching(); }));
  REQUIRE(world.drive.run(world.far.erase({"p/a", ""})));
  world.put("p/b", "2");
  REQUIRE(world.rows() == Rows{{"a", 1}, {"b", 1}});
  world.near.set_connected(true);
  REQUIRE(world.becomes(Rows{{"b", 2}}));
  REQUIRE(world.mirror->follower().lists() == 1);
}

TEST_CASE("compacted meanwhile, or another store: lists again and prunes") {
  bool restored = GENERATE(false, true);
  World world;
  world.put("p/a", "1");
  world.put("p/b", "1");
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.becomes(Rows{{"a", 1}, {"b", 1}}));
  world.near.set_connected(false);
  REQUIRE(world.drive.run(world.far.erase({"p/a", ""})));
  world.put("p/b", "2");
  if (restored)
    world.store.restore_as(2);
  else
    REQUIRE(world.store.compact(world.store.revision()));
  world.near.set_connected(true);
  REQUIRE(world.becomes(Rows{{"b", 2}}));
  REQUIRE(world.mirror->follower().lists() == 2);
}

TEST_CASE("a store that went back under its own cluster id is listed again") {
  World world;
  world.put("p/a", "1");
  MemoryStore::Backup backup = world.store.backup();
  world.put("p/a", "2");
  world.put("p/b", "3");
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.becomes(Rows{{"a", 2}, {"b", 3}}));
  bool cut = GENERATE(false, true);
  CAPTURE(cut);
  if (cut) world.near.set_connected(false);
  world.store.restore(backup, world.store.cluster_id());
  world.near.set_connected(true);
  // The watch from where it was would say nothing of it, and nothing of this.
  world.put("p/c", "4");
  REQUIRE(world.becomes(Rows{{"a", 1}, {"c", 4}}));
}

TEST_CASE("a store that was away long and is compacted is listed at once") {
  Drive drive;
  MemoryStore store(drive.executor());
  MemoryKv near(store);
  MemoryKv far(store);
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  HastyClock clock;
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(drive.executor());
  MirrorOptions options;
  options.follow.name = "test";
  options.follow.prefix = "p/";
  options.follow.retry_base = 10ms;
  options.follow.retry_cap = 1h;
  options.follow.progress_interval = 10ms;
  KvMirror<Row> mirror(options, near, table.take_writer("mirror"), decode, tasks, clock, *rng,
                       Logger());
  tasks.spawn("mirror", mirror.run());
  REQUIRE(drive.until([&] { return mirror.watching(); }));
  near.set_connected(false);
  for (const char* value : {"1", "2", "3"}) REQUIRE(drive.run(far.put({"p/a", value})));
  REQUIRE(store.compact(store.revision()));
  auto is_long = [](Duration pause) { return pause > 1min; };
  REQUIRE(drive.until([&] { return std::ranges::any_of(clock.pauses, is_long); }));
  near.set_connected(true);
  // The pause that has begun ends; none of its kind follows.
  clock.pauses.clear();
  REQUIRE(drive.until([&] { return table.rows().contains("a"); }));
  REQUIRE(std::ranges::none_of(clock.pauses, [](Duration pause) { return pause > 10ms; }));
  tasks.cancel();
  REQUIRE(drive.until([&] { return tasks.size() == 0; }));
}

TEST_CASE("progress proves the store alive; silence is seen") {
  World world;
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.drive.until([&] { return world.mirror->watching(); }));
  MonotonicTime first = world.mirror->last_heard();
  REQUIRE(world.drive.until([&] { return world.mirror->last_heard() > first + 5ms; }));
  world.near.set_connected(false);
  REQUIRE(world.drive.until([&] { return !world.mirror->watching(); }));
  MonotonicTime last = world.mirror->last_heard();
  REQUIRE(world.drive.until([&] { return world.clock->now() > last + 10ms; }));
  REQUIRE(world.mirror->last_heard() == last);
}

TEST_CASE("a new list takes what was refused and is good now") {
  Drive drive;
  MemoryStore store(drive.executor());
  MemoryKv kv(store);
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(drive.executor());
  MirrorOptions options;
  options.follow.prefix = "p/";
  bool good = false;
  auto later = [&good](const KeyValue& pair) -> Result<Row> {
    if (!good) return fail(Code::kFailedPrecondition, "{}: not yet", pair.key);
    return Row{pair.value, 1};
  };
  KvMirror<Row> mirror(options, kv, table.take_writer("mirror"), later, tasks, *clock, *rng,
                       Logger());
  REQUIRE(drive.run(kv.put({"p/1", "x"})));
  tasks.spawn("mirror", mirror.run());
  REQUIRE(drive.until([&] { return mirror.watching() && mirror.refused().size() == 1; }));
  good = true;
  mirror.relist();
  REQUIRE(drive.until([&] { return table.find("x") != nullptr; }));
  REQUIRE(mirror.refused().empty());
  // And it follows on.
  REQUIRE(drive.run(kv.put({"p/2", "y"})));
  REQUIRE(drive.until([&] { return table.find("y") != nullptr; }));
  tasks.cancel();
  REQUIRE(drive.until([&] { return tasks.size() == 0; }));
}

TEST_CASE("a follower that is asked knows the revision without waiting for its interval") {
  World world(3, 1h);
  world.tasks.spawn("mirror", world.mirror->run());
  REQUIRE(world.drive.until([&] { return world.mirror->watching(); }));
  world.put("q/other", "1");  // nothing that the watch would tell
  const PrefixFollower& follower = world.mirror->follower();
  REQUIRE(follower.revision() < world.store.revision());
  REQUIRE(world.drive.until([&] {
    follower.ask_now();
    return follower.revision() == world.store.revision();
  }));
}

TEST_CASE("a key that changes its row takes the old row with it") {
  Drive drive;
  MemoryStore store(drive.executor());
  MemoryKv kv(store);
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(drive.executor());
  MirrorOptions options;
  options.follow.prefix = "p/";
  // The row is named by the value here.
  auto by_value = [](const KeyValue& pair) -> Result<Row> { return Row{pair.value, 1}; };
  KvMirror<Row> mirror(options, kv, table.take_writer("mirror"), by_value, tasks, *clock, *rng,
                       Logger());
  tasks.spawn("mirror", mirror.run());
  REQUIRE(drive.run(kv.put({"p/1", "x"})));
  REQUIRE(drive.until([&] { return table.find("x") != nullptr; }));
  REQUIRE(drive.run(kv.put({"p/1", "y"})));
  REQUIRE(drive.until([&] { return table.find("y") != nullptr; }));
  REQUIRE(table.size() == 1);
  // Another key takes the row over; the first one's end leaves it alone.
  REQUIRE(drive.run(kv.put({"p/2", "y"})));
  REQUIRE(drive.run(kv.erase({"p/1", ""})));
  REQUIRE(drive.run(kv.put({"p/3", "z"})));
  REQUIRE(drive.until([&] { return table.find("z") != nullptr; }));
  REQUIRE(table.size() == 2);
  tasks.cancel();
  REQUIRE(drive.until([&] { return tasks.size() == 0; }));
}

}  // namespace
}  // namespace tombolo
