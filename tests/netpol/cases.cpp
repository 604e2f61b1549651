// See cases.h.
#include "tests/netpol/cases.h"

#include <algorithm>
#include <filesystem>

#include "core/yaml.h"
#include "policy/languages/languages.h"

namespace tombolo::netpol {
namespace {

std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

StringMap map_of(const json::value& value) {
  StringMap map;
  for (const auto& [key, entry] : value.as_object()) map[std::string(key)] = text_of(entry);
  return map;
}

Workload pod_of(const json::object& pod) {
  Workload workload;
  workload.name_space = text_of(pod.at("namespace"));
  workload.name = text_of(pod.at("name"));
  workload.ips = {Ip::parse(text_of(pod.at("ip"))).value()};
  workload.labels = map_of(pod.at("labels"));
  for (const json::value& port : pod.at("ports").as_array())
    workload.ports.push_back({text_of(port.at("name")),
                              parse_protocol(text_of(port.at("protocol"))).value(),
                              static_cast<Port>(port.at("port").to_number<int>())});
  return workload;
}

Step step_of(std::string name, const json::object& object) {
  Step step;
  step.name = std::move(name);
  for (const auto& [key, labels] : object.at("namespaces").as_object())
    step.namespaces.push_back({std::string(key), map_of(labels), {}});
  for (const json::value& pod : object.at("pods").as_array())
    step.pods.push_back(pod_of(pod.as_object()));
  for (const json::value& yaml : object.at("policies").as_array())
    for (Policy& policy : policies_of(text_of(yaml), step.name))
      step.policies.push_back(std::move(policy));
  for (const auto& [probe, rows] : object.at("allowed").as_object()) {
    std::vector<std::string>& out =
        step.allowed[policy::parse_probe(std::string_view(probe)).value()];
    for (const json::value& row : rows.as_array()) out.push_back(text_of(row));
  }
  return step;
}

}  // namespace

std::vector<Policy> policies_of(const std::string& yaml, const std::string& name) {
  std::vector<Policy> policies;
  auto documents = parse_yaml(yaml, name).value();
  for (const YamlDocument& document : documents)
    policies.push_back(policy::parse_network_policy(document.root()).value());
  return policies;
}

std::vector<Step> read_steps(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files.push_back(entry.path().string());
  std::ranges::sort(files);
  std::vector<Step> steps;
  for (const std::string& file : files) {
    auto root = parse_json(read_file(file).value()).value();
    int number = 0;
    for (const json::value& step : root.at("steps").as_array())
      steps.push_back(
          step_of(fmt::format("{} step {}: {}", std::filesystem::path(file).filename().string(),
                              ++number, text_of(root.at("description"))),
                  step.as_object()));
  }
  return steps;
}

}  // namespace tombolo::netpol
