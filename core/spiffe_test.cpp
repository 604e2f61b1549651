// Names of a fleet: what is one, what is none, and what is said of it.
#include "core/spiffe.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo {
namespace {

TEST_CASE("SPIFFE names") {
  struct Case {
    const char* name;
    const char* uri;
    bool valid;
  };
  auto c = GENERATE(values<Case>({
      {"controller", "spiffe://islands/cluster/east/controller", true},
      {"node", "spiffe://islands/cluster/east/node/n1.example", true},
      {"operator", "spiffe://a.b-c/cluster/e/operator/Ann.B_1", true},
      {"no scheme", "islands/cluster/east/controller", false},
      {"other scheme", "https://islands/cluster/east/controller", false},
      {"no cluster", "spiffe://islands/controller", false},
      {"empty cluster", "spiffe://islands/cluster//controller", false},
      {"empty fleet", "spiffe:///cluster/east/controller", false},
      {"upper case cluster", "spiffe://islands/cluster/East/controller", false},
      {"controller with a name", "spiffe://islands/cluster/east/controller/x", false},
      {"node without a name", "spiffe://islands/cluster/east/node", false},
      {"node with an empty name", "spiffe://islands/cluster/east/node/", false},
      {"a part too many", "spiffe://islands/cluster/east/node/a/b", false},
      {"a slash at the end", "spiffe://islands/cluster/east/controller/", false},
      {"unknown kind", "spiffe://islands/cluster/east/robot/x", false},
      {"dots", "spiffe://islands/cluster/east/operator/..", false},
      {"comma", "spiffe://islands/cluster/east/operator/a,b", false},
      {"nothing", "", false},
      {"other role", "spiffe://f/cluster/c/admin/n", false},
      {"longest cluster", "spiffe://f/cluster/c1234567890123456789012345678901/controller", true},
      {"cluster too long", "spiffe://f/cluster/c12345678901234567890123456789012/controller",
       false},
      {"query", "spiffe://islands/cluster/east/controller?x", false},
  }));
  INFO(c.name);
  auto name = SpiffeName::parse(c.uri);
  REQUIRE(name.has_value() == c.valid);
  if (c.valid) REQUIRE(name->str() == c.uri);
}

TEST_CASE("a name that is refused is quoted short and printable") {
  auto refused = SpiffeName::parse("spiffe://a\nb" + std::string(3000, 'x'));
  REQUIRE(refused.error().what.starts_with("\"spiffe://a\\x0ab"));
  REQUIRE(refused.error().what.size() < 250);
  REQUIRE(SpiffeName::parse("spiffe://f/cluster/c/operator/a\x01").error().what.find("a\\x01") !=
          std::string::npos);
}

}  // namespace
}  // namespace tombolo
