// Blocks of nodes and written pools, with what is in use of each.
#include <limits>
#include <map>

#include "app/daemon/handlers/addresses.h"
#include "app/daemon/handlers/addresses_internal.h"
#include "app/daemon/pool_grants.h"
#include "ipamd/claims/claims.h"

namespace tombolo {
namespace {

namespace api = admin::api;

std::uint64_t usable(const Prefix& prefix) {
  // As ipamd/allocator/address_pool.h: not the first address, and not the last one of IPv4.
  uint128 size = prefix.size();
  if (prefix.family() == Family::kV4) return static_cast<std::uint64_t>(size > 2 ? size - 2 : size);
  return static_cast<std::uint64_t>(
      std::min<uint128>(size - 1, std::numeric_limits<std::uint64_t>::max()));
}

std::uint64_t size_of(const std::vector<IpRange>& ranges) {
  std::uint64_t size = 0;
  for (const IpRange& range : ranges) {
    uint128 more = range.last.value() - range.first.value() + 1;
    uint128 most = std::numeric_limits<std::uint64_t>::max() - size;
    size += static_cast<std::uint64_t>(std::min(more, most));
  }
  return size;
}

class Pools final : public admin::PoolHandlers {
 public:
  Pools(DaemonView view, const PoolGrants* grants) : view_(std::move(view)), grants_(grants) {}

  admin::Answer<api::ListPoolsResponse> list(api::ListPoolsRequest request,
                                             admin::Caller) override {
    api::ListPoolsResponse response;
    for (const auto& [key, versioned] : blocks_of(view_).rows()) {
      const NodeBlock& block = versioned.row;
      if (!request.node().empty() && request.node() != block.node) continue;
      std::uint64_t used = 0;
      for (const auto& [id, attachment] : attachments_of(view_).rows())
        for (const Ip& ip : attachment.row.ips) used += block.prefix.contains(ip) ? 1U : 0U;
      auto* row = response.add_pools();
      row->set_name(
          fmt::format("{}-{}", block.node, block.prefix.family() == Family::kV4 ? "v4" : "v6"));
      row->set_cluster(view_.config->cluster().name());
      row->set_node(block.node);
      row->set_use("pod");
      row->set_prefix(block.prefix.str());
      row->set_size(usable(block.prefix));
      row->set_used(used);
      row->set_free(usable(block.prefix) - used);
    }
    if (request.node().empty() && view_.pools != nullptr) list_written(response);
    co_return response;
  }

 private:
  // Those that operators wrote; the controller alone knows what is in use everywhere.
  void list_written(api::ListPoolsResponse& response) const {
    PoolCatalog catalog = catalog_in_force(view_);
    std::map<std::string, std::uint64_t> used;
    for (const auto& [key, versioned] : view_.controller->claims.rows())
      if (!versioned.row.free()) ++used[versioned.row.pool];
    for (const IpPool& pool : catalog.pools()) {
      std::vector<IpRange> ranges = catalog.usable(pool);
      std::uint64_t size = size_of(pool.sharing ? granted(pool.name, ranges) : ranges);
      if (pool.kind == PoolKind::kOverlay) used[pool.name] = used_of_overlay(pool);
      auto* row = response.add_pools();
      row->set_name(pool.name);
      row->set_cluster(view_.config->cluster().name());
      row->set_use(fmt::format("{}{}{}", to_string(pool.kind), pool.disabled ? ", disabled" : "",
                               pool.sharing ? ", home " + pool.sharing->home : ""));
      row->set_prefix(pool.subnet.str());
      row->set_size(size);
      row->set_used(used[pool.name]);
      row->set_free(pool.disabled ? 0 : size - std::min(size, used[pool.name]));
    }
  }
  // Of a pool that several clusters share: what is in the parts that this one has.
  std::vector<IpRange> granted(const std::string& pool, const std::vector<IpRange>& ranges) const {
    auto standing = grants_->standing().find(pool);
    if (standing == grants_->standing().end() || !standing->second.parts) return {};
    return held_ranges(*standing->second.parts, ranges);
  }
  std::uint64_t used_of_overlay(const IpPool& pool) const {
    std::uint64_t used = 0;
    for (const auto& [id, attachment] : view_.controller->attachments.rows())
      for (const Ip& ip : attachment.row.ips) used += pool.subnet.contains(ip) ? 1U : 0U;
    return used;
  }

  DaemonView view_;
  const PoolGrants* grants_;
};

}  // namespace

std::unique_ptr<admin::PoolHandlers> make_pool_handlers(const DaemonView& view,
                                                        const PoolGrants* grants) {
  return std::make_unique<Pools>(view, grants);
}

}  // namespace tombolo
