// The conformance cases of tests/data/netpol as rows: each step is a whole cluster, its policies
// and who may talk to whom then.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/tables.h"
#include "policy/matrix/matrix.h"

namespace tombolo::netpol {

struct Step {
  std::string name;  // "000.json step 1: set namespace to x"
  std::vector<Namespace> namespaces;
  std::vector<Workload> pods;
  std::vector<Policy> policies;
  // [source][destination] in the order of `pods`: 'X' denied, anything else allowed. The diagonal
  // says nothing.
  std::map<policy::Probe, std::vector<std::string>> allowed;
};

// All steps in the order of files and steps. Throws when a file cannot be read.
std::vector<Step> read_steps(const std::string& folder);

// Every policy of a manifest.
std::vector<Policy> policies_of(const std::string& yaml, const std::string& name);

}  // namespace tombolo::netpol
