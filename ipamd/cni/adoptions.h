// The interfaces that another CNI plugin made and this agent looks after (chained mode): rows that
// survive a restart, in a file of their own, because the same attachment may hold a lease too (an
// IPAM-only ADD before it in the same list). No addresses are given out here. Control thread.
#pragma once

#include <map>
#include <string>

#include "ipamd/allocator/lease_journal.h"

namespace tombolo::cni {

class Adoptions {
 public:
  // Everything must outlive the join of `tasks`.
  Adoptions(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log);

  // Takes up the rows of an earlier life. Once, before anything else.
  asio::awaitable<Result<void>> load();
  // Gives the row a sequence number of its own and returns it when it is on the disk. In rows()
  // from the call on; no longer when it could not be written.
  asio::awaitable<Result<Lease>> put(Lease row);
  // Returns when it is gone from the disk. Of the absent, or of one that has another sequence
  // number by now: ok.
  asio::awaitable<Result<void>> erase(std::string key, std::uint64_t sequence);

  // Valid until the next change: never keep it across a co_await.
  const Lease* find(std::string_view key) const;
  const std::map<std::string, Lease, std::less<>>& rows() const { return rows_; }

 private:
  LeaseStore& store_;
  Worker& worker_;
  Clock& clock_;
  LeaseJournal journal_;
  std::map<std::string, Lease, std::less<>> rows_;  // by attachment key
  std::uint64_t last_sequence_ = 0;
};

}  // namespace tombolo::cni
