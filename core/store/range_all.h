// A whole prefix of a store, page by page, all of one revision. Control thread.
#pragma once

#include <string>
#include <vector>

#include "core/kv.h"

namespace tombolo {

// Ascending. With `keys_only` the values are empty. Errors of the store; kOutOfRange: the revision
// of the first page was compacted meanwhile.
asio::awaitable<Result<std::vector<KeyValue>>> range_all(Kv& kv, std::string prefix,
                                                         bool keys_only = false);

}  // namespace tombolo
