// A node's blocks of overlay pools: claimed when the ones it has are full, given back when they
// have been empty for a while.
#include <algorithm>

#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {

struct OverlayBlocks::Pool {
  ClaimPool settings;
  BlockSpace space;
  std::set<Prefix> pending;
  std::map<Prefix, MonotonicTime> empty_since;
};

OverlayBlocks::OverlayBlocks(ClaimsOptions options, Kv& kv, TaskGroup& tasks, Clock& clock,
                             Rng& rng, Logger log)
    : options_(std::move(options)),
      clock_(clock),
      rng_(rng),
      view_(std::make_unique<BlockView>(options_.node)),
      records_(std::make_unique<SharedRecords>(
          SharedRecords::Settings{"pool blocks", records::kPoolBlocksPrefix,
                                  options_.follow_retry_cap, options_.settle, options_.known},
          *view_, kv, tasks, clock, rng, log)) {}

OverlayBlocks::~OverlayBlocks() = default;

asio::awaitable<void> OverlayBlocks::run() {
  return records_->run();
}

bool OverlayBlocks::synced() const {
  return records_->synced();
}

void OverlayBlocks::on_change(std::function<void()> changed) {
  records_->on_change([this, changed = std::move(changed)] {
    if (std::exchange(told_, view_->changes_of_node()) != view_->changes_of_node()) changed();
  });
}

Result<void> OverlayBlocks::set_pools(std::vector<ClaimPool> pools) {
  std::map<std::string, Pool, std::less<>> made;
  for (ClaimPool& pool : pools) {
    if (pool.block_length == 0) continue;
    TRY(space, BlockSpace::make(pool));
    auto [at, is_new] = made.try_emplace(pool.name);
    if (!is_new) return fail(Code::kInvalidArgument, "pool {} is there twice", pool.name);
    if (auto before = pools_.find(pool.name); before != pools_.end()) {
      at->second.pending = before->second.pending;
      at->second.empty_since = before->second.empty_since;
    }
    at->second.settings = std::move(pool);
    at->second.space = std::move(space);
  }
  pools_ = std::move(made);
  return {};
}

std::vector<PoolBlock> OverlayBlocks::blocks_of_node(std::string_view pool) const {
  std::vector<PoolBlock> mine;
  for (const auto& [prefix, block] : view_->blocks(pool))
    if (block.node == options_.node) mine.push_back(block);
  return mine;
}

bool OverlayBlocks::doubted(const PoolBlock& block) const {
  if (block.sequence > records_->begun_at()) return false;
  auto trusted = trusted_.find(block.key());
  return trusted == trusted_.end() || trusted->second != block.sequence;
}

asio::awaitable<Result<PoolBlock>> OverlayBlocks::claim(std::string pool) {
  std::optional<PoolBlock> claimed;
  for (std::uint32_t attempt = 0; attempt < options_.attempts; ++attempt) {
    CO_TRY_OK(records_->settled());
    CO_TRY(block, choose(pool, attempt));
    std::set<Prefix>* pending = pending_of(pool);
    if (pending != nullptr) pending->insert(block.prefix);
    ComparedWrites writes;
    writes.put(records::pool_block_key(block), view_->revision(block), records::encode(block));
    TxnRequest request = writes.take();
    Result<bool> done = co_await records_->write(std::move(request));
    // The pools may have been set anew meanwhile.
    pending = pending_of(pool);
    if (pending != nullptr) pending->erase(block.prefix);
    if (!done) co_return std::unexpected(std::move(done).error());
    if (*done) {
      block.sequence = view_->revision(block);
      co_return block;
    }
    if (attempt == 0) continue;
    Duration pause = backoff(attempt - 1, options_.retry_base, options_.retry_cap, rng_);
    CO_TRY_OK(co_await clock_.sleep_for(pause));
  }
  co_return fail(Code::kAborted, "pool {}: others were faster {} times: try again later", pool,
                 options_.attempts);
}

std::set<Prefix>* OverlayBlocks::pending_of(std::string_view pool) {
  auto at = pools_.find(pool);
  return at == pools_.end() ? nullptr : &at->second.pending;
}

