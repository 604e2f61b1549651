// Who may talk to whom from whatever manifests hold: the matrix is whole, a pod reaches itself, and
// a port that is asked for is written as it was read. Before the first blank line: a port.
#include <cstddef>
#include <cstdint>

#include "core/yaml.h"
#include "policy/languages/languages.h"
#include "policy/matrix/matrix.h"

namespace {

using namespace tombolo;
using namespace tombolo::policy;

Workload pod(std::string name_space, std::string name, const char* ip) {
  Workload workload;
  workload.labels = {{"pod", name}, {"app", "web"}};
  workload.name_space = std::move(name_space);
  workload.name = std::move(name);
  workload.ports = {{"serve-80-tcp", Protocol::kTcp, 80}, {"serve-81-udp", Protocol::kUdp, 81}};
  workload.ips = {Ip::parse(ip).value()};
  return workload;
}

MatrixInput pods() {
  MatrixInput input;
  input.pods = {pod("x", "a", "10.1.0.1"), pod("x", "b", "10.1.0.2"), pod("y", "a", "10.2.0.1"),
                pod("y", "b", "fd00::2")};
  for (const char* name : {"x", "y"}) {
    Namespace row;
    row.name = name;
    row.labels = {{"ns", name}};
    input.namespaces.push_back(std::move(row));
  }
  return input;
}

void check(const MatrixInput& input, const Matrix& matrix) {
  ENSURE(matrix.pods.size() == input.pods.size() && matrix.allowed.size() == matrix.probes.size());
  for (const auto& rows : matrix.allowed) {
    ENSURE(rows.size() == matrix.pods.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      ENSURE(rows[i].size() == rows.size() && rows[i][i] == '.', "{} and itself", matrix.pods[i]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t end = text.find("\n\n");
  MatrixInput input = pods();
  if (auto probe = parse_probe(text.substr(0, end))) {
    auto again = parse_probe(to_string(*probe));
    ENSURE(again && *again == *probe, "{} is another port", to_string(*probe));
    input.probes.push_back(*probe);
  }
  if (end == std::string_view::npos) return 0;
  auto documents = parse_yaml(text.substr(end + 2), "fuzz.yaml");
  if (!documents) return 0;
  for (const YamlDocument& document : *documents)
    if (auto policy = parse_network_policy(document.root()))
      input.policies.push_back(std::move(*policy));
  auto matrix = make_matrix(input);
  if (matrix) check(input, *matrix);
  return 0;
}
