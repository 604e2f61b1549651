// Rows of a table as keys of a store. Reconciler in the flow: table -> store. Compose it with
// core/reconciler.h, and spawn run() beside it; with a LeaseKeeper, pass its leases to use_lease().
#pragma once

#include "core/reconciler.h"
#include "core/store/key_publisher.h"

namespace tombolo {

template <class Row>
class KvPublisher final : public ReconcileOperations<Row> {
 public:
  // The key and value of a row; nothing when the row is not to be published. The key must not
  // depend on anything but Row::key().
  using Encode = std::function<Result<std::optional<Put>>(const Row&)>;
  using Change = typename ReconcileOperations<Row>::Change;

  KvPublisher(PublishOptions options, Kv& kv, Encode encode, TaskGroup& tasks, Clock& clock,
              Rng& rng, Logger log)
      : encode_(std::move(encode)), keys_(std::move(options), kv, tasks, clock, rng, log) {}

  asio::awaitable<void> run() { return keys_.run(); }
  void use_lease(std::int64_t lease) { keys_.use_lease(lease); }
  const KeyPublisher& keys() const { return keys_; }

  std::size_t batch_limit() const override { return 1000; }

  asio::awaitable<Result<void>> update(Row row) override {
    std::vector<KeyPublisher::Change> changes;
    CO_TRY_OK(encode_into(row, changes));
    co_return co_await keys_.apply(std::move(changes));
  }

  asio::awaitable<Result<void>> erase(std::string row_key) override {
    std::vector<KeyPublisher::Change> changes;
    erase_into(row_key, changes);
    co_return co_await keys_.apply(std::move(changes));
  }

  // One transaction per hundred keys. Rows that do not encode fail alone; a refused transaction
  // fails all.
  asio::awaitable<std::vector<Result<void>>> apply(std::vector<Change> batch) override {
    std::vector<Result<void>> results;
    std::vector<KeyPublisher::Change> changes;
    for (const Change& change : batch) {
      if (change.row) {
        results.push_back(encode_into(*change.row, changes));
      } else {
        erase_into(change.key, changes);
        results.emplace_back();
      }
    }
    Result<void> written = co_await keys_.apply(std::move(changes));
    if (!written)
      for (Result<void>& result : results)
        if (result) result = std::unexpected(written.error());
    co_return results;
  }

  asio::awaitable<Result<void>> prune(std::vector<Row> rows) override {
    std::vector<KeyPublisher::Change> changes;
    for (const Row& row : rows) (void)encode_into(row, changes);  // update() has told the error
    CO_TRY_OK(co_await keys_.apply(std::move(changes)));
    co_return co_await keys_.prune();
  }

 private:
  Result<void> encode_into(const Row& row, std::vector<KeyPublisher::Change>& changes) {
    TRY(put, encode_(row));
    if (!put) {
      erase_into(row.key(), changes);
      return {};
    }
    key_of_[row.key()] = put->key;
    changes.push_back({std::move(put->key), std::move(put->value)});
    return {};
  }
  void erase_into(const std::string& row_key, std::vector<KeyPublisher::Change>& changes) {
    auto at = key_of_.find(row_key);
    if (at == key_of_.end()) return;
    changes.push_back({at->second, std::nullopt});
    key_of_.erase(at);
  }

  Encode encode_;
  KeyPublisher keys_;
  std::map<std::string, std::string> key_of_;  // row key -> store key
};

}  // namespace tombolo
