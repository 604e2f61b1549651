// Blocks of overlay pools: which one a node claims next, and the claims themselves.
#include <algorithm>

#include "core/records/records.h"
#include "ipamd/claims/internal.h"

namespace tombolo {

Result<BlockSpace> BlockSpace::make(const ClaimPool& pool) {
  BlockSpace space;
  space.length_ = pool.block_length;
  std::vector<IpRange> ranges = pool.ranges;
  std::ranges::sort(ranges);
  for (const IpRange& range : ranges) {
    int bits = bits_of(range.first.family());
    if (pool.block_length < 1 || pool.block_length > bits)
      return fail(Code::kInvalidArgument, "pool {}: blocks of length {} in {}", pool.name,
                  pool.block_length, to_string(range.first.family()));
    Span span{Prefix(range.first, pool.block_length), Prefix(range.last, pool.block_length)};
    // Two ranges may share the block in which an address between them is excluded.
    if (!space.spans_.empty() && span.first <= space.spans_.back().last)
      space.spans_.back().last = std::max(space.spans_.back().last, span.last);
    else
      space.spans_.push_back(span);
  }
  return space;
}

std::uint64_t BlockSpace::size_of(const Span& span) {
  int host_bits = span.first.host_bits();
  uint128 size = (span.last.base().value() - span.first.base().value()) >> host_bits;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 60;
  return size >= kMost ? kMost : static_cast<std::uint64_t>(size) + 1;
}

std::uint64_t BlockSpace::size() const {
  std::uint64_t all = 0;
  for (const Span& span : spans_) all += size_of(span);
  return all;
}

bool BlockSpace::contains(const Prefix& block) const {
  return block.length() == length_ && std::ranges::any_of(spans_, [&](const Span& span) {
           return span.first <= block && block <= span.last;
         });
}

Prefix BlockSpace::at(std::uint64_t index) const {
  for (const Span& span : spans_) {
    if (index < size_of(span)) {
      Ip first = span.first.base();
      uint128 value = first.value() + (static_cast<uint128>(index) << span.first.host_bits());
      return {Ip(first.family(), value), length_};
    }
    index -= size_of(span);
  }
  ENSURE(false, "a pool has no block {}", index);
}

Result<Prefix> choose_block(const BlockSpace& space, const std::map<Prefix, PoolBlock>& records,
                            const std::set<Prefix>& pending, const Rest& rest, std::int64_t now_ms,
                            std::uint64_t place) {
  std::uint64_t size = space.size();
  // One of so many is not in the records, if there are so many.
  std::uint64_t looks = std::min<std::uint64_t>(size, records.size() + pending.size() + 1);
  for (std::uint64_t i = 0; i < looks; ++i) {
    Prefix block = space.at((place % size + i) % size);
    if (!records.contains(block) && !pending.contains(block)) return block;
  }
  std::vector<const PoolBlock*> resting;
  for (const auto& [prefix, block] : records)
    if (block.node.empty() && space.contains(prefix) && !pending.contains(prefix))
      resting.push_back(&block);
  if (resting.empty())
    return fail(Code::kResourceExhausted, "all {} blocks are in the hands of nodes", size);
  std::ranges::sort(resting, {}, [](const PoolBlock* block) {
    return std::tie(block->released_unix_ms, block->prefix);
  });
  for (std::int64_t wanted : {rest.wanted_ms, rest.least_ms}) {
    auto rested =
        static_cast<std::size_t>(std::ranges::count_if(resting, [&](const PoolBlock* block) {
          return now_ms - block->released_unix_ms >= wanted;
        }));
    if (rested > 0) return resting[place % std::min(rested, PoolOrder::kOldest)]->prefix;
  }
  return fail(Code::kResourceExhausted,
              "no block has rested for {} ms: the next one will have in {} ms", rest.least_ms,
              rest.least_ms - (now_ms - resting.front()->released_unix_ms));
}

Result<void> BlockView::put(const KeyValue& kv, std::int64_t now_ms) {
  Result<PoolBlock> block = records::decode_pool_block(kv);
  if (!block) {
    refuse(kv);
    return std::unexpected(std::move(block).error());
  }
  block->released_unix_ms = std::min(block->released_unix_ms, now_ms);
  set(std::move(*block));
  return {};
}

void BlockView::set(PoolBlock block) {
  PoolBlock& at = pools_[block.pool][block.prefix];
  if (at.sequence > block.sequence) return;
  if (at.node == node_ || block.node == node_) ++changes_of_node_;
  at = std::move(block);
}

// Whose it is cannot be read: it is not ours, and not free.
void BlockView::refuse(const KeyValue& kv) {
  auto [pool, prefix] = block_of(kv.key);
  if (pool.empty()) return;
  set({pool, prefix, "(unreadable)", 0, 0, kv.mod_revision});
}

std::pair<std::string, Prefix> BlockView::block_of(std::string_view key) {
  key.remove_prefix(std::min(key.size(), records::kPoolBlocksPrefix.size()));
  std::size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {};
  Result<Prefix> prefix = Prefix::parse(key.substr(slash + 1));
  if (!prefix) return {};
  return {std::string(key.substr(0, slash)), *prefix};
}

void BlockView::erase(const std::string& key, std::int64_t revision) {
  auto [name, prefix] = block_of(key);
  auto pool = pools_.find(name);
  if (pool == pools_.end()) return;
  auto at = pool->second.find(prefix);
  if (at == pool->second.end() || at->second.sequence > revision) return;
  if (at->second.node == node_) ++changes_of_node_;
  pool->second.erase(at);
  if (pool->second.empty()) pools_.erase(pool);
}

void BlockView::clear() {
  pools_.clear();
  ++changes_of_node_;
}

void BlockView::keep_only(const std::set<std::string>& keys, std::int64_t revision) {
  std::vector<std::string> gone;
  for (const auto& [name, blocks] : pools_)
    for (const auto& [prefix, block] : blocks)
      if (std::string key = records::pool_block_key(block); !keys.contains(key))
        gone.push_back(std::move(key));
  for (const std::string& key : gone) erase(key, revision);
  ++changes_of_node_;  // they are all known now
}

std::int64_t BlockView::revision_of(const std::string& key) const {
  auto [pool, prefix] = block_of(key);
  return revision({pool, prefix, "", 0, 0, 0});
}

bool BlockView::others_hold() const {
  for (const auto& [name, blocks] : pools_)
    for (const auto& [prefix, block] : blocks)
      if (!block.node.empty() && block.node != node_) return true;
  return false;
}

std::int64_t BlockView::revision(const PoolBlock& block) const {
  const auto& known = blocks(block.pool);
  auto at = known.find(block.prefix);
  return at == known.end() ? 0 : at->second.sequence;
}

const std::map<Prefix, PoolBlock>& BlockView::blocks(std::string_view pool) const {
  static const std::map<Prefix, PoolBlock> kNone;
  auto at = pools_.find(pool);
  return at == pools_.end() ? kNone : at->second;
}

void BlockView::rest_from_now(std::string_view pool, std::int64_t now_ms) {
  auto at = pools_.find(pool);
  if (at == pools_.end()) return;
  for (auto& [prefix, block] : at->second)
    block.released_unix_ms = std::min(block.released_unix_ms, now_ms);
}

}  // namespace tombolo
