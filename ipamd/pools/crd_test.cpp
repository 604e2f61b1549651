// The CustomResourceDefinitions of schema/crd: structural, as the API server demands
// (kubernetes.io, "Specifying a structural schema"), and in step with the parser: what the schema
// knows the parser reads, and what the parser reads passes the schema.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <regex>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

YamlDocument read_crd(const std::string& kind) {
  std::filesystem::path root = std::filesystem::path(TOMBOLO_TEST_DATA).parent_path().parent_path();
  auto document = read_yaml_file(root / "schema/crd" / (kind + ".tombolo.io.yaml"));
  REQUIRE(document);
  return std::move(*document);
}

const json::value& schema_of(const YamlDocument& crd) {
  return crd.value.at("spec").at("versions").at(0).at("schema").at("openAPIV3Schema");
}

bool has(const json::value& schema, const char* key) {
  return schema.as_object().contains(key);
}

// Every node has a type, objects say what is in them, lists have items and a limit.
void expect_structural(const json::value& schema, const std::string& path) {
  INFO(path);
  REQUIRE(schema.is_object());
  REQUIRE(has(schema, "type"));
  const auto& type = schema.at("type").as_string();
  if (type == "array") {
    REQUIRE(has(schema, "maxItems"));
    expect_structural(schema.at("items"), path + "[]");
  } else if (type == "object" && path != ".metadata") {
    bool open = has(schema, "x-kubernetes-preserve-unknown-fields");
    REQUIRE((open || has(schema, "properties") || has(schema, "additionalProperties")));
    if (has(schema, "properties"))
      for (const auto& [key, inner] : schema.at("properties").as_object())
        expect_structural(inner, path + "." + std::string(key));
  } else {
    REQUIRE((type == "object" || type == "string" || type == "integer" || type == "boolean"));
  }
}

bool valid(const json::value& schema, const json::value& value);

bool valid_object(const json::value& schema, const json::value& value) {
  if (!value.is_object()) return false;
  if (has(schema, "required"))
    for (const auto& key : schema.at("required").as_array())
      if (!value.as_object().contains(key.as_string())) return false;
  for (const auto& [key, inner] : value.as_object()) {
    if (has(schema, "properties") && schema.at("properties").as_object().contains(key)) {
      if (!valid(schema.at("properties").at(key), inner)) return false;
    } else if (has(schema, "additionalProperties")) {
      if (!valid(schema.at("additionalProperties"), inner)) return false;
    } else if (has(schema, "properties") && !has(schema, "x-kubernetes-preserve-unknown-fields")) {
      return false;
    }
  }
  return true;
}

bool valid_scalar(const json::value& schema, const json::value& value, std::string_view type) {
  if (has(schema, "enum") && std::ranges::count(schema.at("enum").as_array(), value) == 0)
    return false;
  if (type == "boolean") return value.is_bool();
  if (type == "integer")
    return value.is_int64() &&
           (!has(schema, "minimum") || value.as_int64() >= schema.at("minimum").as_int64()) &&
           (!has(schema, "maximum") || value.as_int64() <= schema.at("maximum").as_int64());
  if (!value.is_string()) return false;
  std::string text(value.as_string());
  if (has(schema, "minLength") &&
      static_cast<std::int64_t>(text.size()) < schema.at("minLength").as_int64())
    return false;
  return !has(schema, "pattern") ||
         std::regex_search(text, std::regex(std::string(schema.at("pattern").as_string())));
}

bool valid(const json::value& schema, const json::value& value) {
  const auto& type = schema.at("type").as_string();
  if (type == "object") return valid_object(schema, value);
  if (type != "array") return valid_scalar(schema, value, type);
  return value.is_array() &&
         static_cast<std::int64_t>(value.as_array().size()) <= schema.at("maxItems").as_int64() &&
         std::ranges::all_of(value.as_array(), [&](const json::value& entry) {
           return valid(schema.at("items"), entry);
         });
}

TEST_CASE("schemas are structural") {
  auto kind = GENERATE(values<std::string>({"ippools", "ipreservations", "fleetplans"}));
  YamlDocument crd = read_crd(kind);
  INFO(kind);
  REQUIRE(crd.value.at("apiVersion").as_string() == "apiextensions.k8s.io/v1");
  REQUIRE(crd.value.at("metadata").at("name").as_string() ==
          std::string_view(kind + ".tombolo.io"));
  REQUIRE(crd.value.at("spec").at("names").at("plural").as_string() == std::string_view(kind));
  expect_structural(schema_of(crd), "");
}

