// Label selectors, as metav1.LabelSelector writes them. For the parsers of this folder.
#pragma once

#include "core/json.h"
#include "core/policy.h"

namespace tombolo::policy {

// matchLabels and matchExpressions; absent and {} match everything.
Result<LabelSelector> parse_selector(const Cursor& at);

}  // namespace tombolo::policy
