// What was last known survives every end of a process, and is never more than that.
#include "core/store/last_known.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fstream>

#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "core/store/mirror.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

using Rows = std::map<std::string, std::string>;

// One life of a process with the file open.
struct Life {
  std::unique_ptr<Drive> own_drive;
  Drive& drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  std::unique_ptr<LastKnownFile> known;

  static LastKnownOptions options_for(const TempDir& dir) {
    LastKnownOptions options;
    options.file = dir.path() / "known.db";
    options.gather = 1ms;
    options.retry_base = 1ms;
    options.retry_cap = 2ms;
    return options;
  }
  Result<void> open(LastKnownOptions options) {
    auto opened = LastKnownFile::open(std::move(options), tasks, *clock, *rng, Logger());
    if (!opened) return std::unexpected(opened.error());
    known = std::move(*opened);
    return {};
  }
  Life() : own_drive(std::make_unique<Drive>()), drive(*own_drive) {}
  explicit Life(LastKnownOptions options) : Life() { begin(std::move(options)); }
  explicit Life(const TempDir& dir) : Life(options_for(dir)) {}
  Life(const TempDir& dir, Drive& shared) : drive(shared) { begin(options_for(dir)); }
  void begin(LastKnownOptions options) {
    auto opened = open(std::move(options));
    INFO((opened ? std::string() : opened.error().what));
    REQUIRE(opened);
    tasks.spawn("last known", known->run());
  }
  ~Life() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  bool settles() {
    return drive.until([&] { return known->settled(); }, 10s);
  }
  Rows rows(const std::string& prefix, bool complete) {
    KnownPrefix loaded = known->load(prefix);
    REQUIRE(loaded.complete == complete);
    Rows all;
    for (const KeyValue& kv : loaded.kvs) all[kv.key] = kv.value;
    return all;
  }
};

TEST_CASE("last known: puts and erases are there in the next life, by prefix") {
  TempDir dir;
  const std::string zero("\0", 1);
  {
    Life life(dir);
    REQUIRE(life.rows("a/", false) == Rows{});
    life.known->put("a/1", "one");
    life.known->put("a/2", zero);
    life.known->put("a/3", "three");
    life.known->put("b/1", "other");
    life.known->erase("a/3");
    life.known->erase("a/never");
    life.known->listed("a/");
    REQUIRE(life.settles());
    life.known->put("a/1", "changed");
    REQUIRE(life.settles());
  }
  Life life(dir);
  REQUIRE(life.rows("a/", true) == Rows{{"a/1", "changed"}, {"a/2", zero}});
  REQUIRE(life.rows("b/", false) == Rows{{"b/1", "other"}});
}

