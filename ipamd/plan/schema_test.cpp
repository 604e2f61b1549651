// schema/fleet/fleet.schema.json and the parser say the same of a fleet file: a small validator of
// the keywords that the schema uses, over documents that one field spoils.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <regex>
#include <set>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

bool is_type(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_int64() || value.is_uint64();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_bool();
  return false;
}

bool type_is_right(const json::value& type, const json::value& value) {
  if (type.is_string()) return is_type(value, type.as_string());
  for (const json::value& each : type.as_array())
    if (is_type(value, each.as_string())) return true;
  return false;
}

bool is_valid(const json::object& schema, const json::value& value);

bool object_is_valid(const json::object& schema, const json::object& object) {
  const json::object& known = schema.at("properties").as_object();
  for (const json::value& required : schema.at("required").as_array())
    if (!object.contains(required.as_string())) return false;
  for (const auto& [key, member] : object)
    if (!known.contains(key) || !is_valid(known.at(key).as_object(), member)) return false;
  return true;
}

bool is_valid(const json::object& schema, const json::value& value) {
  auto keyword = [&](std::string_view name) { return schema.if_contains(name); };
  if (auto* type = keyword("type"); type != nullptr && !type_is_right(*type, value)) return false;
  if (auto* allowed = keyword("enum"); allowed != nullptr) {
    const json::array& all = allowed->as_array();
    if (std::find(all.begin(), all.end(), value) == all.end()) return false;
  }
  auto* low = keyword("minimum");
  auto* high = keyword("maximum");
  if (value.is_number() && low != nullptr &&
      (value.to_number<double>() < low->to_number<double>() ||
       value.to_number<double>() > high->to_number<double>()))
    return false;
  if (auto* pattern = keyword("pattern"); pattern != nullptr && value.is_string()) {
    std::string text(value.as_string());
    if (!std::regex_match(text, std::regex(pattern->as_string().c_str()))) return false;
    if (auto* most = keyword("maxLength"); most != nullptr)
      if (text.size() > most->to_number<std::size_t>()) return false;
  }
  if (value.is_array()) {
    std::size_t size = value.as_array().size();
    if (auto* least = keyword("minItems"); least != nullptr)
      if (size < least->to_number<std::size_t>()) return false;
    if (auto* most = keyword("maxItems"); most != nullptr)
      if (size > most->to_number<std::size_t>()) return false;
    for (const json::value& item : value.as_array())
      if (!is_valid(schema.at("items").as_object(), item)) return false;
  }
  return !value.is_object() || object_is_valid(schema, value.as_object());
}

TEST_CASE("the schema of the fleet file agrees with the parser") {
  struct Case {
    std::string name;
    std::string from;
    std::string to;
    bool valid;
  };
  auto [name, from, to, valid] = GENERATE(values<Case>({
      {"as it is", "", "", true},
      {"no id", "id: 1, ", "", true},
      {"id 0", "id: 1", "id: 0", false},
      {"id as text", "id: 1", "id: one", false},
      {"1023 clusters", "families: [ipv4, ipv6]", "max_connected_clusters: 1023", true},
      {"1000 clusters", "families: [ipv4, ipv6]", "max_connected_clusters: 1000", false},
      {"growth", "growth: 1.5", "growth: 0.5", false},
      {"whole growth", "growth: 1.5", "growth: 2", true},
      {"growth per year", "growth: 1.5", "growth_per_year: 30", true},
      {"shrinking every year", "growth: 1.5", "growth_per_year: -5", false},
      {"growth per year as text", "growth: 1.5", "growth_per_year: 30%", false},
      {"no nodes", "nodes: 3, ", "", false},
      {"half a node", "nodes: 3", "nodes: 3.5", false},
      {"too many pods", "pods_per_node: 30", "pods_per_node: 5000", false},
      {"too many services", "services: 100", "services: 2000000", false},
      {"unknown field", "growth: 1.5", "grow: 1.5", false},
      {"unknown cloud", "cloud: aws", "cloud: ours", false},
      {"unknown use", "uses: [pod", "uses: [pods", false},
      {"unknown family", "[ipv4, ipv6]", "[ipv4, ipv5]", false},
      {"no families", "[ipv4, ipv6]", "[]", false},
      {"bad name", "name: a,", "name: A,", false},
      {"bad prefix", "10.0.0.0/8", "10.0.0.0", false},
      {"no node prefix length", ", node_prefix_length: 24", "", false},
      {"no entry", "entry: [1, 2]", "entry: []", false},
      {"no regions", "regions:\n  - {name: r, cloud: aws, zones: [a, b]}\n", "", false},
      {"services of the clusterset", "services: 300", "services: 0", false},
      {"note", "note: office", "note: 5", false},
      {"load balancers", "services: 100", "load_balancer_services: 100", true},
      {"fewer than no load balancers", "services: 100", "load_balancer_services: -1", false},
      {"tunnels", "services: 100", "tunnels_per_node: 2", true},
      {"too many tunnels", "services: 100", "tunnels_per_node: 17", false},
      {"a range for load balancers", "service: {ipv4: 10.2", "load_balancer: {ipv4: 10.2", true},
      {"a tunnel range of no family", "service: {ipv4: 10.2", "tunnel: {ipv5: 10.2", false},
      {"zones", "services: 100", "zones: [a, b]", true},
      {"a zone twice", "cloud: aws, zones: [a, b]", "cloud: aws, zones: []", false},
      {"pods in the underlay", "cidrs: {pod: {ipv4: {cidr: 10.1.0.0/16, node_prefix_length: 24}}, ",
       "pod_addresses: underlay, cidrs: {", true},
      {"pods elsewhere", "services: 100", "pod_addresses: moon", false},
      {"subnets", "services: 100", "subnets: {private: 10, public: 25%}", true},
      {"public hosts", "services: 100", "subnets: {public: 9}", true},
      {"more than all", "services: 100", "subnets: {public: 101%}", false},
      {"nothing", "services: 100", "subnets: {public: 0%}", false},
      {"given subnets", "cidrs: {",
       "cidrs: {subnets: [{zone: a, public: true, ipv4: 10.3.0.0/24}], ", true},
      {"uses", "uses: [pod", "uses: [load-balancer, tunnel, pod", true},
  }));
  CAPTURE(name);
  std::string text =
      "fleet: f\nfamilies: [ipv4, ipv6]\nregions:\n  - {name: r, cloud: aws, zones: [a, "
      "b]}\naddress_space:\n"
      "  - {cidr: 10.0.0.0/8, uses: [pod, underlay, service, clusterset], regions: [r]}\n"
      "reserved:\n  - {cidr: 10.9.0.0/16, note: office}\nclusterset: {services: 300}\nclusters:\n"
      "  - {name: a, id: 1, region: r, nodes: 3, pods_per_node: 30, services: 100, growth: 1.5, "
      "entry: [1, 2], families: [ipv4], cidrs: {pod: {ipv4: {cidr: 10.1.0.0/16, "
      "node_prefix_length: 24}}, service: {ipv4: 10.2.0.0/24}}}\n";
  if (!from.empty()) {
    REQUIRE(text.find(from) != std::string::npos);
    text.replace(text.find(from), from.size(), to);
  }
  auto schema_text =
      read_file(std::string(TOMBOLO_TEST_DATA) + "/../../schema/fleet/fleet.schema.json");
  REQUIRE(schema_text.has_value());
  auto schema = parse_json(*schema_text);
  REQUIRE(schema.has_value());
  auto documents = parse_yaml(text, "f.yaml");
  REQUIRE(documents.has_value());
  REQUIRE(is_valid(schema->as_object(), documents->front().value) == valid);
  REQUIRE(parse_fleet(documents->front()).has_value() == valid);
}

