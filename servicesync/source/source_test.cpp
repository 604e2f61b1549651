// Files that come, go and break, in a real folder with the real inotify.
#include "servicesync/source/source.h"

#include <stdlib.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>

#include "core/store/drive.h"

namespace tombolo::source {
namespace {

using namespace std::chrono_literals;

std::string service(const std::string& name) {
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec: {{ports: [{{port: 80}}]}}\n",
      name);
}

struct World {
  std::string path;
  Drive drive;
  RevisionCounter revisions;
  SourceTables tables{revisions};
  Table<Namespace> namespaces{"namespaces", revisions};
  Table<Policy> policies{"policies", revisions};
  Table<PoolObject> pool_objects{"pool_objects", revisions};
  Table<ReconcileStatus> status{"status", revisions};
  std::unique_ptr<Clock> clock = make_system_clock();
  Worker worker;
  TaskGroup tasks{drive.executor()};
  Catalog catalog{tables,
                  namespaces.take_writer("test"),
                  policies.take_writer("test"),
                  pool_objects.take_writer("test"),
                  status.take_writer("test"),
                  Logger()};
  std::unique_ptr<ManifestFolder> folder;

  World() {
    std::string name = "/tmp/tombolo-source-test-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
    std::filesystem::remove_all(path);
  }
  void start(Duration rescan = 20ms) {
    FolderOptions options;
    options.path = path;
    options.debounce = 1ms;
    options.rescan = rescan;
    options.settle = 20ms;
    folder = std::make_unique<ManifestFolder>(options, catalog, worker, tasks, *clock, Logger());
    tasks.spawn("folder", folder->run());
  }
  // Written beside and renamed into place.
  void write(const std::string& name, const std::string& text) {
    std::ofstream(path + "/.tmp") << text;
    std::filesystem::rename(path + "/.tmp", path + "/" + name);
  }
  std::set<std::string> services() const {
    std::set<std::string> keys;
    for (const auto& [key, row] : tables.services.rows()) keys.insert(key);
    return keys;
  }
  bool becomes(const std::set<std::string>& wanted) {
    return drive.until([&] { return catalog.listed() && services() == wanted; }, 10s);
  }
  std::string error_of(const std::string& file) const {
    const ReconcileStatus* line = status.find("manifests|" + file);
    return line == nullptr ? "" : line->error;
  }
};

using Keys = std::set<std::string>;

TEST_CASE("files come, change and go") {
  World world;
  world.write("a.yaml", service("one"));
  world.write("notes.txt", "not a manifest");
  world.write(".hidden.yaml", service("hidden"));
  world.start();
  REQUIRE(world.becomes(Keys{"default/one"}));
  REQUIRE(world.tables.services.synced());
  world.write("b.json", R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "two"},
                            "spec": {"ports": [{"port": 80}]}})");
  REQUIRE(world.becomes(Keys{"default/one", "default/two"}));
  world.write("a.yaml", service("other"));
  REQUIRE(world.becomes(Keys{"default/other", "default/two"}));
  std::filesystem::remove(world.path + "/b.json");
  REQUIRE(world.becomes(Keys{"default/other"}));
}

TEST_CASE("inotify alone tells of a change; no rescan is near") {
  World world;
  world.start(1h);
  REQUIRE(world.becomes(Keys{}));
  world.write("a.yaml", service("one"));
  REQUIRE(world.becomes(Keys{"default/one"}));
}

TEST_CASE("a file that is being written is not taken") {
  World world;
  world.write("a.yaml", service("one"));
  world.start(10ms);
  REQUIRE(world.becomes(Keys{"default/one"}));
  std::ofstream slow(world.path + "/a.yaml");  // truncates it
  int scans_of_a_growing_file = 0;
  while (scans_of_a_growing_file++ < 20) {
    slow << "# " << scans_of_a_growing_file << "\n" << std::flush;
    auto later = world.clock->now() + 5ms;
    REQUIRE(world.drive.until([&] { return world.clock->now() > later; }));
    REQUIRE(world.services() == Keys{"default/one"});
  }
  slow << service("two");
  slow.close();
  REQUIRE(world.becomes(Keys{"default/two"}));
}

TEST_CASE("a bad file keeps its last good objects, and only its own") {
  World world;
  world.write("a.yaml", service("one"));
  world.write("b.yaml", service("two"));
  world.start();
  REQUIRE(world.becomes(Keys{"default/one", "default/two"}));
  world.write("a.yaml", service("One"));
  world.write("b.yaml", service("three"));
  REQUIRE(world.becomes(Keys{"default/one", "default/three"}));
  std::string file = world.path + "/a.yaml";
  REQUIRE(world.drive.until([&] { return !world.error_of(file).empty(); }));
  REQUIRE(world.error_of(file) ==
          file +
              ":3: metadata.name: 'One' is not an RFC 1123 label (lower-case letters, digits, "
              "'-', at most 63)");
  world.write("a.yaml", service("four"));
  REQUIRE(world.becomes(Keys{"default/four", "default/three"}));
  REQUIRE(world.error_of(file).empty());
}

TEST_CASE("a file that was never good keeps everything from being pruned") {
  World world;
  world.write("a.yaml", "kind: [");
  world.write("b.yaml", service("two"));
  world.start();
  REQUIRE(world.becomes(Keys{"default/two"}));
  REQUIRE_FALSE(world.tables.services.synced());
  world.write("a.yaml", service("one"));
  REQUIRE(world.becomes(Keys{"default/one", "default/two"}));
  REQUIRE(world.tables.services.synced());
}

TEST_CASE("an object in two files counts once, from the first by name") {
  World world;
  world.write("a.yaml", service("one"));
  world.write("b.yaml", service("one"));
  world.start();
  REQUIRE(world.becomes(Keys{"default/one"}));
  REQUIRE(world.error_of(world.path + "/b.yaml") ==
          "Service default/one is also in " + world.path + "/a.yaml: that one counts");
  std::filesystem::remove(world.path + "/a.yaml");
  REQUIRE(world.drive.until([&] { return world.status.size() == 0; }));
  REQUIRE(world.services() == Keys{"default/one"});
}

TEST_CASE("a folder that is away is not an empty folder") {
  World world;
  world.write("a.yaml", service("one"));
  world.start();
  REQUIRE(world.becomes(Keys{"default/one"}));
  std::filesystem::rename(world.path, world.path + "-away");
  REQUIRE(world.drive.until([&] { return !world.error_of("").empty(); }));
  REQUIRE(world.services() == Keys{"default/one"});
  std::filesystem::rename(world.path + "-away", world.path);
  REQUIRE(world.drive.until([&] { return world.status.size() == 0; }));
  world.write("b.yaml", service("two"));
  REQUIRE(world.becomes(Keys{"default/one", "default/two"}));
}

}  // namespace
}  // namespace tombolo::source
