// In an order that can be cut anywhere: what others find by the node's records goes before them,
// and the node blocks last, for the controller gives back to a node what its record says it has.
#include "app/daemon/node_forgetter.h"

#include <algorithm>
#include <set>

#include "app/daemon/node_presence.h"
#include "core/records/records.h"
#include "core/store/range_all.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

// etcd takes 128 operations and comparisons in a transaction.
constexpr std::size_t kAtOnce = 50;

Error lives_error(const std::string& node) {
  return fail(Code::kFailedPrecondition,
              "node {} lives: its agent renews its lease in the store. Take its pods away and stop "
              "tombolod there; it counts as gone some seconds later",
              node)
      .error();
}

std::string whose(const AddressClaim& claim) {
  if (claim.identity.empty()) return claim.pod;
  return fmt::format("{}, stays kept for {}", claim.pod, claim.identity);
}

}  // namespace

std::string_view to_string(NodeHolding::Kind kind) {
  using enum NodeHolding::Kind;
  switch (kind) {
    case kAddress:
      return "address";
    case kPoolBlock:
      return "pool block";
    case kNodeBlock:
      return "node block";
    case kInterface:
      return "interface";
    case kRecord:
      return "record";
  }
  ENSURE(false, "holding of kind {}", static_cast<int>(kind));
}

NodeForgetter::NodeForgetter(Options options, std::string cluster, ControllerTables& tables,
                             ClaimJanitor& janitor, RoleContext context)
    : options_(options),
      cluster_(std::move(cluster)),
      tables_(tables),
      janitor_(janitor),
      context_(context) {}

Result<void> NodeForgetter::synced() const {
  if (!tables_.claims.synced() || !tables_.pool_blocks.synced() || !tables_.node_blocks.synced() ||
      !tables_.attachments.synced() || !tables_.nodes.synced())
    return fail(Code::kUnavailable, "the store has not been read yet: try again");
  return {};
}

Result<std::vector<NodeHolding>> NodeForgetter::holdings(const std::string& node) const {
  if (node.empty()) return fail(Code::kInvalidArgument, "which node? Its name is empty");
  TRY_OK(synced());
  std::vector<NodeHolding> held;
  using enum NodeHolding::Kind;
  for (const auto& [key, versioned] : tables_.claims.rows())
    if (const AddressClaim& claim = versioned.row; claim.held() && claim.node == node)
      held.push_back({kAddress, claim.ip.str(), claim.pool, whose(claim)});
  for (const auto& [key, versioned] : tables_.pool_blocks.rows())
    if (versioned.row.node == node)
      held.push_back({kPoolBlock, versioned.row.prefix.str(), versioned.row.pool, ""});
  for (const auto& [key, versioned] : tables_.node_blocks.rows())
    if (versioned.row.node == node)
      held.push_back({kNodeBlock, versioned.row.prefix.str(), "", ""});
  for (const auto& [key, versioned] : tables_.attachments.rows())
    if (const Attachment& attachment = versioned.row; attachment.node == node)
      held.push_back({kInterface, key, "", object_key(attachment.name_space, attachment.pod_name)});
  Node self;
  self.cluster = cluster_;
  self.name = node;
  if (tables_.nodes.find(self.key()) != nullptr)
    held.push_back({kRecord, cilium::keys::node(cluster_, node), "", ""});
  if (held.empty()) return fail(Code::kNotFound, "nothing is known of a node {}", node);
  return held;
}

asio::awaitable<Result<bool>> NodeForgetter::lives(std::string node) const {
  // An agent of the version before says it by what it hears of other clusters.
  for (std::string_view kind : {kAlivePrefix, records::kReachPrefix}) {
    RangeRequest request;
    request.key = fmt::format("{}{}/", kind, node);
    request.range_end = prefix_end(request.key);
    request.limit = 1;
    request.keys_only = true;
    CO_TRY(found, co_await context_.kv.range(std::move(request)));
    if (!found.kvs.empty()) co_return true;
  }
  co_return false;
}

