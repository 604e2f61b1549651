// The mirror of the maps. Every change is written in dependency order, so that a program that runs
// at any moment sees a service as it was or as it is: backends, then slots, then the ring's word,
// then the address; on the way out address, word, and only after a grace period are numbers used
// again. Memory changes only after the write succeeded, so a refused write can simply be tried
// again. Worker thread.
#include <algorithm>

#include "bpf/internal.h"
#include "core/metrics.h"

namespace tombolo::bpf {
namespace {

void keep_first(Result<void>& first, Result<void> next) {
  if (first && !next) first = std::move(next);
}

}  // namespace

Result<void> LbState::settle() {
  TRY_OK(maps_.wait_for_readers());
  ring_ids_.settle();
  backend_ids_.settle();
  extents_.settle();
  hash_dirty_ = false;
  return {};
}

LbState::Outcome LbState::update(const Frontend& row) {
  Outcome outcome;
  std::string service = row.key();
  std::vector<WantedRing> wanted = plan_rings(row);
  std::size_t over = 0;
  for (const WantedRing& ring : wanted) {
    keep_first(outcome.done, apply(ring, outcome.gone));
    over += ring.over_bound;
  }
  keep_first(outcome.done, drop_unwanted(service, wanted, outcome.gone));
  if (over > 0) {
    over_bound_[service] = over;
    keep_first(outcome.done, fail(Code::kResourceExhausted,
                                  "{} backends are left out: a port takes {} per address family",
                                  over, kMaxBackendsPerService));
  } else {
    over_bound_.erase(service);
  }
  publish_metrics();
  return outcome;
}

LbState::Outcome LbState::erase(const std::string& service) {
  Outcome outcome;
  outcome.done = drop_unwanted(service, {}, outcome.gone);
  over_bound_.erase(service);
  publish_metrics();
  return outcome;
}

LbState::Outcome LbState::prune(const std::vector<Frontend>& rows) {
  Outcome outcome;
  std::set<abi::lb_endpoint> wanted;
  for (const Frontend& row : rows)
    for (const WantedRing& ring : plan_rings(row))
      wanted.insert(ring.addresses.begin(), ring.addresses.end());
  std::vector<abi::lb_endpoint> unclaimed;
  for (const auto& [address, ring_id] : frontends_)
    if (!rings_.at(ring_id).owner && !wanted.contains(address)) unclaimed.push_back(address);
  for (const auto& address : unclaimed) keep_first(outcome.done, unpoint(address));
  std::vector<std::uint32_t> empty;
  for (const auto& [id, ring] : rings_)
    if (!ring.owner && ring.addresses.empty()) empty.push_back(id);
  for (std::uint32_t id : empty) keep_first(outcome.done, drop_ring(id, outcome.gone));
  if (!unclaimed.empty())
    log_.info("{} addresses of services that are gone were removed", unclaimed.size());
  publish_metrics();
  return outcome;
}

Result<void> LbState::apply(const WantedRing& wanted, Gone& gone) {
  TRY(ring_id, ring_for(wanted));
  Result<void> done = set_members(ring_id, wanted, gone);
  if (!done) {
    // A ring that never came to be is not left behind; one in use keeps what it has.
    if (rings_.at(ring_id).addresses.empty()) keep_first(done, drop_ring(ring_id, gone));
    return done;
  }
  for (const auto& address : wanted.addresses) keep_first(done, point(address, ring_id));
  return done;
}

// The ring that the service has, or one that an earlier life left under its address, or a new one.
Result<std::uint32_t> LbState::ring_for(const WantedRing& wanted) {
  if (auto at = owned_.find(wanted.key); at != owned_.end()) return at->second;
  for (const auto& address : wanted.addresses) {
    auto at = frontends_.find(address);
    if (at == frontends_.end() || rings_.at(at->second).owner) continue;
    rings_.at(at->second).owner = wanted.key;
    owned_.emplace(wanted.key, at->second);
    return at->second;
  }
  std::optional<std::uint32_t> id = ring_ids_.take();
  if (!id && ring_ids_.resting() > 0) {
    TRY_OK(settle());
    id = ring_ids_.take();
  }
  if (!id) return fail(Code::kResourceExhausted, "all {} rings are in use", abi::kMaxRings - 1);
  rings_[*id].owner = wanted.key;
  owned_.emplace(wanted.key, *id);
  return *id;
}

Result<std::uint32_t> LbState::backend_id(const abi::lb_endpoint& endpoint) {
  if (auto at = backends_.find(endpoint); at != backends_.end()) return at->second.id;
  std::optional<std::uint32_t> id = backend_ids_.take();
  if (!id && backend_ids_.resting() > 0) {
    TRY_OK(settle());
    id = backend_ids_.take();
  }
  if (!id)
    return fail(Code::kResourceExhausted, "all {} backends are in use", abi::kMaxBackends - 1);
  if (auto done = maps_.put_backend(*id, endpoint); !done) {
    backend_ids_.give_back(*id);
    return std::unexpected(std::move(done).error());
  }
  backends_[endpoint] = {*id, 0};
  backend_by_id_[*id] = endpoint;
  return *id;
}

// Backends that were written for a ring that then failed: no reader knows them.
void LbState::forget_unused(const std::vector<std::uint32_t>& ids) {
  for (std::uint32_t id : ids) {
    auto at = backend_by_id_.find(id);
    if (at == backend_by_id_.end() || backends_.at(at->second).rings > 0) continue;
    backends_.erase(at->second);
    backend_by_id_.erase(at);
    backend_ids_.give_back(id);
  }
}

Result<Extent> LbState::slots_for(std::uint32_t count) {
  std::optional<Extent> room = extents_.take(count);
  if (!room && extents_.resting() > 0) {
    TRY_OK(settle());
    room = extents_.take(count);
  }
  if (room) return *room;
  return fail(Code::kResourceExhausted, "no room for {} slots ({} of {} are in use)", count,
              extents_.used(), int{abi::kMaxSlots});
}

Result<void> LbState::set_members(std::uint32_t ring_id, const WantedRing& wanted, Gone& gone) {
  Ring& ring = rings_.at(ring_id);
  std::vector<std::uint32_t> ids;
  for (const RingMember& member : wanted.members) {
    auto id = backend_id(member.endpoint);
    if (!id) {
      forget_unused(ids);
      return std::unexpected(std::move(id).error());
    }
    ids.push_back(*id);
  }
  std::vector<std::uint32_t> members =
      wanted.maglev ? maglev_ring(wanted.members, maglev_size(wanted.members.size()))
                    : random_ring(wanted.members);
  std::vector<abi::lb_slot> slots;
  slots.reserve(members.size());
  for (std::uint32_t member : members) slots.push_back({ids[member], ring_id});
  std::uint32_t flags = wanted.maglev ? std::uint32_t{abi::kRingMaglev} : 0U;
  auto count = static_cast<std::uint32_t>(slots.size());
  std::uint64_t now = maps_.ring(ring_id);
  bool same_word =
      count == 0 ? now == 0 : abi::lb_ring_count(now) == count && abi::lb_ring_flags(now) == flags;
  if (same_word && maps_.slots(ring.extent.offset, count) == slots) return {};

  Extent extent;
  if (count > 0) {
    auto room = slots_for(count);
    if (!room) {
      forget_unused(ids);
      return std::unexpected(std::move(room).error());
    }
    extent = *room;
  }
  std::uint64_t word = count == 0 ? 0 : abi::lb_ring_word(extent.offset, count, flags);
  Result<void> done = count == 0 ? Result<void>{} : maps_.put_slots(extent.offset, slots);
  if (done) done = maps_.put_ring(ring_id, word);
  if (!done) {
    extents_.give_back(extent);
    forget_unused(ids);
    return done;
  }
  std::set<std::uint32_t> before = std::exchange(ring.backends, {ids.begin(), ids.end()});
  for (std::uint32_t id : ring.backends) ++backends_.at(backend_by_id_.at(id)).rings;
  release(before, gone);
  if (ring.extent.count > 0) extents_.retire(ring.extent);
  ring.extent = extent;
  return {};
}

void LbState::release(const std::set<std::uint32_t>& backends, Gone& gone) {
  for (std::uint32_t id : backends) {
    abi::lb_endpoint endpoint = backend_by_id_.at(id);
    if (--backends_.at(endpoint).rings > 0) continue;
    backends_.erase(endpoint);
    backend_by_id_.erase(id);
    backend_ids_.retire(id);
    gone.push_back(endpoint);
  }
}

Result<void> LbState::point(const abi::lb_endpoint& address, std::uint32_t ring_id) {
  auto at = frontends_.find(address);
  if (at != frontends_.end()) {
    if (at->second == ring_id) return {};
    const std::optional<RingKey>& owner = rings_.at(at->second).owner;
    if (owner && owner->service != rings_.at(ring_id).owner->service)
      return fail(Code::kAlreadyExists, "{} is an address of service {}", text_of(address),
                  owner->service);
  }
  // The kernel uses a freed element again at once, while a program may still read it as another
  // key's.
  if (hash_dirty_) TRY_OK(settle());
  TRY_OK(maps_.put_frontend(address, ring_id));
  if (at != frontends_.end()) {
    hash_dirty_ = true;
    rings_.at(at->second).addresses.erase(address);
  }
  frontends_[address] = ring_id;
  rings_.at(ring_id).addresses.insert(address);
  return {};
}

Result<void> LbState::unpoint(const abi::lb_endpoint& address) {
  auto at = frontends_.find(address);
  if (at == frontends_.end()) return {};
  TRY_OK(maps_.erase_frontend(address));
  hash_dirty_ = true;
  rings_.at(at->second).addresses.erase(address);
  frontends_.erase(at);
  return {};
}

Result<void> LbState::drop_ring(std::uint32_t ring_id, Gone& gone) {
  Ring& ring = rings_.at(ring_id);
  ENSURE(ring.addresses.empty());
  TRY_OK(maps_.put_ring(ring_id, 0));
  if (ring.extent.count > 0) extents_.retire(ring.extent);
  release(ring.backends, gone);
  if (ring.owner) owned_.erase(*ring.owner);
  rings_.erase(ring_id);
  ring_ids_.retire(ring_id);
  return {};
}

// Addresses and rings of the service that are not in `wanted`.
Result<void> LbState::drop_unwanted(const std::string& service,
                                    const std::vector<WantedRing>& wanted, Gone& gone) {
  std::set<RingKey> kept_rings;
  std::set<abi::lb_endpoint> kept;
  for (const WantedRing& ring : wanted) {
    kept_rings.insert(ring.key);
    kept.insert(ring.addresses.begin(), ring.addresses.end());
  }
  std::vector<std::uint32_t> unwanted;
  std::vector<abi::lb_endpoint> leaving;
  for (auto at = owned_.lower_bound({service, 0, Protocol{}, Family{}});
       at != owned_.end() && at->first.service == service; ++at) {
    if (!kept_rings.contains(at->first)) unwanted.push_back(at->second);
    for (const auto& address : rings_.at(at->second).addresses)
      if (!kept.contains(address)) leaving.push_back(address);
  }
  Result<void> done;
  for (const auto& address : leaving) keep_first(done, unpoint(address));
  for (std::uint32_t id : unwanted)
    if (rings_.at(id).addresses.empty()) keep_first(done, drop_ring(id, gone));
  return done;
}

void LbState::publish_metrics() const {
  static const auto addresses =
      metrics::gauge("tombolo_lb_frontends", "Service addresses in the kernel");
  static const auto backends = metrics::gauge("tombolo_lb_backends", "Backends in the kernel");
  static const auto slots = metrics::gauge("tombolo_lb_slots", "Ring slots in use or resting");
  static const auto over = metrics::gauge("tombolo_lb_backends_over_bound",
                                          "Backends left out because a service has too many");
  addresses.set(static_cast<double>(frontends_.size()));
  backends.set(static_cast<double>(backends_.size()));
  slots.set(extents_.used());
  std::size_t left_out = 0;
  for (const auto& [service, count] : over_bound_) left_out += count;
  over.set(static_cast<double>(left_out));
}

}  // namespace tombolo::bpf