TEST_CASE("last known: what still waits is written at the end") {
  TempDir dir;
  {
    Life life;
    REQUIRE(life.open(Life::options_for(dir)));
    for (int i = 0; i < 10'000; ++i) life.known->put(fmt::format("a/{}", i), "x");
    life.known->listed("a/");
    REQUIRE_FALSE(life.known->settled());
    REQUIRE(life.known->finish());
  }
  Life life(dir);
  REQUIRE(life.rows("a/", true).size() == 10'000);
}

// A child that writes one key after the other, in batches as they come, until it is killed. Each
// value names the key before it.
[[noreturn]] void write_on(const TempDir& dir, int pipe) {
  LastKnownOptions options = Life::options_for(dir);
  options.batch = 7;
  Life life(options);
  for (int i = 0;; ++i) {
    life.known->put(fmt::format("k/{:09}", i), std::string(200, 'v'));
    if (i % 20 == 19) {
      life.drive.until([&] { return life.known->settled(); });
      if (::write(pipe, &i, sizeof(i)) != sizeof(i)) ::_exit(4);
    }
  }
}

TEST_CASE("last known: kill -9 between two writes leaves a file without gaps") {
  int acknowledgements = GENERATE(1, 10, 60);
  TempDir dir;
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(pipe[0]);
    write_on(dir, pipe[1]);
  }
  ::close(pipe[1]);
  int last = -1;
  for (int i = 0; i < acknowledgements; ++i)
    if (::read(pipe[0], &last, sizeof(last)) != sizeof(last)) break;
  ::kill(child, SIGKILL);
  while (::read(pipe[0], &last, sizeof(last)) == sizeof(last)) continue;
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(last >= 20 * acknowledgements - 1);
  Life life(dir);
  Rows rows = life.rows("k/", false);
  REQUIRE(rows.size() >= static_cast<std::size_t>(last) + 1);
  int expected = 0;
  for (const auto& [key, value] : rows) {
    REQUIRE(key == fmt::format("k/{:09}", expected++));
    REQUIRE(value.size() == 200);
  }
}

TEST_CASE("last known: a full disk keeps the old state, and is caught up with later") {
  TempDir dir;
  LastKnownOptions options = Life::options_for(dir);
  {
    Life life(options);
    life.known->put("a/small", "1");
    life.known->listed("a/");
    REQUIRE(life.settles());
  }
  options.max_file_bytes = 64 * 1024;
  {
    Life life(options);
    life.known->load("a/");
    life.known->put("a/large", std::string(200'000, 'x'));
    life.known->put("a/small", "2");
    // Tried more than once, and still waiting.
    auto later = life.clock->now() + 30ms;
    REQUIRE(life.drive.until([&] { return life.clock->now() > later; }));
    REQUIRE_FALSE(life.known->settled());
    life.known->put("a/large", "now small");
    REQUIRE(life.settles());
  }
  Life life(options);
  REQUIRE(life.rows("a/", true) == Rows{{"a/large", "now small"}, {"a/small", "2"}});
}

TEST_CASE("last known: more than may wait is dropped, and the file no longer passes for complete") {
  TempDir dir;
  LastKnownOptions options = Life::options_for(dir);
  {
    Life life(options);
    life.known->put("a/1", "old");
    life.known->listed("a/");
    REQUIRE(life.settles());
  }
  options.max_waiting_bytes = 1000;
  {
    Life life(options);
    life.known->load("a/");
    for (int i = 0; i < 12; ++i) life.known->put(fmt::format("a/{}", i), std::string(100, 'x'));
    REQUIRE(life.settles());
  }
  {
    Life life(options);
    Rows rows = life.rows("a/", false);
    REQUIRE(rows.at("a/1") == "old");
    life.known->put("a/1", "new");
    life.known->listed("a/");
    REQUIRE(life.settles());
  }
  Life life(options);
  REQUIRE(life.rows("a/", true).at("a/1") == "new");
}

TEST_CASE("last known: a damaged file is set aside") {
  TempDir dir;
  LastKnownOptions options = Life::options_for(dir);
  {
    Life life(options);
    for (int i = 0; i < 500; ++i) life.known->put(fmt::format("a/{}", i), std::string(100, 'x'));
    life.known->listed("a/");
    REQUIRE(life.settles());
  }
  bool header = GENERATE(true, false);
  {
    std::fstream file(options.file, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(header ? 0 : 8192);
    file << std::string(header ? 100 : 4096, '\x5a');
  }
  Life life(options);
  REQUIRE(life.rows("a/", false).empty());
  REQUIRE(std::filesystem::exists(options.file + ".damaged"));
  life.known->put("a/1", "new");
  REQUIRE(life.settles());
}

TEST_CASE("last known: files of others are refused by name") {
  TempDir dir;
  LastKnownOptions options = Life::options_for(dir);
  {
    SQLite::Database other(options.file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    bool newer = GENERATE(true, false);
    if (newer)
      other.exec("PRAGMA application_id=1953459564; PRAGMA user_version=99;");
    else
      other.exec("CREATE TABLE theirs(x)");
    Life life;
    auto opened = life.open(options);
    REQUIRE_FALSE(opened);
    REQUIRE(opened.error().code == Code::kFailedPrecondition);
    REQUIRE(opened.error().what ==
            (newer ? options.file +
                         " has schema 99; this program knows up to 1: a newer tombolod wrote it"
                   : options.file + " is a database, but not of what was last known"));
  }
  TempDir shared;
  Life first(shared);
  Life second;
  auto opened = second.open(Life::options_for(shared));
  REQUIRE_FALSE(opened);
  REQUIRE(opened.error().code == Code::kUnavailable);
}

// ---- with a mirror

struct Row {
  std::string name;
  std::string value;
  std::string key() const { return name; }
  bool operator==(const Row&) const = default;
};

Result<Row> decode(const KeyValue& kv) {
  if (kv.value == "bad") return fail(Code::kInvalidArgument, "{}: is bad", kv.key);
  return Row{kv.key.substr(2), kv.value};
}

struct Mirrored {
  Life life;
  MemoryKv kv;
  RevisionCounter revisions;
  Table<Row> table{"rows", revisions};
  std::unique_ptr<KvMirror<Row>> mirror;
  bool complete = false;

  Mirrored(const TempDir& dir, Drive& drive, MemoryStore& store, bool connected)
      : life(dir, drive), kv(store) {
    kv.set_connected(connected);
    MirrorOptions options;
    options.follow.name = "test";
    options.follow.prefix = "p/";
    options.follow.retry_base = 1ms;
    options.follow.retry_cap = 2ms;
    options.known = life.known.get();
    mirror = std::make_unique<KvMirror<Row>>(options, kv, table.take_writer("mirror"), decode,
                                             life.tasks, *life.clock, *life.rng, Logger());
    complete = mirror->restore();
    life.tasks.spawn("mirror", mirror->run());
  }
  ~Mirrored() {
    life.tasks.cancel();
    life.drive.until([&] { return life.tasks.size() == 0; });
  }
  bool becomes(const Rows& wanted) {
    return life.drive.until(
        [&] {
          Rows rows;
          for (const auto& [key, versioned] : table.rows()) rows[key] = versioned.row.value;
          return rows == wanted;
        },
        10s);
  }
};

TEST_CASE("last known: a mirror starts from it while the store is away, and is corrected later") {
  TempDir dir;
  Drive drive;
  MemoryStore store(drive.executor(), 1);
  MemoryKv writer(store);
  REQUIRE(drive.run(writer.put({"p/a", "1"})));
  REQUIRE(drive.run(writer.put({"p/b", "2"})));
  REQUIRE(drive.run(writer.put({"p/c", "3"})));
  {
    Mirrored first(dir, drive, store, true);
    REQUIRE_FALSE(first.complete);
    REQUIRE(first.becomes({{"a", "1"}, {"b", "2"}, {"c", "3"}}));
    REQUIRE(drive.run(writer.put({"p/c", "bad"})));  // refused: the last good one stays
    REQUIRE(first.life.drive.until([&] { return first.mirror->refused().size() == 1; }));
    REQUIRE(first.life.settles());
  }
  REQUIRE(drive.run(writer.erase({"p/a", ""})));
  REQUIRE(drive.run(writer.put({"p/d", "4"})));
  {
    Mirrored second(dir, drive, store, false);
    REQUIRE(second.complete);
    REQUIRE(second.becomes({{"a", "1"}, {"b", "2"}, {"c", "3"}}));
    REQUIRE(second.mirror->filled());
    REQUIRE_FALSE(second.mirror->synced());
    REQUIRE_FALSE(second.table.synced());
    // Back: what is gone goes, what has come comes, what is refused stays as it was.
    second.kv.set_connected(true);
    REQUIRE(second.becomes({{"b", "2"}, {"c", "3"}, {"d", "4"}}));
    REQUIRE(second.life.drive.until([&] { return second.table.synced(); }));
    REQUIRE(second.life.settles());
  }
  Mirrored third(dir, drive, store, false);
  REQUIRE(third.complete);
  REQUIRE(third.becomes({{"b", "2"}, {"c", "3"}, {"d", "4"}}));
}

}  // namespace
}  // namespace tombolo