asio::awaitable<Result<std::set<std::string, std::less<>>>> NodeForgetter::living() const {
  CO_TRY_OK(synced());
  std::set<std::string, std::less<>> nodes;
  for (std::string_view kind : {kAlivePrefix, records::kReachPrefix}) {
    std::string prefix(kind);
    CO_TRY(signs, co_await range_all(context_.kv, std::move(prefix), true));
    for (const KeyValue& kv : signs) {
      std::string_view rest = std::string_view(kv.key).substr(kind.size());
      nodes.emplace(rest.substr(0, rest.find('/')));
    }
  }
  co_return nodes;
}

Compare NodeForgetter::not_alive(const std::string& node) {
  Compare compare;
  compare.key = alive_key(node);
  compare.target = Compare::Target::kVersion;
  return compare;
}

asio::awaitable<Result<std::vector<NodeHolding>>> NodeForgetter::forget(std::string node) {
  CO_TRY(held, holdings(node));
  CO_TRY(alive, co_await lives(node));
  if (alive) co_return std::unexpected(lives_error(node));
  CO_TRY_OK(co_await erase_routes(node));
  CO_TRY_OK(co_await release_claims(node));
  CO_TRY_OK(co_await release_pool_blocks(node));
  CO_TRY_OK(co_await erase_ip_records(node));
  CO_TRY_OK(co_await erase_records(node));
  CO_TRY_OK(co_await erase_node_blocks(node));
  context_.log.info("node {} is forgotten: {} holdings were given up", node, held.size());
  co_return held;
}

// kAborted when a comparison fails.
asio::awaitable<Result<void>> NodeForgetter::write(std::string node, TxnRequest request) {
  request.compares.push_back(not_alive(node));
  CO_TRY(done, co_await context_.kv.txn(std::move(request)));
  if (done.succeeded) co_return Result<void>{};
  CO_TRY(alive, co_await lives(node));
  if (alive) co_return std::unexpected(lives_error(node));
  co_return fail(Code::kAborted, "records of node {} changed meanwhile: do it again", node);
}

// What the janitor and the table hear, they hear at times of their own.
asio::awaitable<Result<void>> NodeForgetter::release_claims(std::string node) {
  auto holds = [this, &node] {
    return std::ranges::any_of(tables_.claims.rows(), [&](const auto& entry) {
      return entry.second.row.held() && entry.second.row.node == node;
    });
  };
  for (int i = 0; holds(); ++i) {
    if (i == options_.steps)
      co_return fail(Code::kAborted, "node {} still holds addresses: do it again", node);
    std::vector<Compare> only_if{not_alive(node)};
    std::set<std::string> nodes{node};
    auto released = co_await janitor_.release_nodes(std::move(nodes), std::move(only_if));
    if (!released) {
      CO_TRY(alive, co_await lives(node));
      if (alive) co_return std::unexpected(lives_error(node));
      if (released.error().code != Code::kAborted)
        co_return std::unexpected(std::move(released).error());
    }
    CO_TRY_OK(co_await context_.clock.sleep_for(options_.step));
  }
  co_return Result<void>{};
}

asio::awaitable<Result<void>> NodeForgetter::release_pool_blocks(std::string node) {
  std::vector<PoolBlock> blocks;
  for (const auto& [key, versioned] : tables_.pool_blocks.rows())
    if (versioned.row.node == node) blocks.push_back(versioned.row);
  std::int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                            context_.clock.wall_now().time_since_epoch())
                            .count();
  for (std::size_t next = 0; next < blocks.size();) {
    TxnRequest request;
    for (; next < blocks.size() && request.then.size() < kAtOnce; ++next) {
      PoolBlock freed = blocks[next];
      freed.node.clear();
      freed.since_unix_ms = 0;
      freed.released_unix_ms = now_ms;
      Compare same{.key = records::pool_block_key(freed), .number = blocks[next].sequence};
      Put put{same.key, records::encode(freed), 0};
      request.compares.push_back(std::move(same));
      request.then.emplace_back(std::move(put));
    }
    CO_TRY_OK(co_await write(node, std::move(request)));
  }
  co_return Result<void>{};
}

