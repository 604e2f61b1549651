// The loop around ipamd's pure assignment.
#include "app/daemon/block_assigner.h"

#include <utility>

#include "core/metrics.h"
#include "core/records/records.h"
#include "ipamd/allocator/node_blocks.h"

namespace tombolo {
namespace {

void show_stranded(const std::vector<NodeBlock>& existing, const std::vector<std::string>& nodes) {
  for (Family family : {Family::kV4, Family::kV6}) {
    StrandedBlocks stranded = stranded_blocks(existing, nodes, family);
    metrics::Labels labels{{"family", std::string(to_string(family))}};
    metrics::gauge("tombolo_node_blocks_stranded", "Blocks of nodes that are gone", labels)
        .set(static_cast<double>(stranded.blocks));
    metrics::gauge("tombolo_node_addresses_stranded", "Addresses in blocks of nodes that are gone",
                   labels)
        .set(stranded.addresses);
  }
}

}  // namespace

BlockAssigner::BlockAssigner(std::string cluster, ControllerTables& tables,
                             Table<ReconcileStatus>::Writer status, RoleContext context)
    : cluster_(std::move(cluster)),
      tables_(tables),
      status_(status),
      context_(context),
      changed_(context.tasks.executor()) {
  auto wake = [this] { changed_.notify_all(); };
  nodes_ = tables_.nodes.track(wake);
  plan_ = tables_.plan_blocks.track(wake);
  blocks_ = tables_.node_blocks.track(wake);
}

bool BlockAssigner::pending() const {
  return nodes_->pending() || plan_->pending() || blocks_->pending();
}

asio::awaitable<void> BlockAssigner::run() {
  while (!context_.tasks.cancelled()) {
    working_ = true;
    nodes_->take();
    plan_->take();
    blocks_->take();
    auto done = co_await assign();
    working_ = false;
    failed_ = !done;
    if (!done) {
      context_.log.warning("node blocks: {}", done.error().text());
      ReconcileStatus line{
          "node-blocks",      "", ReconcileState::kError, tables_.node_blocks.revision(), 1,
          done.error().text()};
      status_.upsert(std::move(line));
      if (auto slept = co_await context_.clock.sleep_for(std::chrono::seconds(1)); !slept)
        co_return;
    } else if (!pending() && !std::exchange(changed_again_, false)) {
      if (auto woken = co_await changed_.wait(); !woken) co_return;
    }
  }
}

asio::awaitable<Result<void>> BlockAssigner::assign() {
  // Before everything is known a free block may only look free. A store that was lost or restored
  // forgets blocks: what nodes say they have is taken back first.
  if (!tables_.node_blocks.synced() || !tables_.plan_blocks.synced() || !tables_.nodes.synced())
    co_return Result<void>{};
  std::vector<PlanBlock> ranges;
  for (const auto& [key, versioned] : tables_.plan_blocks.rows())
    if (versioned.row.cluster == cluster_ && versioned.row.use == BlockUse::kPod)
      ranges.push_back(versioned.row);
  std::vector<NodeBlock> existing;
  for (const auto& [key, versioned] : tables_.node_blocks.rows()) existing.push_back(versioned.row);
  std::erase_if(created_, [&](const auto& entry) {
    return tables_.node_blocks.find(entry.first) != nullptr;
  });
  for (const auto& [key, block] : created_) existing.push_back(block);
  std::vector<std::string> nodes;
  std::vector<NodeBlock> forgotten;
  for (const auto& [key, versioned] : tables_.nodes.rows()) {
    const Node& node = versioned.row;
    if (node.cluster != cluster_) continue;
    nodes.push_back(node.name);
    for (const Prefix& prefix : node.pod_blocks) {
      NodeBlock held{node.name, prefix};
      if (tables_.node_blocks.find(held.key()) == nullptr && !created_.contains(held.key()))
        forgotten.push_back(std::move(held));
    }
  }
  // The tables may change while a block is written, so nothing of them is held from here on.
  for (const NodeBlock& block : forgotten) {
    CO_TRY_OK(co_await create(block));
    existing.push_back(block);
  }

  show_stranded(existing, nodes);
  NodeBlockAssignment assignment = assign_node_blocks(ranges, existing, std::move(nodes));
  for (const NodeBlock& block : assignment.added) {
    CO_TRY_OK(co_await create(block));
  }
  // A block that turned out to be another node's leaves its node without: the next round finds one.
  for (const NodeBlock& block : assignment.added)
    if (tables_.node_blocks.find(block.key()) == nullptr && !created_.contains(block.key()))
      changed_again_ = true;
  std::string problems;
  for (const std::string& problem : assignment.problems)
    problems += (problems.empty() ? "" : "; ") + problem;
  ReconcileStatus line{"node-blocks",
                       "",
                       problems.empty() ? ReconcileState::kDone : ReconcileState::kError,
                       tables_.node_blocks.revision(),
                       0,
                       problems};
  status_.upsert(std::move(line));
  co_return Result<void>{};
}

asio::awaitable<Result<void>> BlockAssigner::create(NodeBlock block) {
  std::string key = records::node_block_key(block);
  // One key per prefix guards it against a second node; the record itself is by node, for the
  // node's agent.
  std::string guard = fmt::format("{}{}", records::kBlockOwnersPrefix, block.prefix.str());
  TxnRequest request;
  for (const std::string& absent : {key, guard}) {
    Compare compare;
    compare.key = absent;
    compare.target = Compare::Target::kVersion;
    request.compares.push_back(std::move(compare));
  }
  Put record{key, records::encode(block), 0};
  Put owner{guard, block.node, 0};
  request.then.emplace_back(std::move(record));
  request.then.emplace_back(std::move(owner));
  RangeRequest who;
  who.key = guard;
  request.otherwise.emplace_back(std::move(who));
  CO_TRY(result, co_await context_.kv.txn(std::move(request)));
  if (result.succeeded) {
    context_.log.info("node {} gets block {}", block.node, block.prefix.str());
  } else if (!result.ranges.empty() && !result.ranges.front().kvs.empty()) {
    // Taken, by a controller before this one or without its record: it is that node's, and the next
    // round passes over it.
    block.node = result.ranges.front().kvs.front().value;
  }
  created_.insert_or_assign(block.key(), block);
  co_return Result<void>{};
}

}  // namespace tombolo
