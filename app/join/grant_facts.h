// The facts of another cluster from its own store, through a grant: what it publishes for others
// anyway. Its MTU is not among that. Blocks; not for the control thread.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "app/join/join.h"
#include "app/pki/pki.h"
#include "core/kv.h"

namespace tombolo {

// kUnavailable when the store is not reached within 5 s, kNotFound when it publishes nothing of
// the granting cluster; errors of its records name their keys.
Result<JoinFacts> facts_through_grant(const pki::Grant& grant);

// The part that only asks the store.
asio::awaitable<Result<JoinFacts>> read_store_facts(Kv& kv, std::string fleet, std::string cluster);

}  // namespace tombolo
