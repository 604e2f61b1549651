// Keeps allocator, journal and the table of leases in step.
#include "ipamd/allocator/lease_book.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace tombolo {
namespace {

std::size_t bytes_of_texts(const Lease& lease) {
  const Attachment& attachment = lease.attachment;
  std::size_t bytes = lease.network.size() + lease.identity.size();
  for (const std::string* text :
       {&attachment.container_id, &attachment.interface_name, &attachment.name_space,
        &attachment.pod_name, &attachment.pod_uid, &attachment.node, &attachment.netns_path,
        &attachment.host_interface, &attachment.mac})
    bytes += text->size();
  return bytes;
}

}  // namespace

LeaseBook::LeaseBook(LeaseStore& store, Worker& worker, TaskGroup& tasks, Clock& clock, Logger log)
    : store_(store),
      worker_(worker),
      clock_(clock),
      log_(log),
      journal_(store, worker, tasks, clock, log) {}

// What the control thread has to do with what was read.
struct LeaseBook::Restored {
  std::vector<SetBlocks> blocks;
  struct Abandoned {
    std::string key;
    std::uint64_t sequence;
    std::string why;
  };
  std::vector<Abandoned> abandoned;
};

// On the worker, while nobody else knows the book yet.
Result<LeaseBook::Restored> LeaseBook::restore() {
  TRY(stored, store_.load());
  Restored result;
  leases_.reserve(stored.leases.size());
  Repacked lease;
  // Newest first. An erasure that could not be written (a full disk) leaves an abandoned
  // reservation behind, whose address may have gone to a newer lease: the newer one is right.
  for (std::size_t i = stored.leases.size(); i > 0; --i) {
    LeaseState state = stored.leases.state(i - 1);
    TRY_OK(leases_.repack(stored.leases.packed(i - 1), state, lease));
    auto restored = allocator_.restore(lease.addresses);
    if (restored && !leases_.insert_packed(lease)) {
      allocator_.give_back(lease.addresses);
      restored = fail(Code::kAlreadyExists, "it holds a newer lease");
    }
    allocator_.restore_sequence(lease.sequence);
    if (restored) continue;
    std::string key = leases_.key_of(lease);
    leases_.forget_packed(lease);
    if (state != LeaseState::kReserved)
      return fail(Code::kDataLoss, "stored lease {} of {}: {}", lease.sequence, key,
                  restored.error().what);
    result.abandoned.push_back({std::move(key), lease.sequence, restored.error().what});
  }
  for (const auto& [pool, blocks] : stored.blocks) {
    auto set = allocator_.set_blocks(pool, blocks);
    if (!set) return fail(Code::kDataLoss, "stored blocks: {}", set.error().what);
  }
  for (const auto& [pool, ip, released_ms] : stored.freed)
    allocator_.restore_freed(pool, ip, released_ms);
  allocator_.restore_sequence(stored.last_sequence);
  result.blocks = std::move(stored.blocks);
  return result;
}

asio::awaitable<Result<void>> LeaseBook::load() {
  auto job = [this] { return restore(); };
  CO_TRY(restored, co_await worker_.run(std::move(job)));
  for (const auto& [key, sequence, why] : restored.abandoned) {
    log_.warning("the abandoned reservation {} of {} is erased: {}", sequence, key, why);
    CO_TRY_OK(journal_.append_lazily(EraseLease{sequence, {}, now_unix_ms()}));
  }
  for (auto& [pool, blocks] : restored.blocks) stored_blocks_[pool] = std::move(blocks);
  co_return Result<void>{};
}

Result<void> LeaseBook::set_blocks(std::string_view pool, const std::vector<Prefix>& blocks) {
  auto stored = stored_blocks_.find(pool);
  if (stored != stored_blocks_.end() && stored->second == blocks) return {};
  TRY_OK(allocator_.set_blocks(pool, blocks));
  stored_blocks_[std::string(pool)] = blocks;
  TRY_OK(journal_.append_lazily(SetBlocks{std::string(pool), blocks}));
  return {};
}

Result<void> LeaseBook::set_ranges(std::string_view pool, std::vector<IpRange> ranges) {
  return allocator_.set_ranges(pool, std::move(ranges));
}

Result<LeaseBook::Reservation> LeaseBook::reserve(Lease wanted, std::string_view pool,
                                                  const std::vector<Family>& families) {
  TRY(wishes, allocator_.wishes(pool, families));
  std::vector<Wanted> one;
  one.push_back({std::move(wanted), std::move(wishes)});
  TRY(reserved, reserve_all(std::move(one)));
  return Reservation{std::move(reserved.leases.front()), std::move(reserved.ticket)};
}

