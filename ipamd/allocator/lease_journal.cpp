// The two loops of the group commit.
#include "ipamd/allocator/lease_journal.h"

#include <algorithm>
#include <iterator>

namespace tombolo {

struct LeaseJournal::Batch {
  explicit Batch(const asio::any_io_executor& executor) : done(executor) {}
  std::vector<LeaseChange> changes;
  std::optional<Result<void>> result;
  Signal done;
};

LeaseJournal::LeaseJournal(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock,
                           Logger log)
    : store_(store),
      worker_(worker),
      tasks_(tasks),
      clock_(clock),
      log_(std::move(log)),
      urgent_(tasks.executor()),
      lazy_(tasks.executor()) {
  tasks_.spawn("lease journal", write_loop());
  tasks_.spawn("lease journal, lazy changes", lazy_loop());
}

// The batch that the next changes go to.
Result<LeaseJournal::Ticket> LeaseJournal::room_for(std::size_t changes) {
  ENSURE(changes <= kBatchChanges, "{} changes of one call", changes);
  if (batches_.empty() || batches_.back()->changes.size() + changes > kBatchChanges) {
    if (batches_.size() >= kWaitingBatches)
      return fail(Code::kResourceExhausted, "the lease store is {} changes behind",
                  kWaitingBatches * kBatchChanges);
    batches_.push_back(std::make_shared<Batch>(tasks_.executor()));
  }
  return batches_.back();
}

Result<LeaseJournal::Ticket> LeaseJournal::append(std::vector<LeaseChange> changes) {
  TRY(ticket, room_for(changes.size()));
  std::ranges::move(changes, std::back_inserter(ticket->changes));
  wanted_ = true;
  urgent_.notify_all();
  return ticket;
}

Result<LeaseJournal::Ticket> LeaseJournal::append(LeaseChange change) {
  TRY(ticket, room_for(1));
  ticket->changes.push_back(std::move(change));
  wanted_ = true;
  urgent_.notify_all();
  return ticket;
}

Result<LeaseJournal::Ticket> LeaseJournal::append_lazily(LeaseChange change) {
  TRY(ticket, room_for(1));
  ticket->changes.push_back(std::move(change));
  lazy_.notify_all();
  return ticket;
}

void LeaseJournal::hurry() {
  if (batches_.empty()) return;
  wanted_ = true;
  urgent_.notify_all();
}

asio::awaitable<Result<void>> LeaseJournal::written(Ticket ticket) {
  while (!ticket->result) {
    CO_TRY_OK(co_await ticket->done.wait());
  }
  co_return *ticket->result;
}

asio::awaitable<void> LeaseJournal::write_loop() {
  while (!tasks_.cancelled()) {
    if (!wanted_ || batches_.empty()) {
      wanted_ = false;
      if (auto woken = co_await urgent_.wait(); !woken) co_return;
      continue;
    }
    Ticket batch = batches_.front();
    batches_.pop_front();
    LeaseStore* store = &store_;
    auto job = [store, batch] { return store->commit(batch->changes); };
    Result<void> done = co_await worker_.run(std::move(job));
    if (done) {
      ++batches_written_;
      trouble_.clear();
    } else {
      trouble_ = done.error().text();
      log_.error("{} changes of leases are not written: {}", batch->changes.size(), trouble_);
    }
    batch->result = std::move(done);
    batch->done.notify_all();
  }
}

asio::awaitable<void> LeaseJournal::lazy_loop() {
  while (!tasks_.cancelled()) {
    if (batches_.empty()) {
      if (auto woken = co_await lazy_.wait(); !woken) co_return;
    }
    if (auto slept = co_await clock_.sleep_for(kLazyDelay); !slept) co_return;
    if (batches_.empty()) continue;
    wanted_ = true;
    urgent_.notify_all();
  }
}

}  // namespace tombolo
