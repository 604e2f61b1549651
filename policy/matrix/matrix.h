// Who may talk to whom, from manifests alone: `tombolo policy matrix`. Answers come from the
// compiled tables that the kernel would have. Pure.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/policy.h"
#include "core/tables.h"

namespace tombolo::policy {

struct Probe {
  Protocol protocol = Protocol::kTcp;
  Port port = 0;
  auto operator<=>(const Probe&) const = default;
};

// "TCP/80".
std::string to_string(const Probe& probe);
Result<Probe> parse_probe(std::string_view text);

struct MatrixInput {
  std::vector<Namespace> namespaces;  // one without a row has only kubernetes.io/metadata.name
  std::vector<Workload> pods;         // finished ones are left out
  std::vector<Policy> policies;
  std::vector<Probe> probes;  // none: every port that a container of a pod has
};

struct Matrix {
  std::vector<std::string> pods;  // "NAMESPACE/NAME", sorted
  std::vector<Probe> probes;      // sorted
  // [probe][source]: a character per destination, '.' allowed, 'X' denied.
  std::vector<std::vector<std::string>> allowed;
};

// A pod always reaches itself. A pod on the host's network is its node: no policy governs it, no
// selector means it, and pods of the same node (spec.nodeName) cannot shut it out.
// kInvalidArgument: two pods have one address, or one key.
Result<Matrix> make_matrix(const MatrixInput& input);

}  // namespace tombolo::policy
