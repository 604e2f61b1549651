// YAML becomes JSON with lines; bombs and ambiguities are refused.
#include "core/yaml.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

TEST_CASE("scalars are typed by the core schema") {
  auto documents = parse_yaml(
      "a: 1\nb: \"1\"\nc: yes\nd: true\ne: ~\nf: 1.5\ng: 10.0.0.1\nh: 0x10\ni: 1e3\nj: -4", "t");
  REQUIRE(documents.has_value());
  REQUIRE(
      to_json(documents->at(0).value) ==
      R"({"a":1,"b":"1","c":"yes","d":true,"e":null,"f":1.5E0,"g":"10.0.0.1","h":16,"i":1E3,"j":-4})");
}

TEST_CASE("several documents keep their lines") {
  auto documents =
      parse_yaml("kind: A\n---\n# nothing\n---\nkind: B\nspec:\n  ports:\n  - port: x\n", "m.yaml");
  REQUIRE(documents.has_value());
  REQUIRE(documents->size() == 2);
  Cursor root = documents->at(1).root();
  Cursor spec = root["spec"];
  Cursor ports = spec["ports"];
  Cursor first = ports.at(0);
  REQUIRE(first["port"].integer(1, 2).error().what ==
          "m.yaml:8: spec.ports[0].port: must be an integer, is a string");
}

TEST_CASE("bad YAML is refused with its line") {
  struct Case {
    std::string name;
    std::string text;
    std::string what;
  };
  auto [name, text, what] = GENERATE(values<Case>(
      {{"syntax", "a: 1\nb: [1\n", "t:3: not valid YAML: end of sequence flow not found"},
       {"duplicate", "a: 1\nb: 2\na: 3\n", "t:3: the key \"a\" stands twice"},
       {"tag", "a: !!binary xx\n", "t:1: a: the tag tag:yaml.org,2002:binary is not understood"},
       {"key", "? [1]\n: 2\n", "t:1: a key must be a string"},
       {"deep", std::string(400, '['), "t: nested too deeply"}}));
  CAPTURE(name);
  auto documents = parse_yaml(text, "t");
  REQUIRE_FALSE(documents.has_value());
  REQUIRE(documents.error().what == what);
}

TEST_CASE("an alias bomb ends at the limit of values") {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += (j ? ",*a" : "*a") + std::to_string(i - 1);
    text += "]\n";
  }
  auto documents = parse_yaml(text, "bomb");
  REQUIRE_FALSE(documents.has_value());
  REQUIRE(documents.error().what.find("too many values") != std::string::npos);
}

TEST_CASE("a stream without end is refused") {
  auto documents = parse_yaml("\n,    pods: 110\n", "m.yaml");
  REQUIRE_FALSE(documents.has_value());
  REQUIRE(documents.error().what == "m.yaml: more than 10000 documents");
  YamlLimits limits;
  limits.documents = 2;
  REQUIRE(parse_yaml("a: 1\n---\nb: 1\n", "m", limits).has_value());
  REQUIRE_FALSE(parse_yaml("a: 1\n---\nb: 1\n---\nc: 1\n", "m", limits).has_value());
  limits.values = 2;
  REQUIRE(parse_yaml("[1, 2, 3, 4, 5]", "m", limits).error().what ==
          "m:1: not valid YAML: too many values");
}

TEST_CASE("a missing file says so") {
  auto document = read_yaml_file("/nonexistent/fleet.yaml");
  REQUIRE(document.error().code == Code::kNotFound);
  REQUIRE(document.error().what == "/nonexistent/fleet.yaml: cannot be opened");
}

}  // namespace
}  // namespace tombolo
