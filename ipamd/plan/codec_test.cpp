// Stored plans that are wrong, differences in words, and the checker's own eyes.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>

#include "ipamd/plan/plan.h"

namespace tombolo {
namespace {

const std::string kPlan = R"({"version":1,"fleet":"f","address_space":["10.0.0.0/8"],
"reserved":[{"cidr":"10.9.0.0/16","note":"office"}],
"clusterset":[{"use":"clusterset","cidr":"10.0.0.0/24","origin":"assigned"}],
"clusters":[{"name":"a","id":1,"region":"r","cloud":"aws","nodes":2,"pods_per_node":110,
"ranges":[{"use":"underlay","cidr":"10.1.0.0/28","origin":"given"},
{"use":"pod","cidr":"10.2.0.0/16","node_prefix_length":24,"origin":"kept"}],
"entry":["10.1.0.4"]}]})";

Result<Plan> decode(const std::string& text) {
  TRY(value, parse_json(text));
  DocumentPlace place{"plan", {}};
  return plan_from_json(Cursor(value, place));
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST_CASE("a stored plan is read; fields of a newer writer are ignored") {
  auto plan = decode(replaced(kPlan, "\"id\":1", "\"id\":1,\"zone\":\"z\""));
  REQUIRE(plan.has_value());
  REQUIRE(*plan == *decode(kPlan));
  REQUIRE(plan->clusters[0].ranges[1].node_prefix_length == 24);
  REQUIRE(blocks_of(*plan).size() == 3);
  REQUIRE(blocks_of(*plan)[0].key() == "/clusterset/10.0.0.0/24");
  REQUIRE(blocks_of(*plan)[2].key() == "a/pod/10.2.0.0/16");
}

TEST_CASE("a stored plan that is wrong is refused with its place") {
  struct Case {
    std::string name;
    std::string from;
    std::string to;
    std::string what;
  };
  auto [name, from, to, what] = GENERATE(values<Case>({
      {"newer", "\"version\":1", "\"version\":4",
       "plan: version: written by a newer Tombolo (format 4; this one knows 3)"},
      {"no version", "\"version\":1,", "", "plan: version: is required"},
      {"prefix", "10.0.0.0/8", "10.0.0.1/8",
       "plan: address_space[0]: '10.0.0.1/8' has host bits set; the prefix is 10.0.0.0/8"},
      {"use", "\"use\":\"pod\"", "\"use\":\"pods\"",
       "plan: clusters[0].ranges[1].use: 'pods' is not known"},
      {"use at the wrong place", "\"use\":\"clusterset\"", "\"use\":\"underlay\"",
       "plan: clusterset[0].use: does not belong here"},
      {"two underlays", "\"use\":\"pod\"", "\"use\":\"underlay\"",
       "plan: clusters[0].ranges[1]: a second range of this use and family"},
      {"node mask", "\"node_prefix_length\":24", "\"node_prefix_length\":8",
       "plan: clusters[0].ranges[1].node_prefix_length: 8 is not from 16 to 32"},
      {"origin", "\"kept\"", "\"found\"",
       "plan: clusters[0].ranges[1].origin: 'found' is not known"},
      {"cloud", "\"aws\"", "\"moon\"", "plan: clusters[0].cloud: 'moon' is not known"},
      {"entry", "[\"10.1.0.4\"]", "[\"x\"]",
       "plan: clusters[0].entry[0]: 'x' is not an IPv4 or IPv6 address"},
      {"no clusters", "\"clusters\"", "\"cluster\"", "plan: clusters: is required"},
  }));
  CAPTURE(name);
  auto plan = decode(replaced(kPlan, from, to));
  REQUIRE_FALSE(plan.has_value());
  REQUIRE(plan.error().what == what);
}

TEST_CASE("differences are told, origins are none") {
  Plan before = *decode(kPlan);
  REQUIRE(diff_plans(before, before).empty());
  Plan after = before;
  after.clusters[0].ranges[0].origin = RangeOrigin::kKept;
  REQUIRE(diff_plans(before, after).empty());

  after.clusters[0].ranges[1].prefix = *Prefix::parse("10.2.0.0/15");
  after.clusters[0].nodes = 300;
  after.clusters[0].entry.push_back(*Ip::parse("10.1.0.5"));
  after.reserved[0].note = "offices";
  after.roots.push_back(*Prefix::parse("172.16.0.0/12"));
  PlannedCluster b = before.clusters[0];
  b.name = "b";
  b.id = 2;
  b.ranges.pop_back();
  after.clusters.push_back(b);
  REQUIRE(diff_plans(before, after) ==
          std::vector<std::string>{
              "+ address space 172.16.0.0/12",
              "- reserved 10.9.0.0/16 (office)",
              "+ reserved 10.9.0.0/16 (offices)",
              "~ a nodes: 2 -> 300",
              "~ a pod IPv4: 10.2.0.0/16, /24 per node -> 10.2.0.0/15, /24 per node "
              "(grows in place)",
              "~ a entry: 10.1.0.4 -> 10.1.0.4 10.1.0.5",
              "+ cluster b (id 2, region r)",
              "+ b underlay IPv4: 10.1.0.0/28",
          });
  auto back = diff_plans(after, before);
  REQUIRE(back[3] == "- cluster b (id 2, region r)");
  REQUIRE(back[4] == "- b underlay IPv4: 10.1.0.0/28");
}

TEST_CASE("the checker sees what is wrong with a plan") {
  auto documents = parse_yaml(
      "fleet: f\nfamilies: [ipv4]\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n"
      "  - cidr: 10.0.0.0/8\nreserved:\n  - cidr: 10.9.0.0/16\nclusters:\n"
      "  - {name: a, id: 1, region: r, nodes: 2, growth: 2}\n"
      "  - {name: b, id: 2, region: r, nodes: 2, cidrs: {service: {ipv4: 11.0.0.0/20}}}\n",
      "f.yaml");
  Fleet fleet = *parse_fleet(documents->front());
  const Plan good = *make_plan(fleet, nullptr);
  REQUIRE(check_plan(good, fleet).has_value());

  auto range = [](Plan& plan, std::size_t cluster, BlockUse use) -> PlannedRange& {
    for (PlannedRange& each : plan.clusters[cluster].ranges)
      if (each.use == use) return each;
    FAIL("no such range");
    return plan.clusters[cluster].ranges[0];
  };
  struct Case {
    std::string name;
    std::function<void(Plan&)> spoil;
    std::string what;
  };
  auto set = [&](std::size_t cluster, BlockUse use, const std::string& cidr) {
    return [=](Plan& plan) { range(plan, cluster, use).prefix = *Prefix::parse(cidr); };
  };
  std::vector<Case> cases{
      {"reserved", set(0, BlockUse::kPod, "10.9.1.0/24"),
       "a, pod 10.9.1.0/24 overlaps the reserved range 10.9.0.0/16"},
      {"small pod range", set(0, BlockUse::kPod, "10.200.0.0/24"),
       "a, pod 10.200.0.0/24: too small for 4 nodes with a /25 each"},
      {"small underlay", set(1, BlockUse::kUnderlay, "10.200.0.0/30"),
       "b, underlay 10.200.0.0/30: too small for 2 nodes; b, underlay 10.200.0.0/30: aws allows "
       "/16 "
       "to /28; b: the entry "},
      {"small services", set(0, BlockUse::kService, "10.200.0.0/24"),
       "a, service 10.200.0.0/24: too small for 2000 services"},
      {"outside", set(0, BlockUse::kService, "12.0.0.0/16"),
       "a, service 12.0.0.0/16 lies in no address space meant for it"},
      {"forbidden", set(0, BlockUse::kService, "172.17.0.0/16"),
       "a, service 172.17.0.0/16 overlaps 172.17.0.0/16: Docker's default bridge"},
      {"not as given", set(1, BlockUse::kService, "10.200.0.0/20"),
       "b, service 10.200.0.0/20 is not the given 11.0.0.0/20"},
      {"missing", [](Plan& plan) { plan.clusters[0].ranges.pop_back(); },
       "a: 2 ranges where 3 are needed; a: no IPv4 service range"},
      {"no clusterset", [](Plan& plan) { plan.clusterset.clear(); },
       "0 clusterset ranges where 1 are needed"},
      {"a cluster too many", [](Plan& plan) { plan.clusters.push_back({}); },
       "3 clusters where 2 are needed"},
      {"a cluster too few", [](Plan& plan) { plan.clusters.pop_back(); },
       "1 clusters where 2 are needed; cluster b is not planned"},
      {"no entry", [](Plan& plan) { plan.clusters[0].entry.clear(); }, "a: no IPv4 entry"},
      {"another id", [](Plan& plan) { plan.clusters[0].id = 9; },
       "a: id, region, nodes or pods per node are not the fleet's"},
      {"forgotten reserve", [](Plan& plan) { plan.reserved.clear(); },
       "the plan's reserved ranges are not the fleet's"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    Plan plan = good;
    each.spoil(plan);
    auto verdict = check_plan(plan, fleet);
    REQUIRE_FALSE(verdict.has_value());
    CAPTURE(verdict.error().what);
    REQUIRE(verdict.error().what.starts_with(each.what));
  }
  Plan twice = good;
  range(twice, 0, BlockUse::kService).prefix = range(twice, 1, BlockUse::kPod).prefix;
  REQUIRE(check_disjoint(twice).error().what.find(" overlaps ") != std::string::npos);
  REQUIRE(plan_table(twice).summary.back().starts_with("check: FAILED: "));
  REQUIRE(plan_table(good).summary.back() ==
          "check: 7 ranges and 1 reserved ranges, no two overlap");
}

}  // namespace
}  // namespace tombolo