Result<PoolBlock> OverlayBlocks::choose(const std::string& name, std::uint32_t attempt) const {
  auto at = pools_.find(name);
  if (at == pools_.end() || at->second.space.size() == 0)
    return fail(Code::kFailedPrecondition, "pool {}: no overlay pool of that name has a range",
                name);
  const Pool& pool = at->second;
  std::size_t mine = blocks_of_node(name).size() + pool.pending.size();
  if (mine >= pool.settings.most_blocks)
    return fail(Code::kResourceExhausted, "pool {}: this node has its {} blocks already", name,
                mine);
  std::int64_t now_ms = unix_ms(clock_);
  view_->rest_from_now(name, now_ms);
  Result<Prefix> prefix =
      choose_block(pool.space, view_->blocks(name), pool.pending, pool.settings.rest, now_ms,
                   place_of_name(options_.node) + mine + attempt);
  if (!prefix) return std::unexpected(std::move(prefix).error().with_context("pool " + name));
  return PoolBlock{name, *prefix, options_.node, now_ms, 0, 0};
}

std::vector<PoolBlock> OverlayBlocks::idle(const std::function<bool(const PoolBlock&)>& in_use) {
  std::vector<PoolBlock> idle;
  bool settled = records_->settled().has_value();
  std::map<std::string, std::int64_t> trusted_before = std::exchange(trusted_, {});
  for (auto& [name, pool] : pools_) {
    std::map<Prefix, MonotonicTime> before = std::exchange(pool.empty_since, {});
    for (const PoolBlock& block : blocks_of_node(name)) {
      auto trusted = trusted_before.find(block.key());
      bool used = in_use(block);
      if (used || (trusted != trusted_before.end() && trusted->second == block.sequence))
        trusted_[block.key()] = block.sequence;
      if (used) continue;
      if (doubted(block)) {
        if (settled) idle.push_back(block);
        continue;
      }
      auto since = before.find(block.prefix);
      MonotonicTime from = since == before.end() ? clock_.now() : since->second;
      pool.empty_since.emplace(block.prefix, from);
      if (clock_.now() - from >= pool.settings.block_idle) idle.push_back(block);
    }
  }
  return idle;
}

asio::awaitable<Result<void>> OverlayBlocks::release(PoolBlock block) {
  CO_TRY_OK(records_->ready());
  const auto& blocks = view_->blocks(block.pool);
  auto at = blocks.find(block.prefix);
  if (at == blocks.end() || at->second.node != options_.node) co_return Result<void>{};
  std::int64_t now_ms = unix_ms(clock_);
  PoolBlock freed{block.pool, block.prefix, "", 0, now_ms, 0};
  ComparedWrites writes;
  writes.put(records::pool_block_key(freed), at->second.sequence, records::encode(freed));
  TxnRequest request = writes.take();
  CO_TRY(done, co_await records_->write(std::move(request)));
  if (!done)
    co_return fail(Code::kAborted, "pool {}: the record of block {} has changed", block.pool,
                   block.prefix.str());
  co_return Result<void>{};
}

asio::awaitable<Result<std::vector<std::string>>> OverlayBlocks::take_back(
    std::vector<PoolBlock> used) {
  CO_TRY_OK(records_->ready());
  std::vector<std::string> conflicts;
  for (PoolBlock block : used) {
    const auto& blocks = view_->blocks(block.pool);
    auto at = blocks.find(block.prefix);
    if (at != blocks.end() && at->second.node == options_.node) continue;
    // Whoever has leases in it had it last. One that claimed it after them is told, not robbed.
    bool older = at != blocks.end() && records_->from_backup(at->second.sequence) &&
                 at->second.since_unix_ms <= block.since_unix_ms;
    if (at != blocks.end() && !at->second.node.empty() && !older) {
      conflicts.push_back(fmt::format("block {} of pool {} is used on this node, but claimed by {}",
                                      block.prefix.str(), block.pool, at->second.node));
      continue;
    }
    PoolBlock again{block.pool, block.prefix, options_.node, unix_ms(clock_), 0, 0};
    ComparedWrites writes;
    writes.put(records::pool_block_key(again), view_->revision(again), records::encode(again));
    TxnRequest request = writes.take();
    CO_TRY(done, co_await records_->write(std::move(request)));
    if (!done)
      conflicts.push_back(fmt::format("block {} of pool {} changed while it was taken back",
                                      block.prefix.str(), block.pool));
  }
  co_return conflicts;
}

}  // namespace tombolo
