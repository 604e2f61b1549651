// Pools at quiet: the store says of every address and block just what the nodes hold, and every
// node has a way to the others' addresses.
#include "core/records/records.h"
#include "ipamd/allocator/block_routes.h"
#include "tests/sim/checks.h"

namespace tombolo::sim {
namespace {

template <class Row>
std::vector<Row> rows_under(const SimCluster& cluster, std::string_view prefix,
                            Result<Row> (*decode)(const KeyValue&)) {
  RangeRequest request;
  request.key = prefix;
  request.range_end = prefix_end(request.key);
  auto range = const_cast<SimCluster&>(cluster).store.memory().range(request);
  ENSURE(range, "{}", range.error().what);
  std::vector<Row> rows;
  for (const KeyValue& kv : range->kvs) {
    auto row = decode(kv);
    ENSURE(row, "{}", row.error().what);
    rows.push_back(std::move(*row));
  }
  return rows;
}

}  // namespace

std::string Checks::pools_differ(const SimCluster& cluster) const {
  if (std::string why = claims_differ(cluster); !why.empty()) return why;
  if (std::string why = blocks_differ(cluster); !why.empty()) return why;
  for (const auto& [key, pod] : fleet_.pods_) {
    if (pod.cluster != &cluster || !pod.attached) continue;
    const std::string& pool = fleet_.truth_.clusters.at(cluster.facts.name).pods.at(pod.name).pool;
    if (pool.empty()) continue;
    for (const auto& node : cluster.nodes) {
      if (node.get() == pod.node) continue;
      bool there = std::ranges::any_of(node->kernel.net.routes(), [&](const auto& route) {
        auto prefix = Prefix::parse(route.first.first);
        return route.first.second == kBlockRouteProtocol && prefix &&
               prefix->contains(pod.ips.front());
      });
      if (!there)
        return fmt::format("{} has no way to {} of {}", node->name, pod.ips.front().str(),
                           pod.name);
    }
  }
  return "";
}

// Underlay: address by address.
std::string Checks::claims_differ(const SimCluster& cluster) const {
  std::map<std::string, AddressClaim> held;
  for (AddressClaim& claim :
       rows_under<AddressClaim>(cluster, records::kClaimsPrefix, records::decode_claim))
    if (claim.held()) held.emplace(claim.ip.str(), std::move(claim));
  for (const auto& [key, pod] : fleet_.pods_) {
    if (pod.cluster != &cluster || !pod.attached) continue;
    if (fleet_.truth_.clusters.at(cluster.facts.name).pods.at(pod.name).pool != "racks") continue;
    ++fleet_.asked_["pool addresses"];
    for (const Ip& ip : pod.ips) {
      auto claim = held.find(ip.str());
      if (claim == held.end())
        return fmt::format("{} of {} is claimed by nobody", ip.str(), pod.name);
      if (claim->second.holder != object_key(pod.container, "eth0") ||
          claim->second.node != pod.node->name)
        return fmt::format("{} of {} on {} is claimed by {} on {}", ip.str(), pod.name,
                           pod.node->name, claim->second.holder, claim->second.node);
      held.erase(claim);
    }
  }
  if (!held.empty())
    return fmt::format("{} is claimed by {}, which is no more", held.begin()->first,
                       held.begin()->second.holder);
  return "";
}

// Overlay: block by block.
std::string Checks::blocks_differ(const SimCluster& cluster) const {
  std::vector<PoolBlock> blocks =
      rows_under<PoolBlock>(cluster, records::kPoolBlocksPrefix, records::decode_pool_block);
  for (const auto& [key, pod] : fleet_.pods_) {
    if (pod.cluster != &cluster || !pod.attached) continue;
    if (fleet_.truth_.clusters.at(cluster.facts.name).pods.at(pod.name).pool != "spread") continue;
    ++fleet_.asked_["pool addresses"];
    for (const Ip& ip : pod.ips) {
      auto block = std::ranges::find_if(
          blocks, [&](const PoolBlock& one) { return one.prefix.contains(ip); });
      if (block == blocks.end() || block->node != pod.node->name)
        return fmt::format("{} of {} on {} is in a block of {}", ip.str(), pod.name, pod.node->name,
                           block == blocks.end() ? "nobody" : block->node);
    }
  }
  return "";
}

}  // namespace tombolo::sim
