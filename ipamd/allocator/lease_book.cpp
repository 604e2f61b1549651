// Keeps allocator, journal and the rows of leases in step.
#include "ipamd/allocator/lease_book.h"

#include <ranges>

namespace tombolo {

LeaseBook::LeaseBook(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log)
    : store_(store),
      worker_(worker),
      clock_(clock),
      log_(log),
      journal_(store, worker, tasks, clock, log) {}

asio::awaitable<Result<void>> LeaseBook::load() {
  LeaseStore* store = &store_;
  auto job = [store] { return store->load(); };
  CO_TRY(stored, co_await worker_.run(std::move(job)));
  // Newest first. An erasure that could not be written (a full disk) leaves an abandoned
  // reservation behind, whose address may have gone to a newer lease: the newer one is right.
  for (Lease& lease : stored.leases | std::views::reverse) {
    std::string key = lease.key();
    auto restored = allocator_.restore(key, {lease.sequence, lease.pool, lease.attachment.ips});
    if (restored) {
      leases_.emplace(std::move(key), std::move(lease));
      continue;
    }
    if (lease.state != LeaseState::kReserved)
      co_return fail(Code::kDataLoss, "stored lease {} of {}: {}", lease.sequence, key,
                     restored.error().what);
    log_.warning("the abandoned reservation {} of {} is erased: {}", lease.sequence, key,
                 restored.error().what);
    CO_TRY_OK(journal_.append_lazily(EraseLease{lease.sequence, lease.pool, {}, now_unix_ms()}));
  }
  for (const auto& [pool, blocks] : stored.blocks) {
    auto set = allocator_.set_blocks(pool, blocks);
    if (!set) co_return fail(Code::kDataLoss, "stored blocks: {}", set.error().what);
    stored_blocks_[pool] = blocks;
  }
  for (const auto& [pool, ip] : stored.freed) allocator_.restore_freed(pool, ip);
  allocator_.restore_sequence(stored.last_sequence);
  co_return Result<void>{};
}

Result<void> LeaseBook::set_blocks(std::string_view pool, const std::vector<Prefix>& blocks) {
  auto stored = stored_blocks_.find(pool);
  if (stored != stored_blocks_.end() && stored->second == blocks) return {};
  TRY_OK(allocator_.set_blocks(pool, blocks));
  stored_blocks_[std::string(pool)] = blocks;
  return journal_.append_lazily(SetBlocks{std::string(pool), blocks});
}

Result<LeaseBook::Reservation> LeaseBook::reserve(Lease wanted, std::string_view pool,
                                                  const std::vector<Family>& families) {
  std::string key = wanted.key();
  TRY(grant, allocator_.allocate(key, pool, families));
  wanted.sequence = grant.sequence;
  wanted.pool = grant.pool;
  wanted.state = LeaseState::kReserved;
  wanted.reserved_unix_ms = now_unix_ms();
  wanted.attachment.ips = grant.ips;
  auto ticket = journal_.append(PutLease{wanted});
  if (!ticket) {
    auto undone = allocator_.release(key, grant.sequence);
    ENSURE(undone, "{}", undone.error().what);
    return std::unexpected(std::move(ticket).error());
  }
  leases_.insert_or_assign(key, wanted);
  return Reservation{std::move(wanted), std::move(*ticket)};
}

asio::awaitable<Result<void>> LeaseBook::durable(LeaseJournal::Ticket ticket) {
  co_return co_await journal_.written(std::move(ticket));
}

void LeaseBook::abandon(const std::string& key, std::uint64_t sequence) {
  auto freed = allocator_.release(key, sequence);
  if (!freed) return;
  leases_.erase(key);
  // It follows the reservation in the journal, so they cannot be swapped. If it is lost, the next
  // start finds a reserved lease without an interface and frees it.
  auto queued =
      journal_.append_lazily(EraseLease{sequence, freed->pool, freed->ips, now_unix_ms()});
  if (!queued)
    log_.warning("lease {} of {} is erased late: {}", sequence, key, queued.error().text());
}

void LeaseBook::mark_attached(const std::string& key, std::uint64_t sequence) {
  auto at = leases_.find(key);
  if (at == leases_.end() || at->second.sequence != sequence) return;
  at->second.state = LeaseState::kAttached;
  if (auto queued = journal_.append_lazily(MarkAttached{sequence}); !queued)
    log_.warning("lease {} of {} is marked late: {}", sequence, key, queued.error().text());
}

asio::awaitable<Result<void>> LeaseBook::release(std::string key, std::uint64_t sequence) {
  auto at = leases_.find(key);
  if (at == leases_.end()) co_return fail(Code::kNotFound, "{} holds no addresses", key);
  if (at->second.sequence != sequence)
    co_return fail(Code::kAborted, "{} holds lease {} by now, not {}", key, at->second.sequence,
                   sequence);
  EraseLease change{sequence, at->second.pool, at->second.attachment.ips, now_unix_ms()};
  CO_TRY(ticket, journal_.append(std::move(change)));
  CO_TRY_OK(co_await journal_.written(std::move(ticket)));
  auto freed = allocator_.release(key, sequence);
  if (!freed) co_return std::unexpected(std::move(freed).error());
  leases_.erase(key);
  co_return Result<void>{};
}

const Lease* LeaseBook::find(std::string_view key) const {
  auto at = leases_.find(key);
  return at == leases_.end() ? nullptr : &at->second;
}

std::int64_t LeaseBook::now_unix_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_.wall_now().time_since_epoch())
      .count();
}

}  // namespace tombolo
