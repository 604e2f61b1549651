// What happens to claims and waiting leases beside ADD: claims follow leases, the claims of leases
// that are gone are freed, and the store is compared with the book regularly. Control thread.
#include <algorithm>

#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"

namespace tombolo {
namespace {

constexpr std::size_t kFreedAtOnce = 256;
constexpr Duration kReconcileEvery = std::chrono::seconds(10);
constexpr Duration kLookForStore = std::chrono::milliseconds(200);

}  // namespace

void CniService::use_pools(CniPools pools) {
  ENSURE(pools.directory != nullptr && pools.claims != nullptr && pools.blocks != nullptr,
         "pools without their parts");
  pooled_ = std::make_unique<Pooled>(pools, tasks_);
  // A block that is another's by now is closed at once; one that the store has lost, though leases
  // are in it, is claimed again at once: others reach its pods by it.
  pooled_->pools.blocks->on_change([this] {
    take_all_blocks();
    pooled_->reconcile_wanted = true;
    pooled_->changed.notify_all();
  });
}

// The allocator and the claims know the pools of the catalog.
void CniService::take_pools() {
  PoolDirectory& directory = *pooled_->pools.directory;
  const PoolCatalog& catalog = directory.catalog();
  if (pooled_->taken == directory.generation()) return;
  pooled_->taken = directory.generation();
  std::vector<ClaimPool> underlay;
  std::vector<ClaimPool> overlay;
  std::set<std::string> named;
  for (const IpPool& pool : catalog.pools()) {
    named.insert(pool.name);
    ClaimPool shared;
    shared.name = pool.name;
    shared.ranges = catalog.usable(pool);
    shared.block_length = pool.block_length;
    shared.rest = pool.rest;
    shared.granted = pool.sharing.has_value();
    book_.set_rest(pool.name, pool.rest);
    if (pool.kind == PoolKind::kOverlay) {
      overlay.push_back(std::move(shared));
      continue;
    }
    if (auto set = book_.set_ranges(pool.name, shared.ranges); !set)
      log_.error("the pool {} is not taken: {}", pool.name, set.error().what);
    underlay.push_back(std::move(shared));
  }
  for (const std::string& gone : pooled_->named)
    if (!named.contains(gone)) {
      pooled_->ranges.erase(gone);
      if (auto set = book_.set_ranges(gone, {}); !set)
        log_.error("the pool {} is not emptied: {}", gone, set.error().what);
    }
  pooled_->named = std::move(named);
  if (auto set = pooled_->pools.claims->set_pools(std::move(underlay)); !set)
    log_.error("the pools are not taken: {}", set.error().what);
  if (auto set = pooled_->pools.blocks->set_pools(std::move(overlay)); !set)
    log_.error("the pools are not taken: {}", set.error().what);
  take_all_blocks();
}

void CniService::note_waiting(const Lease& lease) {
  pooled_->waiting[lease.attachment.container_id].insert(lease.key());
}

void CniService::forget_waiting(const Lease& lease) {
  if (!pooled_) return;
  auto at = pooled_->waiting.find(lease.attachment.container_id);
  if (at == pooled_->waiting.end()) return;
  at->second.erase(lease.key());
  if (at->second.empty()) pooled_->waiting.erase(at);
}

// DEL of any interface means that the pod goes: what waits for its others is free. `own`: the key
// of the DEL, if it still has it. It goes first and is given back: DELs of two interfaces, each
// with its own key, would wait for each other.
asio::awaitable<void> CniService::release_waiting(std::string container_id,
                                                  std::unique_ptr<KeyHeld> own) {
  if (!pooled_) co_return;
  if (own) co_await release_one_waiting(own->key());
  own.reset();
  auto at = pooled_->waiting.find(container_id);
  if (at == pooled_->waiting.end()) co_return;
  std::set<std::string> keys = at->second;
  for (const std::string& key : keys) {
    if (auto taken = co_await take_key(key); !taken) co_return;
    KeyHeld held(*this, key);
    co_await release_one_waiting(key);
  }
}

asio::awaitable<void> CniService::release_one_waiting(std::string key) {
  auto lease = held_lease(key);
  if (!lease || !is_waiting(*lease)) co_return;
  auto released = co_await detach(key);
  if (!released) log_.warning("{} keeps its addresses: {}", key, released.error().message);
}

void CniService::free_claims(const Lease& lease) {
  if (!pooled_ || !is_pooled(lease)) return;
  pooled_->to_free.insert(lease.key());
  pooled_->changed.notify_all();
}

// Of leases that are gone, or of an ADD whose claims have got none.
void CniService::free_claims_of(const std::vector<std::string>& keys) {
  if (!pooled_) return;
  pooled_->to_free.insert(keys.begin(), keys.end());
  pooled_->changed.notify_all();
}

// An ADD under a key whose last claims are still to be freed: they are its own now. What is being
// freed at this moment must not be taken up before it is.
asio::awaitable<void> CniService::wait_until_freed(std::vector<std::string> keys) {
  for (const std::string& key : keys) pooled_->to_free.erase(key);
  auto freeing = [&] {
    return std::ranges::any_of(
        keys, [&](const std::string& key) { return pooled_->freeing.contains(key); });
  };
  while (freeing())
    if (auto woken = co_await pooled_->changed.wait(); !woken) co_return;
}

std::vector<ClaimedLease> CniService::claimed_leases() const {
  std::vector<ClaimedLease> claimed;
  for (const auto& [key, lease] : book_.leases()) {
    if (!is_pooled(lease)) continue;
    ClaimedLease one;
    one.holder = key;
    if (!lease.attachment.pod_name.empty())
      one.pod = object_key(lease.attachment.name_space, lease.attachment.pod_name);
    one.identity = lease.identity;
    one.since_unix_ms = lease.reserved_unix_ms;
    for (PooledIp& address : lease.addresses())
      if (address.pool != kNodePool) one.addresses.push_back(std::move(address));
    claimed.push_back(std::move(one));
  }
  return claimed;
}

asio::awaitable<void> CniService::keep_claims() {
  Claims& claims = *pooled_->pools.claims;
  while (!tasks_.cancelled()) {
    if (!claims.synced()) {
      if (auto slept = co_await clock_.sleep_for(kLookForStore); !slept) co_return;
    } else if (std::exchange(pooled_->reconcile_wanted, false)) {
      take_pools();
      auto compared = co_await claims.reconcile([this] { return claimed_leases(); });
      if (!compared) log_.warning("claims are compared again later: {}", compared.error().what);
      co_await compare_blocks();
    } else if (!pooled_->to_free.empty()) {
      while (!pooled_->to_free.empty() && pooled_->freeing.size() < kFreedAtOnce)
        pooled_->freeing.insert(pooled_->to_free.extract(pooled_->to_free.begin()));
      std::vector<std::string> holders(pooled_->freeing.begin(), pooled_->freeing.end());
      // What cannot be freed now, the next comparison finds.
      if (auto freed = co_await claims.release(std::move(holders)); !freed)
        log_.warning("claims are freed later: {}", freed.error().what);
      pooled_->freeing.clear();
      pooled_->changed.notify_all();
    } else if (auto woken = co_await pooled_->changed.wait(); !woken) {
      co_return;
    }
  }
}

asio::awaitable<void> CniService::reconcile_regularly() {
  while (!tasks_.cancelled()) {
    if (auto slept = co_await clock_.sleep_for(kReconcileEvery); !slept) co_return;
    bool nothing =
        !pooled_->pools.directory->any() && pooled_->pools.claims->claims_of_node().empty();
    if (nothing) continue;
    pooled_->reconcile_wanted = true;
    pooled_->changed.notify_all();
  }
}

// Which addresses of pools other nodes reach by this one: those on interfaces that are made here.
void CniService::show_routed(const std::string& key, const Lease* lease) {
  if (!pooled_ || pooled_->pools.routed == nullptr) return;
  std::vector<NodeBlock> now;
  // A device is on the pool's network itself.
  bool on_node = lease != nullptr && !is_reservation(*lease) && device_of(key) == nullptr;
  if (on_node && is_complete(*lease))
    for (const PooledIp& address : lease->addresses()) {
      // An overlay's blocks are told of whole.
      const IpPool* pool = pooled_->pools.directory->catalog().find(address.pool);
      bool whole = pool != nullptr && pool->kind == PoolKind::kOverlay;
      if (address.pool != kNodePool && !whole)
        now.push_back({settings_.node, Prefix::host(address.ip)});
    }
  auto known = pooled_->routed.find(key);
  if (known != pooled_->routed.end())
    for (const NodeBlock& block : known->second)
      if (std::ranges::find(now, block) == now.end()) pooled_->pools.routed->erase(block.key());
  for (const NodeBlock& block : now) pooled_->pools.routed->upsert(block);
  if (now.empty())
    pooled_->routed.erase(key);
  else
    pooled_->routed[key] = std::move(now);
}

// For STATUS. Pods for which nobody names a pool draw from default pools that are for everybody,
// when there are any: then these have to have an address, and the node's blocks need none. nullopt:
// the node's blocks decide.
std::optional<std::string> CniService::lack_of_pools() {
  if (!pooled_) return std::nullopt;
  PoolDirectory& directory = *pooled_->pools.directory;
  if (!directory.known()) return "which address pools there are has not been read yet";
  PodQuestion question;
  question.interface_name = "eth0";
  question.node = settings_.node;
  question.node_labels = pooled_->pools.node_labels;
  question.families = settings_.families;
  auto choices = choose_for_pod(directory.catalog(), nullptr, question);
  if (!choices) return choices.error().what;
  const InterfaceChoice& choice = choices->front();
  if (choice.selection.node_blocks) return std::nullopt;
  take_pools();
  for (const AddressWish& wish : choice.wishes) {
    if (directory.catalog().find(wish.pools.front())->kind == PoolKind::kOverlay) continue;
    if (!pooled_->pools.claims->synced())
      return "the claims of address pools have not been read yet";
    FamilyUsage sum;
    for (const std::string& name : wish.pools) {
      FamilyUsage usage = pooled_->pools.claims->usage(name, wish.family);
      sum.total += usage.total;
      sum.in_use += usage.in_use;
    }
    if (sum.free() == 0)
      return fmt::format("no free {} address in the default pools: {} of {} are in use",
                         to_string(wish.family), sum.in_use, sum.total);
  }
  return "";
}

}  // namespace tombolo
