// The allocator whose answers are durable: leases in memory, group commit behind. Owner of all
// leases of this node. Control thread.
//
//   auto reservation = book.reserve(std::move(lease));        // in memory, at once
//   … make the interface meanwhile …
//   co_await book.durable(reservation->ticket);               // now it may be answered
//   book.mark_attached(key, sequence);                        // written lazily
//
// A crash before durable() loses the lease, and the interface made meanwhile is an orphan that the
// next start removes before it serves. A crash after it but before the mark is written leaves a
// reserved lease that the next start compares with the kernel.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ipamd/allocator/allocator.h"
#include "ipamd/allocator/lease_journal.h"

namespace tombolo {

class LeaseBook {
 public:
  LeaseBook(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log);

  // Takes up what an earlier life stored. Once, before anything else. kDataLoss when two
  // attached leases hold one address.
  asio::awaitable<Result<void>> load();

  // Makes these the blocks of the pool and remembers them for the next start.
  Result<void> set_blocks(std::string_view pool, const std::vector<Prefix>& blocks);

  struct Reservation {
    Lease lease;
    LeaseJournal::Ticket ticket;
  };
  // Fills sequence, pool, time and attachment.ips of `wanted`. Errors of Allocator::allocate, and
  // kResourceExhausted when the store is behind.
  Result<Reservation> reserve(Lease wanted, std::string_view pool,
                              const std::vector<Family>& families);
  asio::awaitable<Result<void>> durable(LeaseJournal::Ticket ticket);
  // Undoes a reservation that was never answered. Its erasure is written behind it.
  void abandon(const std::string& key, std::uint64_t sequence);
  // Nothing happens when the lease is gone or another's by now.
  void mark_attached(const std::string& key, std::uint64_t sequence);
  // The addresses are free for others only once the erasure is on the disk. kNotFound and kAborted
  // as Allocator::release.
  asio::awaitable<Result<void>> release(std::string key, std::uint64_t sequence);

  // Valid until the next change: never keep it across a co_await.
  const Lease* find(std::string_view key) const;
  const std::map<std::string, Lease, std::less<>>& leases() const { return leases_; }
  const Allocator& allocator() const { return allocator_; }
  const LeaseJournal& journal() const { return journal_; }

 private:
  std::int64_t now_unix_ms() const;

  LeaseStore& store_;
  Worker& worker_;
  Clock& clock_;
  Logger log_;
  LeaseJournal journal_;
  Allocator allocator_;
  std::map<std::string, Lease, std::less<>> leases_;  // by attachment key
  std::map<std::string, std::vector<Prefix>, std::less<>> stored_blocks_;
};

}  // namespace tombolo
