// What the Cursor says about bad input: the message is the feature.
#include "core/json.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

TEST_CASE("bad JSON is refused") {
  struct Case {
    std::string name;
    std::string text;
  };
  auto [name, text] =
      GENERATE(values<Case>({{"empty", ""},
                             {"cut off", "{\"a\":"},
                             {"trailing", "{} {}"},
                             {"duplicate key", R"({"a":1,"b":{"a":2},"a":3})"},
                             {"duplicate behind an escape", R"({"x":"\"{","k":1,"k":2})"},
                             {"deep", std::string(100, '[') + std::string(100, ']')}}));
  CAPTURE(name);
  REQUIRE_FALSE(parse_json(text).has_value());
}

TEST_CASE("equal keys in different objects are fine") {
  REQUIRE(parse_json(R"({"a":{"a":1},"b":[{"a":1},{"a":"a:,{"}]})").has_value());
}

TEST_CASE("an error names the document and the path") {
  auto value =
      parse_json(R"({"spec":{"ports":[{"port":80},{"port":70000},{"port":"x"}],"selector":{"a":1}},
                              "metadata":{"annotations":{"io.cilium/global-service":true}}})");
  REQUIRE(value.has_value());
  DocumentPlace place{"web.yaml", {{"spec", 3}, {"spec.ports[1]", 7}}};
  Cursor root(*value, place);
  Cursor spec = root["spec"];
  Cursor ports = spec["ports"];
  Cursor second = ports.at(1);
  REQUIRE(second["port"].integer(1, 65535).error().what ==
          "web.yaml:7: spec.ports[1].port: 70000 is not from 1 to 65535");
  Cursor third = ports.at(2);
  REQUIRE(third["port"].integer(1, 65535).error().what ==
          "web.yaml:3: spec.ports[2].port: must be an integer, is a string");
  REQUIRE(spec["selector"].string_map().error().what ==
          "web.yaml:3: spec.selector.a: must be a string, is an integer");
  Cursor metadata = root["metadata"];
  REQUIRE(metadata["annotations"].string_map().error().what ==
          "web.yaml: metadata.annotations[\"io.cilium/global-service\"]: must be a string, is a "
          "boolean");
  REQUIRE(spec.only({"ports"}).error().what ==
          "web.yaml:3: spec.selector: unknown field; known here: ports");
  REQUIRE(root["kind"].string().error().what == "web.yaml: kind: is required");
}

}  // namespace
}  // namespace tombolo
