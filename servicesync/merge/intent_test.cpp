// Annotations in both spellings, weights, imports, slices of the clusterset range.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "servicesync/merge/merge_fixture.h"

namespace tombolo::merge {
namespace {

struct IntentCase {
  std::string name;
  StringMap annotations;
  bool global;
  bool shared;
  Affinity affinity;
  std::size_t warnings;
};

TEST_CASE("annotations of a service") {
  auto c = GENERATE(values<IntentCase>({
      {"nothing", {}, false, false, Affinity::kNone, 0},
      {"new spelling", {{"service.cilium.io/global", "true"}}, true, true, Affinity::kNone, 0},
      {"old spelling", {{"io.cilium/global-service", "true"}}, true, true, Affinity::kNone, 0},
      {"any case", {{"service.cilium.io/global", "TRUE"}}, true, true, Affinity::kNone, 0},
      {"1 is false", {{"service.cilium.io/global", "1"}}, false, false, Affinity::kNone, 0},
      {"yes is false", {{"io.cilium/global-service", "yes"}}, false, false, Affinity::kNone, 0},
      {"the new spelling wins",
       {{"service.cilium.io/global", "false"}, {"io.cilium/global-service", "true"}},
       false,
       false,
       Affinity::kNone,
       0},
      {"not shared, old",
       {{"service.cilium.io/global", "true"}, {"io.cilium/shared-service", "false"}},
       true,
       false,
       Affinity::kNone,
       0},
      {"not shared, new",
       {{"io.cilium/global-service", "true"}, {"service.cilium.io/shared", "False"}},
       true,
       false,
       Affinity::kNone,
       0},
      {"shared alone means nothing",
       {{"service.cilium.io/shared", "true"}},
       false,
       false,
       Affinity::kNone,
       0},
      {"affinity local, old",
       {{"io.cilium/global-service", "true"}, {"io.cilium/service-affinity", "local"}},
       true,
       true,
       Affinity::kLocal,
       0},
      {"affinity remote, new",
       {{"io.cilium/global-service", "true"}, {"service.cilium.io/affinity", "remote"}},
       true,
       true,
       Affinity::kRemote,
       0},
      {"affinity none",
       {{"io.cilium/global-service", "true"}, {"service.cilium.io/affinity", "none"}},
       true,
       true,
       Affinity::kNone,
       0},
      {"empty affinity",
       {{"io.cilium/global-service", "true"}, {"service.cilium.io/affinity", ""}},
       true,
       true,
       Affinity::kNone,
       0},
      {"unknown affinity",
       {{"io.cilium/global-service", "true"}, {"service.cilium.io/affinity", "Local"}},
       true,
       true,
       Affinity::kNone,
       1},
      {"affinity of what is not global",
       {{"service.cilium.io/affinity", "local"}},
       false,
       false,
       Affinity::kNone,
       0},
  }));
  INFO(c.name);
  Intent intent = read_intent(c.annotations);
  REQUIRE(intent.global == c.global);
  REQUIRE(intent.shared == c.shared);
  REQUIRE(intent.affinity == c.affinity);
  REQUIRE(intent.warnings.size() == c.warnings);
}

TEST_CASE("the selection algorithm") {
  REQUIRE(read_intent({}).selection == Selection::kRandom);
  REQUIRE(read_intent({{"service.cilium.io/lb-algorithm", "maglev"}}).selection ==
          Selection::kMaglev);
  Intent unknown = read_intent({{"service.cilium.io/lb-algorithm", "best"}});
  REQUIRE(unknown.selection == Selection::kRandom);
  REQUIRE(unknown.warnings.size() == 1);
}

TEST_CASE("a namespace is global unless it says otherwise") {
  REQUIRE(namespace_is_global({}, true));
  REQUIRE_FALSE(namespace_is_global({}, false));
  REQUIRE_FALSE(namespace_is_global({{"clustermesh.cilium.io/global", "false"}}, true));
  REQUIRE(namespace_is_global({{"clustermesh.cilium.io/global", "True"}}, false));
}

TEST_CASE("imports by annotation") {
  REQUIRE(imports_of({}).empty());
  REQUIRE(imports_of({{"tombolo.io/import", " web, db ,,"}}) == std::set<std::string>{"db", "web"});
  REQUIRE(imports_of({{"tombolo.io/import", "*"}}) == std::set<std::string>{"*"});
}

struct WeightCase {
  std::string text;
  std::uint16_t weight;
  std::size_t warnings;
};

TEST_CASE("weights of slices") {
  auto c = GENERATE(values<WeightCase>({
      {"0", 0, 0},
      {"250", 250, 0},
      {"65535", 65535, 0},
      {"65536", 100, 1},
      {"-1", 100, 1},
      {"", 100, 1},
      {"5%", 100, 1},
  }));
  INFO(c.text);
  EndpointSlice slice;
  slice.annotations = {{"service.cilium.io/weight", c.text}};
  std::vector<std::string> warnings;
  REQUIRE(read_weight(slice, warnings) == c.weight);
  REQUIRE(warnings.size() == c.warnings);
}

struct SliceCase {
  std::string range;
  std::uint32_t id;
  int bits;
  std::string slice;  // "" when there is none
};

TEST_CASE("each cluster has its slice of the clusterset range") {
  auto c = GENERATE(values<SliceCase>({
      {"10.200.0.0/16", 0, 8, "10.200.0.0/24"},
      {"10.200.0.0/16", 255, 8, "10.200.255.0/24"},
      {"10.200.0.0/16", 256, 8, ""},
      {"10.200.0.0/16", 511, 9, "10.200.255.128/25"},
      {"10.200.0.0/22", 1, 8, "10.200.0.4/30"},
      {"10.200.0.0/23", 1, 8, ""},
      {"fd77::/96", 2, 8, "fd77::200:0/104"},
  }));
  INFO(c.range << " " << c.id);
  auto slice = clusterset_slice(*Prefix::parse(c.range), c.id, c.bits);
  REQUIRE((slice ? slice->str() : "") == c.slice);
}

struct AffinityCase {
  std::string name;
  Affinity affinity;
  HealthCounts counts;
  Use use;
};

TEST_CASE("affinity as Cilium's selectbackends") {
  auto c = GENERATE(values<AffinityCase>({
      {"none uses both", Affinity::kNone, {1, 1, 1}, {true, true}},
      {"none without anything", Affinity::kNone, {0, 0, 0}, {true, true}},
      {"local with one ready here", Affinity::kLocal, {1, 1, 5}, {true, false}},
      {"local with only terminating ones here", Affinity::kLocal, {0, 2, 5}, {true, true}},
      {"local with nothing elsewhere", Affinity::kLocal, {0, 0, 0}, {true, false}},
      {"local fails over", Affinity::kLocal, {0, 0, 1}, {true, true}},
      {"remote with one elsewhere", Affinity::kRemote, {5, 5, 1}, {false, true}},
      {"remote falls back", Affinity::kRemote, {1, 1, 0}, {true, true}},
      {"remote falls back to terminating ones", Affinity::kRemote, {0, 1, 0}, {true, true}},
      {"remote without anything", Affinity::kRemote, {0, 0, 0}, {false, true}},
  }));
  INFO(c.name);
  REQUIRE(select_by_affinity(c.affinity, c.counts) == c.use);
}

}  // namespace
}  // namespace tombolo::merge
