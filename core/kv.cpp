// The parts of the Kv port that every implementation shares.
#include "core/kv.h"

namespace tombolo {

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty()) {
    if (static_cast<unsigned char>(end.back()) < 0xff) {
      end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
      return end;
    }
    end.pop_back();
  }
  return std::string(1, '\0');
}

asio::awaitable<Result<std::int64_t>> Kv::put(Put put) {
  TxnRequest request;
  request.then.emplace_back(std::move(put));
  CO_TRY(result, co_await txn(std::move(request)));
  co_return result.revision;
}

asio::awaitable<Result<std::int64_t>> Kv::erase(Delete erase) {
  TxnRequest request;
  request.then.emplace_back(std::move(erase));
  CO_TRY(result, co_await txn(std::move(request)));
  co_return result.revision;
}

asio::awaitable<Result<std::optional<KeyValue>>> Kv::get(std::string key) {
  RangeRequest request;
  request.key = std::move(key);
  CO_TRY(result, co_await range(std::move(request)));
  if (result.kvs.empty()) co_return std::optional<KeyValue>();
  std::optional<KeyValue> found(std::move(result.kvs.front()));
  co_return found;
}

}  // namespace tombolo
