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
#include <optional>
#include <string>
#include <vector>

#include "ipamd/allocator/allocator.h"
#include "ipamd/allocator/lease_journal.h"
#include "ipamd/allocator/lease_table.h"

namespace tombolo {

class LeaseBook {
 public:
  LeaseBook(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log);

  // Takes up what an earlier life stored. Once, before anything else. kDataLoss when two
  // attached leases hold one address.
  asio::awaitable<Result<void>> load();

  // Makes these the blocks of the pool and remembers them for the next start. Pools that are set by
  // ranges are set again at each start.
  Result<void> set_blocks(std::string_view pool, const std::vector<Prefix>& blocks);
  Result<void> set_ranges(std::string_view pool, std::vector<IpRange> ranges);
  void set_rest(std::string_view pool, Rest rest) { allocator_.set_rest(pool, rest); }

  struct Reservation {
    Lease lease;
    LeaseJournal::Ticket ticket;
  };
  // Fills sequence, pools, time and attachment.ips of `wanted`: one address of each of `families`;
  // with an empty list, of each family that the pool has. kAlreadyExists when the attachment holds
  // a lease, kInvalidArgument when its texts are too long, kResourceExhausted when the store is
  // behind; errors of Allocator::take.
  Result<Reservation> reserve(Lease wanted, std::string_view pool,
                              const std::vector<Family>& families);

  // One interface of a pod, and its addresses.
  struct Wanted {
    Lease lease;
    std::vector<AddressWish> addresses;
  };
  struct Reservations {
    std::vector<Lease> leases;  // in the order of the wanted ones
    LeaseJournal::Ticket ticket;
  };
  // All interfaces of a pod in one transaction, in memory and on the disk: every address of every
  // interface, or none. Errors of reserve(), which name the interface.
  Result<Reservations> reserve_all(std::vector<Wanted> wanted);
  // The lease of that key, which is there, becomes `wanted`: with the same addresses, pools and
  // identity, a new sequence number, and reserved. kResourceExhausted when the store is behind.
  Result<Reservation> take_over(Lease wanted);
  asio::awaitable<Result<void>> durable(LeaseJournal::Ticket ticket) {
    return journal_.written(std::move(ticket));
  }
  // Undoes a reservation that was never answered. Its erasure is written behind it.
  void abandon(const std::string& key, std::uint64_t sequence);
  // Nothing happens when the lease is gone or another's by now.
  void mark_attached(const std::string& key, std::uint64_t sequence);
  // The addresses are free for others only once the erasure is on the disk. kNotFound and kAborted
  // as Allocator::release.
  asio::awaitable<Result<void>> release(std::string key, std::uint64_t sequence);

  struct Held {
    std::string key;
    std::uint64_t sequence = 0;
  };
  // A release in its two halves: the erasure waits for company on its way to the disk, up to
  // LeaseJournal::kLazyDelay or until hurry(); then it is there, and the addresses are free.
  // Between them the lease is still held. kResourceExhausted when the store is behind.
  Result<LeaseJournal::Ticket> begin_release(const Held& held);
  asio::awaitable<Result<void>> end_release(Held held, LeaseJournal::Ticket ticket);
  void hurry() { journal_.hurry(); }
  // Several in one transaction: all or, on an error of one, none.
  asio::awaitable<Result<void>> release_all(std::vector<Held> held);

  std::optional<Lease> find(std::string_view key) const { return leases_.find(key); }
  const LeaseTable& leases() const { return leases_; }
  const Allocator& allocator() const { return allocator_; }
  const LeaseJournal& journal() const { return journal_; }

 private:
  std::int64_t now_unix_ms() const;
  void insert(const PutLease& put);
  struct Restored;
  Result<Restored> restore();
  Result<std::vector<PooledIp>> check(const Held& held) const;

  LeaseStore& store_;
  Worker& worker_;
  Clock& clock_;
  Logger log_;
  LeaseJournal journal_;
  Allocator allocator_;
  LeaseTable leases_;
  Repacked scratch_;  // its memory is used again and again
  std::map<std::string, std::vector<Prefix>, std::less<>> stored_blocks_;
};

}  // namespace tombolo