Result<LeaseBook::Reservations> LeaseBook::reserve_all(std::vector<Wanted> wanted) {
  std::vector<AddressWish> several;
  std::set<std::string> keys;
  for (const Wanted& one : wanted) {
    std::string key = one.lease.key();
    if (leases_.contains(key) || (wanted.size() > 1 && !keys.insert(key).second))
      return fail(Code::kAlreadyExists, "{} holds addresses already", key);
    if (std::size_t size = bytes_of_texts(one.lease); size > kLeaseBytes / 2)
      return fail(Code::kInvalidArgument, "the names of {} have {} bytes; the limit is {}",
                  key.substr(0, 100), size, kLeaseBytes / 2);
    if (wanted.size() > 1) std::ranges::copy(one.addresses, std::back_inserter(several));
  }
  std::int64_t now = now_unix_ms();
  TRY(taken, allocator_.take(wanted.size() == 1 ? wanted.front().addresses : several, now));
  Reservations result;
  result.leases.reserve(wanted.size());
  std::vector<LeaseChange> changes;
  changes.reserve(wanted.size());
  auto next = taken.begin();
  for (Wanted& one : wanted) {
    Lease& lease = one.lease;
    auto end = next + std::ssize(one.addresses);
    lease.sequence = allocator_.next_sequence();
    lease.state = LeaseState::kReserved;
    lease.reserved_unix_ms = now;
    lease.set_addresses({next, end});
    next = end;
    insert(std::get<PutLease>(changes.emplace_back(PutLease(lease))));
    result.leases.push_back(std::move(lease));
  }
  auto ticket = journal_.append(std::move(changes));
  if (!ticket) {
    for (const Lease& lease : result.leases) leases_.erase(lease.key());
    allocator_.give_back(taken, now);
    return std::unexpected(std::move(ticket).error());
  }
  result.ticket = std::move(*ticket);
  return result;
}

Result<LeaseBook::Reservation> LeaseBook::take_over(Lease wanted) {
  std::string key = wanted.key();
  Lease before = leases_.at(key);
  if (std::size_t size = bytes_of_texts(wanted); size > kLeaseBytes / 2)
    return fail(Code::kInvalidArgument, "the names of {} have {} bytes; the limit is {}",
                key.substr(0, 100), size, kLeaseBytes / 2);
  wanted.sequence = allocator_.next_sequence();
  wanted.state = LeaseState::kReserved;
  wanted.reserved_unix_ms = now_unix_ms();
  wanted.set_addresses(before.addresses());
  wanted.identity = before.identity;
  // One transaction: the addresses are free at no moment.
  std::vector<LeaseChange> changes;
  changes.emplace_back(EraseLease{before.sequence, {}, wanted.reserved_unix_ms});
  changes.emplace_back(PutLease{wanted});
  TRY(ticket, journal_.append(std::move(changes)));
  leases_.replace(wanted);
  return Reservation{std::move(wanted), std::move(ticket)};
}

// Into the table, from the bytes that are on their way to the disk.
void LeaseBook::insert(const PutLease& put) {
  auto read = leases_.repack(put.packed, put.state, scratch_);
  ENSURE(read && leases_.insert_packed(scratch_), "lease {} cannot be kept", put.sequence);
}

Result<std::vector<PooledIp>> LeaseBook::check(const Held& held) const {
  auto lease = leases_.addresses_of(held.key);
  if (!lease) return fail(Code::kNotFound, "{} holds no addresses", held.key);
  if (lease->sequence != held.sequence)
    return fail(Code::kAborted, "{} holds lease {} by now, not {}", held.key, lease->sequence,
                held.sequence);
  return std::move(lease->addresses);
}

void LeaseBook::abandon(const std::string& key, std::uint64_t sequence) {
  auto addresses = check({key, sequence});
  if (!addresses) return;
  std::int64_t now = now_unix_ms();
  leases_.erase(key);
  allocator_.give_back(*addresses, now);
  // It follows the reservation in the journal, so they cannot be swapped. If it is lost, the next
  // start finds a reserved lease without an interface and frees it.
  auto queued = journal_.append_lazily(EraseLease{sequence, std::move(*addresses), now});
  if (!queued)
    log_.warning("lease {} of {} is erased late: {}", sequence, key, queued.error().text());
}

void LeaseBook::mark_attached(const std::string& key, std::uint64_t sequence) {
  if (!check({key, sequence})) return;
  leases_.set_state(key, LeaseState::kAttached);
  if (auto queued = journal_.append_lazily(MarkAttached{sequence}); !queued)
    log_.warning("lease {} of {} is marked late: {}", sequence, key, queued.error().text());
}

asio::awaitable<Result<void>> LeaseBook::release(std::string key, std::uint64_t sequence) {
  Held held{std::move(key), sequence};
  CO_TRY(addresses, check(held));
  EraseLease change{held.sequence, std::move(addresses), now_unix_ms()};
  CO_TRY(ticket, journal_.append(std::move(change)));
  co_return co_await end_release(std::move(held), std::move(ticket));
}

Result<LeaseJournal::Ticket> LeaseBook::begin_release(const Held& held) {
  TRY(addresses, check(held));
  return journal_.append_lazily(EraseLease{held.sequence, std::move(addresses), now_unix_ms()});
}

asio::awaitable<Result<void>> LeaseBook::end_release(Held held, LeaseJournal::Ticket ticket) {
  CO_TRY_OK(co_await journal_.written(std::move(ticket)));
  // Another release of it may have been faster.
  CO_TRY(addresses, check(held));
  leases_.erase(held.key);
  allocator_.give_back(addresses, now_unix_ms());
  co_return Result<void>{};
}

asio::awaitable<Result<void>> LeaseBook::release_all(std::vector<Held> held) {
  std::int64_t now = now_unix_ms();
  std::vector<LeaseChange> changes;
  for (const Held& one : held) {
    CO_TRY(addresses, check(one));
    changes.emplace_back(EraseLease{one.sequence, std::move(addresses), now});
  }
  CO_TRY(ticket, journal_.append(std::move(changes)));
  CO_TRY_OK(co_await journal_.written(std::move(ticket)));
  for (const Held& one : held) {
    // Another release of it may have been faster.
    CO_TRY(addresses, check(one));
    leases_.erase(one.key);
    allocator_.give_back(addresses, now);
  }
  co_return Result<void>{};
}

std::int64_t LeaseBook::now_unix_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_.wall_now().time_since_epoch())
      .count();
}

}  // namespace tombolo
