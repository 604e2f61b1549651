// Group commit: changes of many callers go to the lease store in one transaction on the worker,
// and each caller learns when its own is on the disk. While one batch is being written the next
// one gathers. Control thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "core/clock.h"
#include "core/log.h"
#include "core/task_group.h"
#include "core/worker.h"
#include "ipamd/allocator/lease_store.h"

namespace tombolo {

class LeaseJournal {
  struct Batch;

 public:
  static constexpr std::size_t kBatchChanges = 4096;  // of one transaction
  static constexpr std::size_t kWaitingBatches = 16;  // beyond that append() refuses
  // How long a change may wait for company when nobody waits for it.
  static constexpr Duration kLazyDelay = std::chrono::milliseconds(50);

  // Starts its two loops in `tasks`. Everything must outlive the group's join.
  LeaseJournal(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log);

  // A place in a batch. Shared, because a caller may be cancelled before the batch is written.
  using Ticket = std::shared_ptr<Batch>;
  // Changes are written in the order of the calls; those of one call in one transaction.
  // kResourceExhausted when the store is so far behind that every batch is full.
  Result<Ticket> append(std::vector<LeaseChange> changes);
  Result<Ticket> append(LeaseChange change);
  // As append, for a change that nobody waits for: written with the next batch, or after
  // kLazyDelay.
  Result<Ticket> append_lazily(LeaseChange change);
  // Somebody waits for what was appended lazily after all.
  void hurry();
  // Returns when the change of the ticket is on the disk, or why it is not.
  asio::awaitable<Result<void>> written(Ticket ticket);

  // Why the last batch could not be written; empty when it was.
  const std::string& trouble() const { return trouble_; }
  std::uint64_t batches_written() const { return batches_written_; }

 private:
  asio::awaitable<void> write_loop();
  asio::awaitable<void> lazy_loop();
  Result<Ticket> room_for(std::size_t changes);

  LeaseStore& store_;
  Worker& worker_;
  TaskGroup& tasks_;
  Clock& clock_;
  Logger log_;
  Signal urgent_;  // somebody waits for the last batch
  Signal lazy_;    // there is a change that nobody waits for
  std::deque<Ticket> batches_;
  bool wanted_ = false;
  std::string trouble_;
  std::uint64_t batches_written_ = 0;
};

}  // namespace tombolo