// What a FleetPlan object holds in `spec` is a fleet file.
TEST_CASE("the custom resource has the fields of the fleet file, and its spec is read as one") {
  const std::string root = std::string(TOMBOLO_TEST_DATA) + "/../../schema/";
  auto crd = read_yaml_file(root + "crd/fleetplans.tombolo.io.yaml");
  REQUIRE(crd.has_value());
  auto schema = parse_json(read_file(root + "fleet/fleet.schema.json").value());
  REQUIRE(schema.has_value());
  const json::object& fleet = schema->as_object();
  const json::object& spec =
      crd->value.at_pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").as_object();
  auto names = [](const json::value& object) {
    std::set<std::string> all;
    for (const auto& [key, member] : object.as_object()) all.insert(std::string(key));
    return all;
  };
  auto texts = [](const json::value& list) {
    std::set<std::string> all;
    for (const json::value& text : list.as_array()) all.insert(std::string(text.as_string()));
    return all;
  };
  REQUIRE(names(spec.at("properties")) == names(fleet.at("properties")));
  REQUIRE(texts(spec.at("required")) == texts(fleet.at("required")));
  for (const auto& [key, member] : spec.at("properties").as_object()) {
    const json::object& own = member.as_object();
    const json::object& file = fleet.at("properties").as_object().at(key).as_object();
    CAPTURE(std::string(key));
    if (const json::value* type = file.if_contains("type")) REQUIRE(own.at("type") == *type);
    if (const json::value* all = file.if_contains("enum")) REQUIRE(own.at("enum") == *all);
    if (const json::value* most = own.if_contains("maxItems"))
      REQUIRE(most->to_number<int>() >= file.at("maxItems").to_number<int>());
  }

  auto object = parse_yaml(
      "apiVersion: tombolo.io/v1alpha1\nkind: FleetPlan\nmetadata: {name: demo}\nspec:\n"
      "  fleet: demo\n  regions: [{name: r, cloud: aws, zones: [a, b]}]\n"
      "  address_space: [{cidr: 10.0.0.0/8}, {cidr: \"fd00::/32\"}]\n"
      "  clusters: [{name: a, region: r, nodes: 3, cluster_id: 4}]\n",
      "fleetplan.yaml");
  REQUIRE(object.has_value());
  YamlDocument inner{object->front().value.at("spec"), {"fleetplan.yaml", {}}};
  auto refused = parse_fleet(inner);
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().what.find("clusters[0].cluster_id: unknown field") != std::string::npos);
  inner.value.as_object()["clusters"].as_array()[0].as_object().erase("cluster_id");
  REQUIRE(is_valid(fleet, inner.value));
  REQUIRE(parse_fleet(inner).has_value());
}

}  // namespace
}  // namespace tombolo
