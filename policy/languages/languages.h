// Policy languages -> the one rule form. First stage of policy: a manifest's object -> Policy.
// Pure; every complaint is "FILE:LINE: path: what".
#pragma once

#include "core/json.h"
#include "core/policy.h"

namespace tombolo::policy {

// One NetworkPolicy of networking.k8s.io/v1, as the API server takes it: its defaults (policyTypes
// by what is there, TCP for a port without protocol) and its validation. Members of the spec that
// the API does not have are refused, as `kubectl` does: a misspelt one would allow more or less
// than was meant. No `metadata.namespace`: "default".
Result<Policy> parse_network_policy(Cursor root);

}  // namespace tombolo::policy
