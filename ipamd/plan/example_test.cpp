// The examples that users read are what the planner prints: docs/plan.md, deploy/story/fleet.yaml
// and tests/data/plan.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

// Columns as wide as their widest cell, two spaces between them.
std::string printed(const PlanTable& table) {
  std::vector<std::size_t> widths(table.header.size());
  auto all = table.rows;
  all.insert(all.begin(), table.header);
  for (const auto& row : all)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : all) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("{:<{}}{}", row[i], widths[i], i + 1 < row.size() ? "  " : "");
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  for (const std::string& line : table.summary) text += line + "\n";
  return text;
}

std::string printed(const std::vector<RouteEntry>& routes) {
  std::string text;
  for (const RouteEntry& route : routes) text += route_command(route) + "\n";
  return text;
}

// The fenced block that follows `marker` in a document.
std::string block_after(const std::string& document, const std::string& marker) {
  auto at = document.find(marker);
  CAPTURE(marker);
  REQUIRE(at != std::string::npos);
  auto begin = document.find("```", at);
  REQUIRE(begin != std::string::npos);
  begin = document.find('\n', begin) + 1;
  auto end = document.find("```", begin);
  REQUIRE(end != std::string::npos);
  return document.substr(begin, end - begin);
}

TEST_CASE("the guide shows the demonstration's fleet and what the planner makes of it") {
  const std::string guide = repository_text("docs/plan.md");
  Fleet fleet = fleet_of_text(repository_text("deploy/story/fleet.yaml"), "fleet.yaml");
  Plan plan = plan_of(fleet);
  std::string file = repository_text("deploy/story/fleet.yaml");
  REQUIRE(block_after(guide, "<!-- deploy/story/fleet.yaml -->") ==
          file.substr(file.find("fleet: demo")));
  REQUIRE("$ tombolo plan show -f deploy/story/fleet.yaml\n" + printed(plan_table(plan, &fleet)) ==
          block_after(guide, "<!-- plan show -->"));
  REQUIRE("$ tombolo plan routes\n" + printed(plan_routes(plan)) ==
          block_after(guide, "<!-- plan routes -->"));
  REQUIRE("$ tombolo plan routes --cluster west\n" + printed(*plan_routes_of(plan, "west")) ==
          block_after(guide, "<!-- plan routes west -->"));
  fleet.clusters[0].nodes = 8;
  auto grown = make_plan(fleet, &plan);
  REQUIRE(grown.has_value());
  std::string changes;
  for (const std::string& line : diff_plans(plan, *grown)) changes += line + "\n";
  REQUIRE(changes == block_after(guide, "<!-- diff -->"));
}

TEST_CASE("the guide's fleet with zones gives the subnets that it shows") {
  const std::string guide = repository_text("docs/plan.md");
  Fleet fleet = fleet_of_text(block_after(guide, "<!-- zoned fleet -->"));
  PlanTable table = plan_table(plan_of(fleet), &fleet);
  table.summary.clear();
  for (auto& row : table.rows) row.resize(5);
  table.header = table.rows.front();
  table.rows.erase(table.rows.begin());
  table.rows.pop_back();  // the clusterset's
  REQUIRE(printed(table) == block_after(guide, "<!-- zoned plan -->"));
}

TEST_CASE("the refusal that the guide shows is what the planner says") {
  const std::string guide = repository_text("docs/plan.md");
  auto documents = parse_yaml(block_after(guide, "<!-- refused fleet -->"), "fleet.yaml");
  REQUIRE(documents.has_value());
  auto plan = make_plan(*parse_fleet(documents->front()), nullptr);
  REQUIRE_FALSE(plan.has_value());
  REQUIRE(plan.error().what + "\n" == block_after(guide, "<!-- refusal -->"));
}

TEST_CASE("example fleets give the plans that stand beside them") {
  auto name = GENERATE(values<std::string>({"three-clouds"}));
  Fleet fleet = fleet_of_text(repository_text("tests/data/plan/" + name + ".yaml"));
  REQUIRE(printed(plan_table(plan_of(fleet), &fleet)) ==
          repository_text("tests/data/plan/" + name + ".txt"));
}

}  // namespace
}  // namespace tombolo
