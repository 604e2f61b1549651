// Blocks of overlay pools: claimed when an ADD finds no address in those that the node has, used by
// the lease book alone, released when they have been empty for long. Control thread.
#include <algorithm>

#include "ipamd/cni/internal.h"
#include "ipamd/cni/pooled.h"

namespace tombolo {
namespace {

// What of the pool is in the blocks.
std::vector<IpRange> inside(const std::vector<IpRange>& usable,
                            const std::vector<PoolBlock>& blocks) {
  std::vector<IpRange> covered;
  for (const PoolBlock& block : blocks)
    covered.push_back({block.prefix.first(), block.prefix.last()});
  return subtract(usable, subtract(usable, std::move(covered)));
}

// The addresses of this node's leases in overlay pools.
std::set<Ip> addresses_of_blocks(const LeaseBook& book, const PoolCatalog& catalog) {
  std::set<Ip> ips;
  for (const auto& [key, lease] : book.leases())
    for (const PooledIp& address : lease.addresses()) {
      const IpPool* pool = catalog.find(address.pool);
      if (pool != nullptr && pool->kind == PoolKind::kOverlay) ips.insert(address.ip);
    }
  return ips;
}

bool is_used(const Prefix& block, const std::set<Ip>& addresses) {
  auto at = addresses.lower_bound(block.first());
  return at != addresses.end() && *at <= block.last();
}

}  // namespace

// Makes the book give out what this node's blocks have of the pool, but for those that are about to
// be released and those that are doubted; and tells other nodes of the blocks.
void CniService::take_blocks_of(const IpPool& pool) {
  const OverlayBlocks& all = *pooled_->pools.blocks;
  std::vector<PoolBlock> blocks = all.blocks_of_node(pool.name);
  std::erase_if(blocks,
                [&](const PoolBlock& block) { return pooled_->closing.contains(block.prefix); });
  if (std::ranges::any_of(blocks, [&](const PoolBlock& block) { return all.doubted(block); })) {
    std::set<Ip> used = addresses_of_blocks(book_, pooled_->pools.directory->catalog());
    std::erase_if(blocks, [&](const PoolBlock& block) {
      return all.doubted(block) && !is_used(block.prefix, used);
    });
  }
  std::vector<Prefix> now;
  for (const PoolBlock& block : blocks) now.push_back(block.prefix);
  std::vector<IpRange> ranges = inside(pooled_->pools.directory->catalog().usable(pool), blocks);
  if (auto known = pooled_->ranges.find(pool.name);
      known != pooled_->ranges.end() && known->second == ranges)
    return;
  if (auto set = book_.set_ranges(pool.name, ranges); !set)
    return log_.error("the blocks of pool {} are not taken: {}", pool.name, set.error().what);
  pooled_->ranges[pool.name] = std::move(ranges);
  std::vector<Prefix>& told = pooled_->told_blocks[pool.name];
  if (pooled_->pools.routed != nullptr) {
    for (const Prefix& prefix : told)
      if (std::ranges::find(now, prefix) == now.end())
        pooled_->pools.routed->erase(NodeBlock{settings_.node, prefix}.key());
    for (const Prefix& prefix : now) pooled_->pools.routed->upsert({settings_.node, prefix});
  }
  told = std::move(now);
}

// Nothing before the store has been read, or the pools were taken: what the book has stays.
void CniService::take_all_blocks() {
  if (pooled_->taken == 0 || !pooled_->pools.blocks->synced()) return;
  for (const IpPool& pool : pooled_->pools.directory->catalog().pools())
    if (pool.kind == PoolKind::kOverlay) take_blocks_of(pool);
}

// One block more for a wish that none of the node's blocks can fulfil. The names are of overlay
// pools.
asio::awaitable<Result<void>> CniService::grow(AddressWish wish) {
  std::optional<Error> why;
  for (const std::string& name : wish.pools) {
    auto block = co_await pooled_->pools.blocks->claim(name);
    if (block) {
      log_.info("this node has the block {} of pool {}", block->prefix.str(), name);
      // Written anew: an older release of it that is still on its way comes too late.
      pooled_->closing.erase(block->prefix);
      const IpPool* pool = pooled_->pools.directory->catalog().find(name);
      if (pool != nullptr) take_blocks_of(*pool);
      co_return Result<void>{};
    }
    if (!why) why = std::move(block).error();
  }
  co_return std::unexpected(std::move(*why));
}

// The wishes of overlay pools that have no free address here, each counted for one of them.
std::vector<AddressWish> CniService::unfulfilled(
    const std::vector<InterfaceChoice>& choices) const {
  std::vector<AddressWish> found;
  std::map<std::pair<std::string, Family>, std::uint64_t> counted;
  const PoolCatalog& catalog = pooled_->pools.directory->catalog();
  for (const InterfaceChoice& choice : choices)
    for (const AddressWish& wish : choice.wishes) {
      const IpPool* first = catalog.find(wish.pools.front());
      if (first == nullptr || first->kind != PoolKind::kOverlay) continue;
      bool free = std::ranges::any_of(wish.pools, [&](const std::string& name) {
        const AddressPool* pool = book_.allocator().pool(name);
        std::uint64_t& others = counted[{name, wish.family}];
        if (pool == nullptr || pool->usage(wish.family).free() <= others) return false;
        ++others;
        return true;
      });
      if (!free) found.push_back(wish);
    }
  return found;
}

// Blocks that nobody has used for long go back; those of leases that the store has lost are claimed
// again.
asio::awaitable<void> CniService::compare_blocks() {
  OverlayBlocks& blocks = *pooled_->pools.blocks;
  if (!blocks.synced()) co_return;
  const PoolCatalog& catalog = pooled_->pools.directory->catalog();
  std::map<std::string, PoolBlock> used;
  for (const auto& [key, lease] : book_.leases())
    for (const PooledIp& address : lease.addresses()) {
      const IpPool* pool = catalog.find(address.pool);
      if (pool == nullptr || pool->kind != PoolKind::kOverlay) continue;
      PoolBlock block;
      block.pool = address.pool;
      block.prefix = Prefix(address.ip, pool->block_length);
      block.node = settings_.node;
      block.since_unix_ms = lease.reserved_unix_ms;
      auto [at, is_new] = used.try_emplace(block.key(), block);
      at->second.since_unix_ms = std::min(at->second.since_unix_ms, block.since_unix_ms);
    }
  std::set<Ip> ips = addresses_of_blocks(book_, catalog);
  auto in_use = [&](const PoolBlock& block) { return is_used(block.prefix, ips); };
  // In one turn: found empty, and closed before anybody draws from it.
  for (const PoolBlock& block : blocks.idle(in_use))
    pooled_->closing.emplace(block.prefix, block.pool);
  take_all_blocks();
  std::vector<PoolBlock> again;
  for (auto& [key, block] : used) again.push_back(std::move(block));
  auto taken = co_await blocks.take_back(std::move(again));
  if (!taken)
    log_.warning("blocks are compared again later: {}", taken.error().what);
  else
    for (const std::string& conflict : *taken) log_.error("{}", conflict);
  co_await release_closing();
  take_all_blocks();
}

// A release without an answer may be written all the same: its block stays closed, and is released
// again, until the store says that it is.
asio::awaitable<void> CniService::release_closing() {
  std::map<Prefix, std::string> closing = pooled_->closing;
  for (const auto& [prefix, pool] : closing) {
    if (!pooled_->closing.contains(prefix)) continue;  // claimed again meanwhile
    PoolBlock block;
    block.pool = pool;
    block.prefix = prefix;
    if (auto released = co_await pooled_->pools.blocks->release(std::move(block)); released)
      pooled_->closing.erase(prefix);
    else
      log_.warning("the block {} is released later: {}", prefix.str(), released.error().what);
  }
}

}  // namespace tombolo
