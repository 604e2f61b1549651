// Answers as JSON values, YAML and tables.
#include "app/cli/render.h"

#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/yaml.h"
#include "schema/admin/v1/admin.pb.h"

namespace tombolo::cli {
namespace {

using Catch::Generators::values;
namespace api = tombolo::admin::v1;

TEST_CASE("a message becomes a value with every field in the order of the schema") {
  api::Cluster cluster;
  cluster.set_name("west");
  cluster.set_id(2);
  cluster.set_state(api::CLUSTER_STATE_CONTROL_PLANE_AWAY);
  cluster.mutable_last_heard()->set_seconds(1'767'225'600);
  cluster.set_services(18'000'000'000'000'000'000ULL);
  REQUIRE(to_json(to_value(cluster)) ==
          R"({"name":"west","id":2,"state":"control_plane_away","address":"",)"
          R"("last_heard":"2026-01-01T00:00:00Z","nodes":0,"services":18000000000000000000,)"
          R"("endpoints":0,"error":"","standing":""})");
  REQUIRE(to_json(to_value(api::WaitRequest())) ==
          R"({"revision":0,"synced":false,"timeout":null,"reconcilers":[]})");
  api::WaitRequest wait;
  wait.mutable_timeout()->set_seconds(61);
  REQUIRE(to_value(wait).at("timeout") == 61);
  wait.mutable_timeout()->set_nanos(500'000'000);
  REQUIRE(to_value(wait).at("timeout") == 61.5);
  api::ListClustersResponse list;
  *list.add_clusters() = cluster;
  REQUIRE(to_value(list).at("clusters").at(0).at("name") == "west");
}

TEST_CASE("tables are aligned and keep one row per line") {
  auto answer = parse_json(R"({
    "name": "east", "empty": "", "on": true, "age": 9.340783443,
    "rows": [{"a": "x", "b": {"c": [1, 2]}, "d": null},
             {"a": "ü-longer", "b": {"c": []}, "d": "two\nlines\u001b[31m"}],
    "notes": ["one", "two"], "none": []})")
                    .value();
  View view{.facts = {{"Name", "name"},
                      {"Empty", "empty"},
                      {"On", "on"},
                      {"Age", "age"},
                      {"Absent", "x.y"}},
            .sections = {{"rows", {{"A", "a"}, {"B", "b.c"}, {"D", "d"}}},
                         {"none", {{"A", "a"}}, "nothing there"},
                         {"absent", {{"A", "a"}}},
                         {"notes", {}}}};
  REQUIRE(to_table(answer, view) ==
          "Name:  east\n"
          "On:    yes\n"
          "Age:   9.3\n"
          "\n"
          "A         B    D\n"
          "x         1,2  -\n"
          "ü-longer  -    two lines [31m\n"
          "\n"
          "nothing there\n"
          "\n"
          "one\n"
          "two\n");
}

TEST_CASE("YAML") {
  struct Case {
    const char* name;
    const char* json;
    const char* yaml;
  };
  auto c = GENERATE(values<Case>({
      {"object", R"({"a": 1, "b": "text", "c": true, "d": null})",
       "a: 1\nb: text\nc: true\nd: null\n"},
      {"nested", R"({"a": {"b": [1, {"c": 2, "d": 3}]}})",
       "a:\n  b:\n    - 1\n    - c: 2\n      d: 3\n"},
      {"empty ones", R"({"a": {}, "b": [], "c": ""})", "a: {}\nb: []\nc: \"\"\n"},
      {"texts that look like something else", R"(["1", "yes", "No", "null", "-x", "a: b", "1.5"])",
       "- \"1\"\n- \"yes\"\n- \"No\"\n- \"null\"\n- \"-x\"\n- \"a: b\"\n- \"1.5\"\n"},
      {"addresses", R"(["10.0.0.1", "fd00::1", "default/web-0"])",
       "- \"10.0.0.1\"\n- \"fd00::1\"\n- default/web-0\n"},
      {"list of lists", R"([[1, 2], []])", "- - 1\n  - 2\n- []\n"},
      {"a scalar", R"("x")", "x\n"},
  }));
  INFO(c.name);
  REQUIRE(to_yaml(parse_json(c.json).value()) == c.yaml);
}

json::value random_value(int depth) {
  int kind = *rc::gen::inRange(0, depth > 0 ? 6 : 4);
  if (kind == 0) return *rc::gen::arbitrary<bool>();
  if (kind == 1) return *rc::gen::arbitrary<std::int64_t>();
  if (kind == 2) return nullptr;
  // Printable ASCII: other bytes would have to be valid UTF-8 first.
  auto text = rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~'));
  if (kind == 3) return json::string(*text);
  int size = *rc::gen::inRange(0, 4);
  json::array array;
  json::object object;
  for (int i = 0; i < size; ++i) {
    if (kind == 4)
      array.push_back(random_value(depth - 1));
    else
      object[*text] = random_value(depth - 1);
  }
  if (kind == 4) return array;
  return object;
}

TEST_CASE("whatever is printed as YAML is read back as it was") {
  REQUIRE(rc::check("round trip", [] {
    // A document that is null is left out by the reader, so the value stands under a key.
    json::object document;
    document["value"] = random_value(3);
    auto read = parse_yaml(to_yaml(document), "y");
    RC_ASSERT(read.has_value());
    RC_ASSERT(read->size() == 1U);
    RC_ASSERT(read->front().value == json::value(document));
  }));
}

}  // namespace
}  // namespace tombolo::cli
