// The next page begins behind the last key of the one before.
#include "core/store/range_all.h"

#include <algorithm>

namespace tombolo {

asio::awaitable<Result<std::vector<KeyValue>>> range_all(Kv& kv, std::string prefix,
                                                         bool keys_only) {
  constexpr std::int64_t kPage = 1000;
  std::vector<KeyValue> found;
  RangeRequest request;
  request.key = prefix;
  request.range_end = prefix_end(prefix);
  request.limit = kPage;
  request.keys_only = keys_only;
  while (true) {
    CO_TRY(page, co_await kv.range(request));
    request.revision = page.revision;
    std::ranges::move(page.kvs, std::back_inserter(found));
    if (!page.more || page.kvs.empty()) co_return found;
    request.key = found.back().key + '\0';
  }
}

}  // namespace tombolo
