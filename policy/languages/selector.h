// Label selectors, as metav1.LabelSelector writes them. For the parsers of this folder.
#pragma once

#include "core/json.h"
#include "core/policy.h"

namespace tombolo::policy {

// No list of a policy is longer: rules, peers, ports, exceptions, requirements, values.
inline constexpr std::size_t kMaxListLength = 4096;
// A list, or nothing, that is not too long.
Result<void> expect_list(const Cursor& at);

// matchLabels and matchExpressions; absent and {} match everything.
Result<LabelSelector> parse_selector(const Cursor& at);

}  // namespace tombolo::policy
