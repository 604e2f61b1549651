// Numbers for sets of labels: cilium/state/identities/v1/id/NUMBER = LABELS, written only where no
// such key is. Reconciler in the flow: wants -> store records -> (mirror) rows. Control thread.
//
// A label set keeps its number over restarts. One that nobody has used for the grace period is
// removed; its number comes again only after all others of the cluster have been given out (a
// cursor in the store remembers the last one).
#pragma once

#include "servicesync/controller/rows.h"

namespace tombolo::controller {

struct IdentityOptions {
  cilium::Origin origin;  // this cluster
  Duration grace = std::chrono::minutes(10);
  Duration sweep = std::chrono::seconds(30);
  Duration retry_base = std::chrono::milliseconds(100);
  Duration retry_cap = std::chrono::seconds(10);
};

// The lowest numbers of a cluster's range are left alone, as Cilium reserves them.
inline constexpr std::uint32_t kReservedIdentities = 256;

// The number after `last` that is free, wrapped around; nothing when all are taken.
std::optional<std::uint32_t> next_identity(const cilium::Origin& origin, std::uint32_t last,
                                           const std::set<std::uint32_t>& taken);

class IdentityAllocator {
 public:
  IdentityAllocator(IdentityOptions options, Kv& kv, Table<IdentityWant>& wants,
                    Table<IdentityRow>& rows, Table<ReconcileStatus>::Writer status,
                    TaskGroup& tasks, Clock& clock, Rng& rng, Logger log);
  // Until the group is cancelled.
  asio::awaitable<void> run();

 private:
  void follow_rows();
  asio::awaitable<Result<void>> load_cursor();
  asio::awaitable<Result<void>> allocate(std::string labels);
  asio::awaitable<Result<void>> sweep();
  asio::awaitable<void> tick();

  IdentityOptions options_;
  Kv& kv_;
  Table<IdentityWant>& wants_;
  Table<IdentityRow>& rows_;
  Table<ReconcileStatus>::Writer status_;
  TaskGroup& tasks_;
  Clock& clock_;
  Rng& rng_;
  Logger log_;
  Signal changed_;
  std::unique_ptr<Table<IdentityWant>::Tracker> wants_tracker_;
  std::unique_ptr<Table<IdentityRow>::Tracker> rows_tracker_;
  std::set<std::uint32_t> taken_;
  std::map<std::string, std::uint32_t> number_of_;
  std::map<std::string, MonotonicTime> unused_since_;
  std::set<std::string> due_;
  std::set<std::string> asked_;  // written, not seen in the rows yet
  std::uint32_t cursor_ = 0;
  bool cursor_loaded_ = false;
  bool sweep_due_ = false;
};

}  // namespace tombolo::controller
