// One question about two ends, answered from the rules themselves and, beside it, from the tables
// that the kernel of this node has. Control thread; reads tables only.
#pragma once

#include "app/daemon/handlers/policy_names.h"

namespace tombolo {

// kNotFound and kInvalidArgument as PolicyNames::find, and for a port or protocol that is none.
// `agent` may be null: then nothing is said of the kernel.
Result<admin::api::ExplainPolicyResponse> explain_policy(
    const PolicyNames& names, const Table<Policy>& policies, const AgentTables* agent,
    const admin::api::ExplainPolicyRequest& request);

}  // namespace tombolo