// First of all: an address that is somebody else's in a moment must not lead here.
asio::awaitable<Result<void>> NodeForgetter::erase_routes(std::string node) {
  TxnRequest request;
  std::string prefix = fmt::format("{}{}/", records::kRoutedPrefix, node);
  Delete gone{prefix, prefix_end(prefix)};
  request.then.emplace_back(std::move(gone));
  co_return co_await write(node, std::move(request));
}

// The addresses of its pods, unless a record says by now that another node is their host.
asio::awaitable<Result<void>> NodeForgetter::erase_ip_records(std::string node) {
  std::set<std::string> keys;
  for (const auto& [key, versioned] : tables_.attachments.rows())
    if (versioned.row.node == node)
      for (const Ip& ip : versioned.row.ips) keys.insert(cilium::keys::ip(ip));
  for (const std::string& key : keys) {
    CO_TRY(found, co_await context_.kv.get(key));
    if (!found) continue;
    std::string_view name = std::string_view(key).substr(key.rfind('/') + 1);
    cilium::Origin origin{cluster_, 0, 8};
    auto record = cilium::decode_ip(key, name, found->value, origin);
    bool others = false;
    for (const auto& [id, versioned] : tables_.nodes.rows())
      if (versioned.row.name != node && record && record->host_ip)
        others = others || std::ranges::find(versioned.row.internal_ips, *record->host_ip) !=
                               versioned.row.internal_ips.end();
    if (others) continue;
    TxnRequest request;
    Compare same{.key = key, .number = found->mod_revision};
    Delete gone{key, ""};
    request.compares.push_back(std::move(same));
    request.then.emplace_back(std::move(gone));
    CO_TRY_OK(co_await write(node, std::move(request)));
  }
  co_return Result<void>{};
}

asio::awaitable<Result<void>> NodeForgetter::erase_records(std::string node) {
  TxnRequest request;
  std::string prefix = fmt::format("{}{}/", records::kLeasesPrefix, node);
  Delete gone{prefix, prefix_end(prefix)};
  request.then.emplace_back(std::move(gone));
  Delete record{cilium::keys::node(cluster_, node), ""};
  request.then.emplace_back(std::move(record));
  CO_TRY_OK(co_await write(node, std::move(request)));
  Node self;
  self.cluster = cluster_;
  self.name = node;
  for (int i = 0; tables_.nodes.find(self.key()) != nullptr; ++i) {
    if (i == options_.steps)
      co_return fail(Code::kAborted, "this controller still sees node {}: do it again", node);
    CO_TRY_OK(co_await context_.clock.sleep_for(options_.step));
  }
  co_return Result<void>{};
}

asio::awaitable<Result<void>> NodeForgetter::erase_node_blocks(std::string node) {
  std::vector<NodeBlock> blocks;
  for (const auto& [key, versioned] : tables_.node_blocks.rows())
    if (versioned.row.node == node) blocks.push_back(versioned.row);
  for (const NodeBlock& block : blocks) {
    std::string owner = fmt::format("{}{}", records::kBlockOwnersPrefix, block.prefix.str());
    CO_TRY(guard, co_await context_.kv.get(owner));
    TxnRequest request;
    Delete record{records::node_block_key(block), ""};
    request.then.emplace_back(std::move(record));
    // The guard is another node's only if two controllers disagreed.
    if (guard && guard->value == node) {
      Compare same{.key = owner, .number = guard->mod_revision};
      Delete gone{owner, ""};
      request.compares.push_back(std::move(same));
      request.then.emplace_back(std::move(gone));
    }
    CO_TRY_OK(co_await write(node, std::move(request)));
  }
  co_return Result<void>{};
}

}  // namespace tombolo
