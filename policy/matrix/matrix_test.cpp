// The conformance cases of tests/data/netpol, each step of each, through the compiled tables; and
// what the cases do not have.
#include "policy/matrix/matrix.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <map>

#include "core/yaml.h"
#include "policy/languages/languages.h"

namespace tombolo::policy {
namespace {

std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

std::vector<Policy> policies_of(std::string_view yaml) {
  auto documents = parse_yaml(yaml, "policy.yaml");
  REQUIRE(documents);
  std::vector<Policy> policies;
  for (const YamlDocument& document : *documents) {
    auto policy = parse_network_policy(document.root());
    INFO((policy ? "" : policy.error().text()));
    REQUIRE(policy);
    policies.push_back(std::move(*policy));
  }
  return policies;
}

Workload pod_of(const json::object& pod) {
  Workload workload;
  workload.name_space = text_of(pod.at("namespace"));
  workload.name = text_of(pod.at("name"));
  workload.ips = {Ip::parse(text_of(pod.at("ip"))).value()};
  for (const auto& [key, value] : pod.at("labels").as_object())
    workload.labels[std::string(key)] = text_of(value);
  for (const json::value& port : pod.at("ports").as_array())
    workload.ports.push_back({text_of(port.at("name")),
                              parse_protocol(text_of(port.at("protocol"))).value(),
                              static_cast<Port>(port.at("port").to_number<int>())});
  return workload;
}

MatrixInput input_of(const json::object& step) {
  MatrixInput input;
  for (const auto& [name, labels] : step.at("namespaces").as_object()) {
    Namespace row;
    row.name = std::string(name);
    for (const auto& [key, value] : labels.as_object())
      row.labels[std::string(key)] = text_of(value);
    input.namespaces.push_back(std::move(row));
  }
  for (const json::value& pod : step.at("pods").as_array())
    input.pods.push_back(pod_of(pod.as_object()));
  for (const json::value& policy : step.at("policies").as_array())
    for (Policy& row : policies_of(policy.as_string())) input.policies.push_back(std::move(row));
  for (const auto& [probe, rows] : step.at("allowed").as_object())
    input.probes.push_back(parse_probe(std::string_view(probe)).value());
  return input;
}

// The files have the pods in an order of their own; 'X' is denied in both.
void check_step(const json::object& step) {
  MatrixInput input = input_of(step);
  std::map<std::string, std::size_t> at;
  for (const Workload& pod : input.pods) at.emplace(pod.key(), at.size());
  auto matrix = make_matrix(input);
  REQUIRE(matrix);
  REQUIRE(matrix->pods.size() == at.size());
  const json::object& expected = step.at("allowed").as_object();
  REQUIRE(matrix->probes.size() == expected.size());
  for (std::size_t probe = 0; probe < matrix->probes.size(); ++probe) {
    const json::array& rows = expected.at(to_string(matrix->probes[probe])).as_array();
    REQUIRE(rows.size() == matrix->pods.size());
    for (std::size_t source = 0; source < rows.size(); ++source) {
      std::string given = text_of(rows[at.at(matrix->pods[source])]);
      std::string row;
      for (const std::string& destination : matrix->pods) row += given[at.at(destination)];
      row[source] = '.';  // a pod's traffic to itself is not policy's
      INFO(to_string(matrix->probes[probe]) << " from " << matrix->pods[source]);
      REQUIRE(matrix->allowed[probe][source] == row);
    }
  }
}

TEST_CASE("every step of every conformance case") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TOMBOLO_TEST_DATA "/netpol")) {
    auto text = read_file(entry.path().string());
    REQUIRE(text);
    auto file = parse_json(*text);
    REQUIRE(file);
    INFO(entry.path().filename().string() << ": " << text_of(file->at("description")));
    for (const json::value& step : file->at("steps").as_array()) check_step(step.as_object());
    ++files;
  }
  REQUIRE(files >= 76);
}

Workload pod(std::string name, std::string ip, StringMap labels = {}) {
  Workload workload;
  workload.name_space = "shop";
  workload.name = std::move(name);
  workload.labels = std::move(labels);
  if (!ip.empty()) workload.ips = {Ip::parse(ip).value()};
  workload.ports = {{"web", Protocol::kTcp, 80}};
  return workload;
}

constexpr std::string_view kOnlyBlock = R"(
metadata: {name: only-block, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.4/30]}}], ports: [{port: web}]}]
)";

TEST_CASE("blocks of addresses match pods, named ports are the governed pod's") {
  MatrixInput input;
  input.pods = {pod("a", "10.0.0.1"), pod("b", "10.0.0.5"), pod("w", "10.1.0.1", {{"app", "web"}})};
  input.policies = policies_of(kOnlyBlock);
  auto matrix = make_matrix(input);
  REQUIRE(matrix);
  REQUIRE(matrix->probes == std::vector<Probe>{{Protocol::kTcp, 80}});
  REQUIRE(matrix->allowed == std::vector<std::vector<std::string>>{{"...", "..X", "..."}});
}

TEST_CASE("a pod on the host's network is its node") {
  MatrixInput input;
  Workload host = pod("a", "10.1.0.9", {{"app", "web"}});
  host.host_network = true;
  host.node = "n1";
  Workload near = pod("b", "10.1.0.1", {{"app", "web"}});
  near.node = "n1";
  Workload far = pod("c", "10.1.0.2", {{"app", "web"}});
  far.node = "n2";
  input.pods = {host, near, far};
  input.policies = policies_of(kOnlyBlock);
  auto matrix = make_matrix(input);
  REQUIRE(matrix);
  REQUIRE(matrix->allowed == std::vector<std::vector<std::string>>{{"..X", "..X", ".X."}});
}

TEST_CASE("finished pods take no part, pods without an address do") {
  MatrixInput input;
  Workload finished = pod("a", "");
  finished.finished = true;
  input.pods = {finished, pod("b", ""), pod("w", "", {{"app", "web"}})};
  input.policies = policies_of(kOnlyBlock);
  auto matrix = make_matrix(input);
  REQUIRE(matrix);
  REQUIRE(matrix->pods == std::vector<std::string>{"shop/b", "shop/w"});
  REQUIRE(matrix->allowed == std::vector<std::vector<std::string>>{{".X", ".."}});
}

TEST_CASE("what cannot be one cluster is refused") {
  MatrixInput input;
  input.pods = {pod("a", "10.0.0.1"), pod("b", "10.0.0.1")};
  auto matrix = make_matrix(input);
  REQUIRE(!matrix);
  REQUIRE(matrix.error().what == "pods shop/a and shop/b both have the address 10.0.0.1");
}

TEST_CASE("probes are PROTO/PORT") {
  REQUIRE(parse_probe("sctp/81").value() == Probe{Protocol::kSctp, 81});
  auto text = GENERATE(as<std::string>{}, "", "80", "TCP/", "TCP/0", "TCP/65536", "TCP/8x", "IP/1");
  INFO(text);
  REQUIRE(!parse_probe(text));
}

}  // namespace
}  // namespace tombolo::policy