TEST_CASE("schema and parser agree") {
  struct Case {
    std::string name;
    std::string spec;
    bool fine;
  };
  auto test = GENERATE(values<Case>({
      {"least", "{subnet: 10.0.0.0/24}", true},
      {"most",
       "{kind: overlay, ipVersion: 4, subnet: 10.0.0.0/16, ips: [10.0.1.0/24, 10.0.2.1, "
       "10.0.3.1-10.0.3.9], excludeIPs: [10.0.1.7], gateway: 10.0.0.1, vlan: 12, blockLength: 26, "
       "default: true, disable: false, conflictProbe: true, gatewayProbe: false, rest: "
       "{wantedSeconds: 60, leastSeconds: 2}, routes: [{dst: "
       "10.1.0.0/16, gw: 10.0.0.1}], podAffinity: {matchLabels: {a: b}}, namespaceAffinity: "
       "{matchExpressions: [{key: a, operator: In, values: [b]}]}, nodeAffinity: {}, "
       "namespaceName: [a], nodeName: [b], multusName: [c/d], ownerName: [StatefulSet/e], "
       "interfaceName: ['net*']}",
       true},
      {"IPv6", "{subnet: 'fd00::/64', ips: ['fd00::5-fd00::9'], gateway: 'fd00::1'}", true},
      {"for services", "{subnet: 10.0.0.0/24, allowedUses: [LoadBalancer]}", true},
      {"for pods", "{subnet: 10.0.0.0/24, allowedUses: [Workload]}", true},
      {"for both", "{subnet: 10.0.0.0/24, allowedUses: [Workload, LoadBalancer]}", false},
      {"of several clusters",
       "{subnet: 10.0.0.0/24, sharing: {home: east, clusters: [west], partLength: 28}}", true},
      {"of several clusters, by default", "{subnet: 10.0.0.0/24, sharing: {home: east}}", true},
      {"without a home", "{subnet: 10.0.0.0/24, sharing: {clusters: [west]}}", false},
      {"for tunnels", "{subnet: 10.0.0.0/24, allowedUses: [Tunnel]}", false},
      {"no subnet", "{ips: [10.0.0.1]}", false},
      {"unknown field", "{subnet: 10.0.0.0/24, colour: blue}", false},
      {"unknown kind", "{subnet: 10.0.0.0/24, kind: mesh}", false},
      {"text for a number", "{subnet: 10.0.0.0/24, vlan: 'ten'}", false},
      {"too great", "{subnet: 10.0.0.0/24, vlan: 5000}", false},
      {"no address", "{subnet: 10.0.0.0/24, gateway: router}", false},
      {"no list", "{subnet: 10.0.0.0/24, ips: 10.0.0.1}", false},
      {"route without gateway", "{subnet: 10.0.0.0/24, routes: [{dst: 10.1.0.0/16}]}", false},
      {"unknown operator",
       "{subnet: 10.0.0.0/24, nodeAffinity: {matchExpressions: [{key: a, operator: Like}]}}",
       false},
  }));
  INFO(test.name);
  auto documents = parse_yaml(
      "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {name: a}\nspec: " + test.spec,
      "pool.yaml");
  REQUIRE(documents);
  YamlDocument crd = read_crd("ippools");
  REQUIRE(valid(schema_of(crd), documents->at(0).value) == test.fine);
  REQUIRE(parse_ip_pool(documents->at(0).root()).has_value() == test.fine);
}

template <class T>
std::string what(const Result<T>& result) {
  return result ? "" : result.error().what;
}

TEST_CASE("each field of the schema is one of the parser") {
  struct Case {
    std::string kind;
    std::string document;
  };
  auto test = GENERATE(values<Case>({{"ippools", "IPPool"}, {"ipreservations", "IPReservation"}}));
  YamlDocument crd = read_crd(test.kind);
  const auto& fields = schema_of(crd).at("properties").at("spec").at("properties").as_object();
  REQUIRE(fields.size() >= 2);
  for (const auto& [field, schema] : fields) {
    INFO(std::string(field));
    json::object spec{{field, nullptr}};
    json::value value{{"metadata", {{"name", "a"}}}, {"spec", spec}};
    DocumentPlace place{"x", {}};
    Cursor root(value, place);
    std::string error =
        test.document == "IPPool" ? what(parse_ip_pool(root)) : what(parse_ip_reservation(root));
    REQUIRE(error.find("unknown field") == std::string::npos);
  }
}

}  // namespace
}  // namespace tombolo
