// Rows in memory, changes through a journal.
#include "ipamd/cni/adoptions.h"

#include <algorithm>

namespace tombolo::cni {
namespace {

std::int64_t unix_ms(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.wall_now().time_since_epoch())
      .count();
}

}  // namespace

Adoptions::Adoptions(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log)
    : store_(store),
      worker_(worker),
      clock_(clock),
      journal_(store, worker, tasks, clock, std::move(log)) {}

asio::awaitable<Result<void>> Adoptions::load() {
  LeaseStore* store = &store_;
  auto job = [store] { return store->load(); };
  CO_TRY(stored, co_await worker_.run(std::move(job)));
  last_sequence_ = stored.last_sequence;
  CO_TRY(rows, stored.leases.all());
  for (Lease& row : rows) {
    last_sequence_ = std::max(last_sequence_, row.sequence);
    std::string key = row.key();
    // By sequence: of two for one attachment the newer one is right.
    rows_.insert_or_assign(std::move(key), std::move(row));
  }
  co_return Result<void>{};
}

asio::awaitable<Result<Lease>> Adoptions::put(Lease row) {
  row.sequence = ++last_sequence_;
  row.state = LeaseState::kAttached;
  row.pools.assign(row.attachment.ips.size(), "");  // not from ours
  row.reserved_unix_ms = unix_ms(clock_);
  std::string key = row.key();
  CO_TRY(ticket, journal_.append(PutLease{row}));
  rows_.insert_or_assign(key, row);
  auto written = co_await journal_.written(std::move(ticket));
  if (written) co_return row;
  if (const Lease* now = find(key); now != nullptr && now->sequence == row.sequence)
    rows_.erase(key);
  co_return std::unexpected(std::move(written).error());
}

asio::awaitable<Result<void>> Adoptions::erase(std::string key, std::uint64_t sequence) {
  const Lease* row = find(key);
  if (row == nullptr || row->sequence != sequence) co_return Result<void>{};
  EraseLease change{sequence, {}, unix_ms(clock_)};
  CO_TRY(ticket, journal_.append(std::move(change)));
  CO_TRY_OK(co_await journal_.written(std::move(ticket)));
  if (const Lease* now = find(key); now != nullptr && now->sequence == sequence) rows_.erase(key);
  co_return Result<void>{};
}

const Lease* Adoptions::find(std::string_view key) const {
  auto at = rows_.find(key);
  return at == rows_.end() ? nullptr : &at->second;
}

}  // namespace tombolo::cni
